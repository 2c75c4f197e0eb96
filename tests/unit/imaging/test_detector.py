"""Gain, defects and hot pixels."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.errors import ImagingError
from cryodaq.imaging.detector import find_hot_pixels, make_detector, sum_frames

RNG_SEED = 5


def poisson_frames(level: float, *, shape=(200, 180), count=10) -> np.ndarray:
    return np.random.default_rng(RNG_SEED).poisson(level, (count, *shape)).astype(np.uint16)


@pytest.mark.parametrize("level", [0.02, 0.3, 3.0, 40.0])
def test_plain_counting_noise_has_no_hot_pixels(level) -> None:
    total = poisson_frames(level).sum(axis=0).astype(np.float32)
    assert not find_hot_pixels(total, defects=np.zeros(total.shape, bool)).any()


def test_a_dead_pixel_counts_as_bad() -> None:
    total = poisson_frames(20).sum(axis=0).astype(np.float32)
    total[50, 60] = 0
    assert np.argwhere(find_hot_pixels(total, defects=np.zeros(total.shape, bool))).tolist() == [[50, 60]]


def test_the_edge_of_the_beam_is_not_hot() -> None:
    total = poisson_frames(5).sum(axis=0).astype(np.float32)
    total[:, :83] *= 0.02
    assert not find_hot_pixels(total, defects=np.zeros(total.shape, bool)).any()


def test_defects_are_filled_from_their_neighbours_with_their_noise() -> None:
    frames = poisson_frames(4.0)
    gain = np.full(frames.shape[1:], 0.5, np.float32)
    gain[:, 90] = 0
    gain[100:120, 20:40] = 0
    gain[0, 0] = 0
    corrected = sum_frames(frames, gain=gain)
    assert corrected.detector.hot_pixels == 0
    filled = corrected.total[gain == 0]
    assert filled.mean() == pytest.approx(20.0, rel=0.03)
    assert filled.std() == pytest.approx(0.5 * np.sqrt(40), rel=0.25)
    assert corrected.mean_counts_per_px_frame == pytest.approx(2.0, rel=0.01)


def test_a_cluster_of_hot_pixels_is_found() -> None:
    frames = poisson_frames(3.0)
    frames[:, 30:33, 40:43] = 60
    corrected = sum_frames(frames, gain=None)
    assert corrected.detector.hot_pixels == 9
    assert corrected.total[30:33, 40:43].max() < 60


def test_a_gain_that_marks_half_the_camera_is_refused() -> None:
    gain = np.ones((64, 64), np.float32)
    gain[:32] = 0
    with pytest.raises(ImagingError, match="50%"):
        make_detector(gain, bad=gain == 0)
