"""What pages draw: motion in Å of the specimen, places in pixels of the micrograph."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryodaq.domain.results import AlignmentResult, MotionStatistics, PickResult
from cryodaq.errors import FormatError
from cryodaq.formats.star import write_star
from cryodaq.publish.viewer import PatchTrack, motion_track, pick_overlay, read_patch_tracks

ALIGN = AlignmentResult(
    micrograph="/m.mrc",
    micrograph_dose_weighted="/m_DW.mrc",
    unaligned_sum="/s.mrc",
    pixel_size_ang=1.0,
    frame_count=2,
    shape_yx=(400, 600),
    motion=MotionStatistics(displacement_px_xy=((0.0, 0.0), (3.0, -4.0)), total_ang=5.0, early_ang=5.0, late_ang=0.0),
    hot_pixels=0,
    mean_counts_per_px_frame=1.0,
    gain_applied=False,
    seconds=1.0,
    engine="native",
)


def write_tracks(path: Path, *, frames: tuple[int, ...] = (2, 1, 1, 2)) -> Path:
    table = {
        "rlnMicrographFrameNumber": list(frames),
        "rlnCoordinateX": [200.0, 200.0, 600.0, 600.0],
        "rlnCoordinateY": [100.0, 100.0, 100.0, 100.0],
        "rlnMicrographShiftX": [-2.0, 0.0, 0.0, 2.0],
        "rlnMicrographShiftY": [1.0, 0.0, 0.0, 0.0],
    }
    write_star(path, {"local_shift": table})
    return path


def test_a_patch_moves_with_the_field_and_beyond_it(tmp_path: Path) -> None:
    patches = read_patch_tracks(write_tracks(tmp_path / "patches.star"))
    drawn = motion_track(ALIGN, patches, movie_pixel_size_ang=0.5)  # super-resolution frames
    assert drawn["displacement_ang_xy"] == [(0.0, 0.0), (3.0, -4.0)]
    # Moved back by -2 and 1 pixels of 0.5 Å: the specimen was at +1 and -0.5 Å.
    assert drawn["patches"] == [
        {"centre_px_xy": [100.0, 50.0], "displacement_ang_xy": [(0.0, 0.0), (4.0, -4.5)]},
        {"centre_px_xy": [300.0, 50.0], "displacement_ang_xy": [(0.0, 0.0), (2.0, -4.0)]},
    ]


def test_patches_without_a_frame_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "patches.star"
    write_star(path, {"local_shift": {"rlnCoordinateX": [1.0]}})
    with pytest.raises(FormatError, match="local_shift"):
        read_patch_tracks(path)
    table = {name: [1.0, 1.0, 1.0] for name in ("rlnMicrographFrameNumber", "rlnMicrographShiftX")}
    more = {"rlnMicrographShiftY": [0.0, 0.0, 0.0], "rlnCoordinateX": [5.0, 5.0, 9.0], "rlnCoordinateY": [1.0] * 3}
    write_star(path, {"local_shift": {**table, **more}})
    with pytest.raises(FormatError, match="every frame"):
        read_patch_tracks(path)


def test_a_tracks_shape_is_documented_even_without_patches() -> None:
    tracks = [PatchTrack(centre_px_xy=(1.0, 2.0), displacement_px_xy=((0.0, 0.0), (1.0, 1.0)))]
    assert motion_track(ALIGN, [], movie_pixel_size_ang=1.0)["patches"] == []
    assert set(motion_track(ALIGN, tracks, movie_pixel_size_ang=1.0)) == {
        "pixel_size_ang",
        "shape_yx",
        "total_ang",
        "early_ang",
        "late_ang",
        "displacement_ang_xy",
        "patches",
    }


def test_particles_are_drawn_to_scale() -> None:
    pick = PickResult(
        coordinates="/c.star", count=1, masked_fraction=0.25, diameter_ang=120.0, seconds=1.0, engine="native"
    )
    drawn = pick_overlay(pick, coordinates_px_xy=[(10.04, 20.0)], scores=[5.0], align=ALIGN)
    assert drawn == {
        "pixel_size_ang": 1.0,
        "shape_yx": (400, 600),
        "diameter_ang": 120.0,
        "masked_fraction": 0.25,
        "coordinates_px_xy": [(10.0, 20.0)],
        "scores": [5.0],
    }
