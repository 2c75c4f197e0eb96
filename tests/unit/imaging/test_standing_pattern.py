"""A gain reference that is stale leaves a pattern that does not move, and must not hold the specimen."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.imaging.motion import align_movie

from .conftest import MovieRecipe, build_movie

PHYSICS = {"pixel_size_ang": 1.5, "dose_per_frame_e_ang2": 1.0, "voltage_kv": 300.0}
STALE = 0.1
"""Error of the gain that the camera has applied, RMS."""


def found_motion(movie):
    """Aligned as a camera's corrected frames are, whatever their gain was."""
    return np.array(align_movie(movie.frames, **PHYSICS).motion.displacement_px_xy)


@pytest.mark.parametrize("seed", [5, 7])
def test_a_pattern_of_the_camera_does_not_hold_the_specimen(seed) -> None:
    path = tuple((0.35 * t, -0.25 * t) for t in range(12))
    movie = build_movie(MovieRecipe(seed=seed, displacement_xy=path, contrast=0.07, gain_spread=STALE))
    assert np.abs(found_motion(movie) - movie.displacement_xy).max() < 0.5


def test_a_specimen_at_rest_is_not_taken_for_the_cameras_pattern() -> None:
    for spread in (0.0, STALE):
        movie = build_movie(MovieRecipe(seed=8, displacement_xy=((0.0, 0.0),) * 12, gain_spread=spread))
        assert np.abs(found_motion(movie)).max() < 0.15
