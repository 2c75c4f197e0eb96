"""micrographs_ctf.star as other programs read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import starfile

from cryodaq.formats.star import write_star
from cryodaq.publish.star import Micrograph, Optics, micrographs_blocks

ROOT = PurePosixPath("/data/sample")
OPTICS = Optics(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1, original_pixel_size_ang=0.53, pixel_size_ang=1.06)
MICROGRAPH = Micrograph(
    micrograph="/data/sample/aligned/m 1.mrc",
    micrograph_dose_weighted="/data/sample/aligned/m 1_DW.mrc",
    optics=OPTICS,
    defocus_u_ang=15100.0,
    defocus_v_ang=14900.0,
    defocus_angle_deg=37.5,
    phase_shift_deg=12.0,
    ctf_score=0.31,
    fit_resolution_ang=3.6,
    motion_total_ang=20.7,
    motion_early_ang=1.6,
    motion_late_ang=19.1,
)


def test_starfile_reads_every_column_where_it_belongs(tmp_path: Path) -> None:
    target = tmp_path / "micrographs_ctf.star"
    write_star(target, micrographs_blocks([MICROGRAPH], root=ROOT))
    blocks = starfile.read(target, always_dict=True)
    row = blocks["micrographs"].iloc[0]
    assert row["rlnMicrographName"] == "aligned/m 1_DW.mrc"
    assert row["rlnMicrographNameNoDW"] == "aligned/m 1.mrc"
    assert (row["rlnDefocusU"], row["rlnDefocusV"], row["rlnCtfAstigmatism"]) == (15100.0, 14900.0, 200.0)
    assert (row["rlnDefocusAngle"], row["rlnPhaseShift"]) == (37.5, 12.0)
    assert (row["rlnCtfFigureOfMerit"], row["rlnCtfMaxResolution"]) == (0.31, 3.6)
    assert (row["rlnAccumMotionTotal"], row["rlnAccumMotionEarly"], row["rlnAccumMotionLate"]) == (20.7, 1.6, 19.1)
    optics = blocks["optics"].iloc[0]
    assert (optics["rlnVoltage"], optics["rlnSphericalAberration"], optics["rlnAmplitudeContrast"]) == (300, 2.7, 0.1)
    assert (optics["rlnMicrographPixelSize"], optics["rlnMicrographOriginalPixelSize"]) == (1.06, 0.53)


def test_micrographs_of_other_optics_get_a_group_of_their_own(tmp_path: Path) -> None:
    other = replace(MICROGRAPH, optics=replace(OPTICS, pixel_size_ang=0.83))
    target = tmp_path / "micrographs_ctf.star"
    write_star(target, micrographs_blocks([MICROGRAPH, other, MICROGRAPH], root=ROOT))
    blocks = starfile.read(target, always_dict=True)
    assert list(blocks["micrographs"]["rlnOpticsGroup"]) == [1, 2, 1]
    assert list(blocks["optics"]["rlnOpticsGroup"]) == [1, 2]
    assert list(blocks["optics"]["rlnMicrographPixelSize"]) == [1.06, 0.83]


def test_no_micrograph_yet_is_a_readable_file_too(tmp_path: Path) -> None:
    target = tmp_path / "micrographs_ctf.star"
    write_star(target, micrographs_blocks([], root=ROOT))
    blocks = starfile.read(target, always_dict=True)
    assert len(blocks["micrographs"]) == 0


def test_a_group_is_named_after_its_beam_shift_where_that_is_told_apart(tmp_path: Path) -> None:
    target = tmp_path / "micrographs_ctf.star"
    shifted = replace(MICROGRAPH, optics=replace(OPTICS, beam_shift_group="shift02"))
    write_star(target, micrographs_blocks([MICROGRAPH, shifted], root=ROOT))
    blocks = starfile.read(target, always_dict=True)
    assert list(blocks["optics"]["rlnOpticsGroupName"]) == ["opticsGroup1", "shift02"]
    assert list(blocks["micrographs"]["rlnOpticsGroup"]) == [1, 2]


def test_a_micrograph_outside_the_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="elsewhere"):
        micrographs_blocks([replace(MICROGRAPH, micrograph="/elsewhere/m.mrc")], root=ROOT)
