"""Movies of very many frames: their motion is found in groups, and known for each frame."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.imaging.frame_groups import MOST_GROUPS, FrameGroups
from cryodaq.imaging.motion import align_movie
from cryodaq.imaging.motion_field import MotionField

from .conftest import MovieRecipe, build_movie


@pytest.mark.parametrize("frame_count", [1, 2, 40, MOST_GROUPS, MOST_GROUPS + 1, 161, 480, 1999])
def test_every_frame_is_in_one_group(frame_count) -> None:
    groups = FrameGroups.for_frames(frame_count)
    frames = np.concatenate([np.arange(frame_count)[members] for members in groups.members()])
    np.testing.assert_array_equal(frames, np.arange(frame_count))
    assert len(groups.members()) == len(groups.starts) <= MOST_GROUPS
    assert groups.brightness(np.ones(frame_count))[:-1] == pytest.approx(1)
    if frame_count <= MOST_GROUPS:
        assert groups.size == 1


@pytest.mark.parametrize(("frame_count", "size"), [(9, 1), (9, 3), (10, 3), (11, 4), (200, 3)])
def test_steady_motion_is_known_in_every_frame(frame_count, size) -> None:
    groups = FrameGroups(frame_count=frame_count, size=size)
    speed = np.array([0.3, -0.2])
    middles = np.array([np.arange(frame_count)[members].mean() for members in groups.members()])
    of_groups = (middles - middles[0])[:, None, None] * speed
    field = MotionField(degrees_yx=((0, 0),), coefficients=of_groups, shape_yx=(64, 64))
    expected = np.arange(frame_count)[:, None] * speed
    np.testing.assert_allclose(groups.field_of_frames(field).mean_px_yx(), expected, atol=1e-12)


def test_frames_of_few_electrons_are_aligned_in_groups(monkeypatch) -> None:
    monkeypatch.setattr("cryodaq.imaging.frame_groups.MOST_GROUPS", 20)
    time = np.arange(50) / 49
    path = tuple((6 * t, -4 * (1 - float(np.exp(-3 * t)))) for t in time.tolist())
    movie = build_movie(MovieRecipe(seed=6, counts=0.5, displacement_xy=path))
    aligned = align_movie(
        movie.frames, gain=movie.gain, pixel_size_ang=1.5, dose_per_frame_e_ang2=0.2, voltage_kv=300.0
    )
    found = np.array(aligned.motion.displacement_px_xy)
    assert found.shape == (50, 2)
    error = found - movie.displacement_xy
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.25
