"""STAR tables say what they were told, to us and to the library that others read them with."""

from __future__ import annotations

import io
from pathlib import Path, PurePath

import pytest
import starfile
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.errors import FormatError, TruncatedFileError
from cryodaq.formats.star import Block, parse_star, read_star, star_row, write_star

SHARED = Path(__file__).parents[4] / "shared" / "data" / "star"
OPTICS: Block = {"rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": [1], "rlnVoltage": [300.0]}
MICROGRAPHS: Block = {
    "rlnMicrographName": ["a b.mrc", "12.5", "c.mrc"],
    "rlnOpticsGroup": [1, 1, 1],
    "rlnDefocusU": [27_150.25, 1e-7, -3.0],
}


def said(blocks: dict[str, Block]) -> str:
    file = io.StringIO()
    write_star(file, blocks)
    return file.getvalue()


def test_tables_are_read_back_by_us_and_by_the_starfile_library(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    blocks: dict[str, Block] = {"optics": OPTICS, "micrographs": MICROGRAPHS}
    write_star(path, blocks)
    assert read_star(path) == blocks
    tables = starfile.read(path)
    assert list(tables["micrographs"]["rlnMicrographName"]) == MICROGRAPHS["rlnMicrographName"]
    assert list(tables["micrographs"]["rlnDefocusU"]) == MICROGRAPHS["rlnDefocusU"]
    assert list(tables["optics"]["rlnVoltage"]) == [300.0]


def test_a_table_grows_by_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    write_star(path, {"optics": OPTICS, "micrographs": MICROGRAPHS})
    with path.open("a") as file:
        file.write(star_row(["d.mrc", 1, 5.5]))
    assert read_star(path)["micrographs"]["rlnMicrographName"] == ["a b.mrc", "12.5", "c.mrc", "d.mrc"]
    assert list(starfile.read(path)["micrographs"]["rlnDefocusU"])[-1] == 5.5


def test_single_values_are_a_block_too(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    write_star(path, {"general": {"rlnImageSizeX": 5760, "rlnMicrographMovieName": "a b.tif"}})
    assert read_star(path) == {"general": {"rlnImageSizeX": 5760, "rlnMicrographMovieName": "a b.tif"}}
    assert starfile.read(path)["rlnImageSizeX"] == 5760


printable = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
sayable = printable.filter(lambda text: not ('"' in text and "'" in text))
columns = st.integers(0, 4).flatmap(
    lambda rows: st.dictionaries(
        st.from_regex(r"rln[A-Za-z]{1,10}", fullmatch=True),
        st.one_of(
            st.lists(sayable, min_size=rows, max_size=rows),
            st.lists(st.integers(-(10**15), 10**15), min_size=rows, max_size=rows),
            st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=rows, max_size=rows),
        ),
        min_size=1,
        max_size=4,
    )
)


@given(table=columns)
def test_what_is_written_is_read(table: dict[str, list[str]]) -> None:
    text = said({"particles": table})
    found = parse_star(text, path=PurePath("a.star"))["particles"]
    assert found == table
    assert [[type(value) for value in column] for column in found.values() if isinstance(column, list)] == [
        [type(value) for value in column] for column in table.values()
    ]


@pytest.mark.parametrize("value", ["line\nbreak", "both\"and'", float("nan"), float("inf")])
def test_what_star_cannot_say_is_refused(value: str | float) -> None:
    with pytest.raises(FormatError, match="cannot be said"):
        star_row([value])


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(FormatError, match="one length"):
        said({"a": {"x": [1], "y": [1, 2]}})
    with pytest.raises(FormatError, match="one length"):
        said({"a": {"x": [1], "y": 2}})


def test_a_row_that_is_cut_is_an_error() -> None:
    text = said({"micrographs": MICROGRAPHS}).rstrip("\n").rpartition(" ")[0]
    with pytest.raises(TruncatedFileError, match="2 values for 3 columns"):
        parse_star(text, path=PurePath("a.star"))


@pytest.mark.parametrize(
    "text", ["_x 1", "data_a\nnonsense", "data_a\ndata_a", "data_a\nloop_\n_x\n_x\n", 'data_a\n_x "y']
)
def test_what_is_no_star_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_star(text, path=PurePath("a.star"))


@given(text=st.text(alphabet="data_loop_x1 .#'\"\n\t-e"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_star(text, path=PurePath("a.star"))
    except FormatError:
        return


def test_every_real_star_file_agrees_with_the_starfile_library() -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not here: the real files lie in ../shared beside the project")
    compared = 0
    for path in sorted(SHARED.rglob("*.star")):
        ours, theirs = read_star(path), starfile.read(path, always_dict=True)
        assert set(theirs) <= set(ours), path
        for name, table in theirs.items():
            for column in table:
                values = list(table[column]) if not isinstance(table, dict) else table[column]
                if not isinstance(values, list) and not isinstance(ours[name][column], list):
                    assert ours[name][column] == values
                else:
                    found = ours[name][column]
                    assert [str(v) for v in (found if isinstance(found, list) else [found])] == [
                        str(v) for v in (values if isinstance(values, list) else [values])
                    ]
                compared += 1
    assert compared > 200
