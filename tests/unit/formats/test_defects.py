"""Defects of a camera, from SerialEM's lists and from masks."""

from __future__ import annotations

import gzip
from pathlib import Path, PurePath

import mrcfile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.errors import FormatError
from cryodaq.formats.defects import parse_defect_list, read_defects, scaled_to

LIST = """CameraSizeX 60
CameraSizeY 40
RotationAndFlip 0
WasScaled 0
K2Type 1
UsableArea 0 0 39 59
PartialBadColumn 20 2 5 9
PartialBadRow 30 1 40 49
BadColumns 3 7
BadRows 12
BadPixels 55 2 56 38
"""
HERE = PurePath("defects.txt")


def test_each_kind_of_defect_is_where_the_list_says() -> None:
    mask = parse_defect_list(LIST, path=HERE)
    expected = np.zeros((40, 60), bool)
    expected[5:10, 20:22] = True
    expected[30, 40:50] = True
    expected[:, [3, 7]] = True
    expected[12] = True
    expected[[2, 38], [55, 56]] = True
    assert np.array_equal(mask, expected)


def test_a_real_mask_of_a_k3_marks_its_defects(shared_data: Path, tmp_path: Path) -> None:
    packed = shared_data / "movies/k3_defect_maps/27489513.mrc.gz"
    (tmp_path / "k3.mrc").write_bytes(gzip.decompress(packed.read_bytes()))
    mask = read_defects(tmp_path / "k3.mrc")
    assert (mask.shape, int(mask.sum())) == ((4092, 5760), 8184)
    whole = mask.all(axis=0)
    assert int(whole.sum()) == 2  # two columns, from end to end


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("BadRows 1", "CameraSizeX"),
        ("CameraSizeX 60\nCameraSizeY 999999999999", "CameraSizeY"),
        (LIST.replace("BadRows 12", "BadRows -1"), "negative"),
        (LIST.replace("BadRows 12", "BadRows twelve"), "no number"),
        (LIST.replace("55 2 56 38", "55 2 56"), "half a pair"),
        (LIST.replace("20 2 5 9", "20 2"), "4 are expected"),
    ],
)
def test_a_damaged_list_is_refused(text: str, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse_defect_list(text, path=HERE)


def test_most_of_a_camera_is_no_defect(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "m.mrc") as file:
        file.set_data(np.ones((32, 32), np.int8))
    with pytest.raises(FormatError, match="100% of the camera"):
        read_defects(tmp_path / "m.mrc")


@given(st.integers(0, 59), st.integers(0, 39))
def test_super_resolution_doubles_a_defect_and_binning_keeps_it(column: int, row: int) -> None:
    mask = parse_defect_list(f"CameraSizeX 60\nCameraSizeY 40\nBadPixels {column} {row}", path=HERE)
    double = scaled_to(mask, (80, 120))
    assert double is not None
    assert np.argwhere(double).tolist() == [[2 * row + a, 2 * column + b] for a in (0, 1) for b in (0, 1)]
    half = scaled_to(mask, (20, 30))
    assert half is not None
    assert np.argwhere(half).tolist() == [[row // 2, column // 2]]
    assert scaled_to(mask, (41, 60)) is None
