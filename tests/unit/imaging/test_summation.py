"""Sums of frames that did not move are known exactly, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from cryodaq.imaging.detector import sum_frames
from cryodaq.imaging.dose_weighting import dose_weights
from cryodaq.imaging.motion_field import still_field
from cryodaq.imaging.sum_plan import DoseCurve
from cryodaq.imaging.summation import bin_in_fourier, sum_aligned
from cryodaq.imaging.workspace import Workspace

STEP = 0.5**0.5 / 127


def going_round(pictures, shape_yx: tuple[int, int]):
    """Pictures (..., y, x) made as large as wanted with what they begin with."""
    more = [(0, wanted - n) for n, wanted in zip(pictures.shape[-2:], shape_yx, strict=True)]
    return np.pad(pictures.astype(np.float32), [(0, 0)] * (pictures.ndim - 2) + more, mode="wrap")


def still_sums(shape_yx: tuple[int, int], bin_px: int = 1, frame_count: int = 6):
    """Plain and weighted sum (y, x) as expected, and both as found."""
    frames = np.random.default_rng(5).poisson(3.0, (frame_count, *shape_yx)).astype(np.uint8)
    kept = shape_yx[0] // bin_px, shape_yx[1] // bin_px
    plain = sum_frames(frames, gain=None)
    weights = dose_weights(
        np.arange(128) * STEP / 1.5, frame_count=frame_count, dose_per_frame_e_ang2=4.0, voltage_kv=300.0
    )
    found = sum_aligned(
        (frames,),
        detector=plain.detector,
        field=still_field(frame_count, shape_yx=shape_yx),
        dose=DoseCurve(step=STEP, weights=weights),
        binned_shape_yx=kept,
    )
    # Transforms are fast for some sizes only.
    fast = [scipy.fft.next_fast_len(n) for n in kept]
    whole = [bin_px * n for n in fast]
    spectra = np.fft.fft2(going_round(frames, whole))
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in spectra.shape[1:]), indexing="ij"))
    curves = [np.interp(radius, np.arange(128) * STEP, weights[:, frame]) for frame in range(frame_count)]
    weighted = np.fft.ifft2((spectra * curves).sum(axis=0)).real
    expected = (bin_in_fourier(picture, fast) for picture in (going_round(plain.total, whole), weighted))
    return *(picture[: kept[0], : kept[1]] for picture in expected), found


@pytest.mark.parametrize("shape_yx", [(64, 96), (65, 96), (64, 97), (63, 65), (40, 700)])
@pytest.mark.parametrize("frame_count", [1, 6, 9])
def test_a_still_movie_gives_its_plain_and_its_weighted_sum(shape_yx, frame_count) -> None:
    plain, weighted, found = still_sums(shape_yx, frame_count=frame_count)
    # The products that the weights are made of err by up to two thousandths of the largest.
    np.testing.assert_allclose(found.unweighted, plain, atol=0.005 * plain.std())
    np.testing.assert_allclose(found.dose_weighted, weighted, atol=0.01 * plain.std())


@pytest.mark.parametrize("shape_yx", [(64, 96), (62, 94), (126, 130)])
def test_binned_sums_hold_the_low_frequencies_of_whole_ones(shape_yx) -> None:
    plain, weighted, found = still_sums(shape_yx, bin_px=2)
    assert found.unweighted.shape == (shape_yx[0] // 2, shape_yx[1] // 2)
    np.testing.assert_allclose(found.unweighted, plain, atol=0.005 * plain.std())
    np.testing.assert_allclose(found.dose_weighted, weighted, atol=0.01 * plain.std())


def test_sums_may_be_binned_by_any_factor() -> None:
    frames = np.random.default_rng(6).poisson(3.0, (4, 64, 96)).astype(np.uint8)
    plain = sum_frames(frames, gain=None)
    dose = DoseCurve(step=STEP, weights=np.ones((128, 4)))
    field = still_field(4, shape_yx=(64, 96))
    found = sum_aligned((frames,), detector=plain.detector, field=field, dose=dose, binned_shape_yx=(42, 64))
    np.testing.assert_allclose(found.unweighted, bin_in_fourier(plain.total, (42, 64)), atol=0.005 * plain.total.std())


def test_memory_that_was_given_back_serves_the_next_array_that_fits() -> None:
    workspace = Workspace()
    first, second = workspace.empty((100, 100), np.float32), workspace.empty((10,), np.complex64)
    second[:] = 7
    workspace.give_back(first)
    again = workspace.empty((2, 50, 30), np.complex64)
    assert np.shares_memory(again, first)
    assert again.shape == (2, 50, 30)
    larger = workspace.empty((1000, 1000), np.uint8)
    assert not np.shares_memory(larger, first)
    again[:] = 0
    assert (second == 7).all()
