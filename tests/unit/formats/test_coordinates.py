"""Coordinates keep their places, for us and for the programs that read them next."""

from __future__ import annotations

from pathlib import Path

import pytest
import starfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryodaq.errors import FormatError
from cryodaq.formats.coordinates import read_coordinates, write_coordinates

SHARED = Path(__file__).parents[4] / "shared" / "data" / "star" / "relion5_autopick"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.floats(0, 12_000), st.floats(0, 12_000)), max_size=20))
def test_what_is_written_is_read(tmp_path: Path, places: list[tuple[float, float]]) -> None:
    path = tmp_path / "a.star"
    write_coordinates(path, places, scores=[0.5] * len(places))
    assert read_coordinates(path) == places


def test_other_programs_read_them(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    write_coordinates(path, [(1.5, 2.5), (3.0, 4.0)], scores=[0.9, 0.1])
    table = starfile.read(path)
    assert list(table["rlnCoordinateX"]) == [1.5, 3.0]
    assert list(table["rlnAutopickFigureOfMerit"]) == [0.9, 0.1]


def test_scores_that_do_not_belong_and_places_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    with pytest.raises(FormatError):
        write_coordinates(path, [(1.0, 2.0)], scores=[])
    with pytest.raises(FormatError):
        write_coordinates(path, [(1.0, float("nan"))])
    path.write_text("data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 here\n")
    with pytest.raises(FormatError, match="no finite numbers"):
        read_coordinates(path)


def test_real_picks_of_relion_are_read() -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not here: the real files lie in ../shared beside the project")
    counts = [len(read_coordinates(path)) for path in sorted(SHARED.glob("*.star"))]
    assert len(counts) == 5
    assert all(count > 10 for count in counts)
