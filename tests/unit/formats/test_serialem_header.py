"""SerialEM's extended header, written by IMOD's description of it."""

from __future__ import annotations

import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.formats.metadata import read_metadata
from cryodaq.formats.serialem_header import read_serialem_header


def stack(path: Path, *, flags: int, shorts: tuple[int, ...], order: str = "<", pixel_size_ang: float = 0.83) -> Path:
    """Write a stack of three frames with a record of shorts for each section."""
    record = struct.pack(f"{order}{len(shorts)}h", *shorts)
    with mrcfile.new(path) as file:
        file.set_data(np.zeros((3, 4, 5), np.int8))
        file.voxel_size = pixel_size_ang
        file.set_extended_header(np.frombuffer(record * 3, "V1"))
        file.header.exttyp = b"SERI"
    data = bytearray(path.read_bytes())
    struct.pack_into(f"{order}2h", data, 128, len(record), flags)
    path.write_bytes(data)
    return path


def test_tilt_stage_and_magnification_come_from_the_frames_own_file(tmp_path: Path) -> None:
    path = stack(tmp_path / "m.mrc", flags=1 | 2 | 4 | 8 | 16, shorts=(-1205, 7, 8, 9, 250, -5000, 1050, 12_000))
    (said,) = read_metadata(path)
    assert (said.tilt_deg, said.stage_x_um, said.stage_y_um, said.magnification) == (-12.05, 10.0, -200.0, 105_000.0)
    assert (said.software, said.source) == ("SerialEM", "m.mrc")
    assert said.pixel_size_ang == pytest.approx(0.83)


def test_what_is_not_flagged_is_not_read(tmp_path: Path) -> None:
    (said,) = read_metadata(stack(tmp_path / "m.mrc", flags=4, shorts=(25, 50)))
    assert (said.tilt_deg, said.stage_x_um, said.stage_y_um, said.magnification) == (None, 1.0, 2.0, None)


def test_a_pixel_of_one_angstrom_is_what_programs_write_that_do_not_know_it(tmp_path: Path) -> None:
    assert (
        read_metadata(stack(tmp_path / "m.mrc", flags=4, shorts=(25, 50), pixel_size_ang=1.0))[0].pixel_size_ang is None
    )


@given(st.binary(min_size=1024, max_size=1024), st.binary(max_size=64))
def test_any_bytes_are_read_or_left_out(header: bytes, extended: bytes) -> None:
    assert set(read_serialem_header(header, extended)) <= {"tilt_deg", "stage_x_um", "stage_y_um", "magnification"}
