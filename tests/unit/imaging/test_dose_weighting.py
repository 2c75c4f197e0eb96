"""Dose weights against the published formula."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.imaging.dose_weighting import critical_exposure, dose_weights, low_rank


def test_the_critical_exposure_is_the_published_curve() -> None:
    at = critical_exposure(np.array([1 / 20, 1 / 7, 1 / 3]), voltage_kv=300)
    np.testing.assert_allclose(at, [0.245 * 20**1.665 + 2.81, 0.245 * 7**1.665 + 2.81, 0.245 * 3**1.665 + 2.81])
    np.testing.assert_allclose(critical_exposure(np.array([0.25]), voltage_kv=200) / 0.8, 0.245 * 4**1.665 + 2.81)


def test_weights_fall_with_the_dose_at_the_end_of_each_frame() -> None:
    frequency = np.array([0.1, 0.3])
    weights = dose_weights(frequency, frame_count=30, dose_per_frame_e_ang2=1.5, voltage_kv=300)
    critical = 0.245 * frequency**-1.665 + 2.81
    expected = np.exp(-1.5 * np.arange(1, 31)[None, :] / (2 * critical[:, None]))
    expected /= np.sqrt((expected**2).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(weights, expected)


def test_the_noise_power_of_a_plain_sum_is_kept_at_each_frequency() -> None:
    weights = dose_weights(np.linspace(0, 0.5, 50), frame_count=40, dose_per_frame_e_ang2=1.0, voltage_kv=200)
    np.testing.assert_allclose((weights**2).sum(axis=1), 40)
    np.testing.assert_allclose(weights[0], 1)


def test_dose_before_the_first_frame_is_normalised_away_but_nothing_underflows() -> None:
    weights = dose_weights(
        np.array([0.5]), frame_count=5, dose_per_frame_e_ang2=1.0, voltage_kv=300, earlier_dose_e_ang2=1e5
    )
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("frame_count", [1, 2, 40, 100])
def test_few_products_stand_for_all_weights(frame_count) -> None:
    weights = dose_weights(np.linspace(0, 0.6, 512), frame_count=frame_count, dose_per_frame_e_ang2=1.0, voltage_kv=300)
    curves, coefficients = low_rank(weights)
    assert curves.shape[1] <= 8
    np.testing.assert_allclose(curves @ coefficients, weights, atol=2e-3 * weights.max())
