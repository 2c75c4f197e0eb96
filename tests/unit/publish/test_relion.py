"""What RELION gets of motion correction, read back by an independent reader of STAR files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import starfile
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.formats.relion_motion import read_relion_motion
from cryodaq.formats.star import read_star, write_star
from cryodaq.publish.relion import (
    AlignedMicrograph,
    MovieMotion,
    corrected_micrographs_blocks,
    motion_blocks,
    relion_turns_rows,
    write_motion_star,
)
from cryodaq.publish.star import Optics

ROOT = PurePosixPath("/gpfs/202607/20260701-CAB01_TEM1/0123456789abcdef01234567")
OPTICS = Optics(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1, original_pixel_size_ang=0.415, pixel_size_ang=0.83)
MOTION = MovieMotion(
    movie=str(ROOT / "raw/Images-Disc1/movie one.mrc"),
    gain=str(ROOT / "raw/GainRefs/gain.mrc"),
    shape_yx=(4092, 5760),
    frame_count=5,
    throw=2,
    pixel_size_ang=0.415,
    dose_per_frame_e_ang2=1.25,
    voltage_kv=300.0,
    displacement_px_xy=((0.0, 0.0), (1.5, -2.25), (2.0, -3.0)),
)


def micrograph(name: str, **changes: object) -> AlignedMicrograph:
    row = AlignedMicrograph(
        micrograph=str(ROOT / f"aligned/{name}.mrc"),
        micrograph_dose_weighted=str(ROOT / f"aligned/{name}_DW.mrc"),
        optics=OPTICS,
        motion_star=str(ROOT / f"aligned/{name}.star"),
        motion_total_ang=12.3456,
        motion_early_ang=2.3456,
        motion_late_ang=10.0,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def test_shifts_are_minus_the_displacement_and_frames_left_out_are_marked(tmp_path: Path) -> None:
    write_motion_star(tmp_path / "run.star", MOTION, root=ROOT)
    table = starfile.read(tmp_path / "run.star")["global_shift"]
    assert list(table["rlnMicrographFrameNumber"]) == [1, 2, 3, 4, 5]
    assert list(table["rlnMicrographShiftX"]) == [-9999.0, -9999.0, 0.0, -1.5, -2.0]
    assert list(table["rlnMicrographShiftY"]) == [-9999.0, -9999.0, 0.0, 2.25, 3.0]


def test_the_movie_is_described_as_relion_describes_it(tmp_path: Path) -> None:
    write_motion_star(tmp_path / "run.star", MOTION, root=ROOT)
    blocks = starfile.read(tmp_path / "run.star")
    assert set(blocks) == {"general", "global_shift"}  # no local model, no hot pixels
    general = blocks["general"]
    assert (general["rlnImageSizeX"], general["rlnImageSizeY"], general["rlnImageSizeZ"]) == (5760, 4092, 5)
    assert general["rlnMicrographMovieName"] == "raw/Images-Disc1/movie one.mrc"
    assert general["rlnMicrographGainName"] == "raw/GainRefs/gain.mrc"
    assert (general["rlnMicrographStartFrame"], general["rlnMotionModelVersion"]) == (3, 0)
    assert (general["rlnMicrographOriginalPixelSize"], general["rlnMicrographBinning"]) == (0.415, 1.0)
    assert general["rlnMicrographDoseRate"] == 1.25
    assert "rlnEERGrouping" not in general


def test_names_are_those_of_relions_own_files(shared_data: Path) -> None:
    real = read_star(shared_data / "star/relion5_motion/20170629_00021_frameImage.star")
    ours = motion_blocks(MOTION, root=ROOT)
    assert set(ours["general"]) == set(real["general"])
    assert list(ours["global_shift"]) == list(real["global_shift"])
    table = read_star(shared_data / "star/relion5/corrected_micrographs.star")
    corrected = corrected_micrographs_blocks([micrograph("one")], root=ROOT)
    assert set(table["micrographs"]) - set(corrected["micrographs"]) == {"rlnCtfPowerSpectrum"}
    assert set(table["optics"]) - set(corrected["optics"]) == {"rlnMtfFileName"}


def test_an_eer_movie_says_how_its_frames_were_gathered(tmp_path: Path) -> None:
    motion = replace(MOTION, movie=str(ROOT / "raw/m.eer"), gain=None, raw_frames_per_frame=32)
    write_motion_star(tmp_path / "run.star", motion, root=ROOT)
    general = starfile.read(tmp_path / "run.star")["general"]
    assert (general["rlnEERGrouping"], general["rlnEERUpsampling"]) == (32, 1)
    assert "rlnMicrographGainName" not in general


@given(st.integers(0, 4), st.lists(st.tuples(st.floats(-500, 500), st.floats(-500, 500)), min_size=1, max_size=20))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, throw: int, way: list[tuple[float, float]]
) -> None:
    path = tmp_path_factory.mktemp("star") / "run.star"
    motion = replace(MOTION, throw=throw, frame_count=throw + len(way), displacement_px_xy=tuple(way))
    write_motion_star(path, motion, root=ROOT)
    read = read_relion_motion(path)
    assert (read.first_frame, read.frame_count, read.shape_yx) == (throw + 1, throw + len(way), (4092, 5760))
    assert np.allclose(read.shifts_px_xy, -np.array(way), atol=1e-6)
    assert not read.has_local_motion


def test_frames_left_out_at_the_end_are_unobserved(tmp_path: Path) -> None:
    motion = replace(MOTION, frame_count=7, trunc=2)
    write_motion_star(tmp_path / "run.star", motion, root=ROOT)
    read = read_relion_motion(tmp_path / "run.star")
    assert (read.frame_count, read.first_frame, len(read.shifts_px_xy)) == (7, 3, 3)


def test_displacements_of_other_frames_than_the_movies_are_refused() -> None:
    with pytest.raises(ValueError, match="3 frames that were used and 2 displacements"):
        motion_blocks(replace(MOTION, displacement_px_xy=((0.0, 0.0), (1.0, 1.0))), root=ROOT)


def test_local_motion_goes_out_in_relions_own_polynomial(tmp_path: Path) -> None:
    coefficients = tuple(float(index) / 7 for index in range(36))
    write_motion_star(tmp_path / "run.star", replace(MOTION, local_motion_coefficients=coefficients), root=ROOT)
    blocks = starfile.read(tmp_path / "run.star")
    assert blocks["general"]["rlnMotionModelVersion"] == 1
    assert list(blocks["local_motion_model"]["rlnMotionModelCoeffsIdx"]) == list(range(36))
    assert np.allclose(blocks["local_motion_model"]["rlnMotionModelCoeff"], coefficients)
    assert read_relion_motion(tmp_path / "run.star").has_local_motion


def test_a_binned_micrograph_says_so(tmp_path: Path) -> None:
    write_motion_star(tmp_path / "run.star", replace(MOTION, binning=2.0), root=ROOT)
    assert starfile.read(tmp_path / "run.star")["general"]["rlnMicrographBinning"] == 2.0


def test_a_movie_elsewhere_keeps_its_whole_path() -> None:
    blocks = motion_blocks(replace(MOTION, movie="/archive/m.mrc"), root=ROOT)
    assert blocks["general"]["rlnMicrographMovieName"] == "/archive/m.mrc"


def test_micrographs_are_listed_by_optics_group_with_paths_that_a_project_can_link(tmp_path: Path) -> None:
    rows = [micrograph("a"), micrograph("b", optics=replace(OPTICS, voltage_kv=200.0)), micrograph("c")]
    write_star(tmp_path / "corrected_micrographs.star", corrected_micrographs_blocks(rows, root=ROOT))
    blocks = starfile.read(tmp_path / "corrected_micrographs.star")
    table = blocks["micrographs"]
    assert list(table["rlnMicrographName"]) == ["aligned/a_DW.mrc", "aligned/b_DW.mrc", "aligned/c_DW.mrc"]
    assert list(table["rlnMicrographNameNoDW"]) == ["aligned/a.mrc", "aligned/b.mrc", "aligned/c.mrc"]
    assert list(table["rlnMicrographMetadata"]) == ["aligned/a.star", "aligned/b.star", "aligned/c.star"]
    assert list(table["rlnOpticsGroup"]) == [1, 2, 1]
    assert list(table["rlnAccumMotionTotal"]) == [12.346] * 3
    assert list(blocks["optics"]["rlnVoltage"]) == [300.0, 200.0]
    assert list(blocks["optics"]["rlnMicrographPixelSize"]) == [0.83, 0.83]


def test_one_micrograph_without_motion_takes_the_column_away() -> None:
    rows = [micrograph("a"), micrograph("b", motion_star=None)]
    assert "rlnMicrographMetadata" not in corrected_micrographs_blocks(rows, root=ROOT)["micrographs"]


def test_a_micrograph_outside_the_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="aligned"):
        corrected_micrographs_blocks([micrograph("a", micrograph="/elsewhere/aligned/a.mrc")], root=ROOT)


@pytest.mark.parametrize(("name", "turned"), [("m.tiff", True), ("m.TIF", True), ("m.mrc", False), ("m.eer", False)])
def test_relion_turns_the_rows_of_tiff_only(name: str, turned: bool) -> None:
    assert relion_turns_rows(PurePosixPath(name)) is turned
