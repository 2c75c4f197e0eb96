"""Lines of the camera that count wrongly: found where they are, and no hold for the motion."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.imaging.bad_lines import mark_bad_lines
from cryodaq.imaging.motion import align_movie

from .conftest import MovieRecipe, build_movie

PHYSICS = {"pixel_size_ang": 1.5, "dose_per_frame_e_ang2": 1.0, "voltage_kv": 300.0}


def counted(mean, *, seed):
    return np.random.default_rng(seed).poisson(mean).astype(np.float32)


def marked(total):
    bad = np.zeros(total.shape, bool)
    mark_bad_lines(total, bad)
    return bad


def test_lines_that_count_wrongly_are_marked_as_far_as_they_reach() -> None:
    mean = np.full((512, 600), 25.0)
    mean[:, 100] *= 1.5
    mean[256:, 200:202] = 0
    mean[77] *= 0.7
    expected = mean != 25
    np.testing.assert_array_equal(marked(counted(mean, seed=1)), expected)


@pytest.mark.parametrize("level", [3.0, 25.0, 4000.0])
def test_no_line_is_blamed_for_shot_noise(level) -> None:
    assert not marked(counted(np.full((512, 640), level), seed=2)).any()


@pytest.mark.parametrize("slant", [0.0, 0.05, 0.7])
def test_the_edge_of_a_bar_is_no_bad_line(slant) -> None:
    y, x = np.mgrid[:512, :640]
    lit = 1 / (1 + np.exp((x + slant * y - 400) / 2))
    assert not marked(counted(25 * lit, seed=3)).any()


def test_a_hot_pixel_that_is_known_does_not_condemn_its_line() -> None:
    total = counted(np.full((512, 640), 25.0), seed=4)
    total[100, 200] = 1e5
    bad = total == 1e5
    mark_bad_lines(total, bad)
    assert bad.sum() == 1


def test_columns_that_stand_still_do_not_hold_the_specimen() -> None:
    path = tuple((0.6 * t, -0.4 * t) for t in range(12))
    movie = build_movie(MovieRecipe(seed=5, displacement_xy=path))
    frames = movie.frames.copy()
    frames[:, :, [60, 150, 151]] *= 2
    frames[:, :, 250] = 0
    aligned = align_movie(frames, gain=movie.gain, **PHYSICS)
    found = np.array(aligned.motion.displacement_px_xy)
    assert np.abs(found - movie.displacement_xy).max() < 0.3
