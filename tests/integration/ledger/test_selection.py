"""Limits and people say which micrographs are in; counts, pages, groups and plots agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from cryodaq.app.export_selection import export_selection
from cryodaq.database import open_engine
from cryodaq.formats.star import read_star
from cryodaq.ledger import tables as t
from cryodaq.ledger.samples import find_branch, find_sample
from cryodaq.ledger.selection import (
    FEWEST_BINS,
    Selection,
    count_selection,
    distributions,
    groups,
    selected_ids,
    selected_movies,
)
from cryodaq.migrations.versions import __path__ as versions
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie, example_fit

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
A = "a" * 24
ALL = Selection(sample_id=A, branch_name="live")
SHARP = replace(ALL, limits={"fit_resolution_ang": (None, 4.0)})


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def seed(engine: Engine, tmp_path: Path) -> LedgerSeeder:
    return LedgerSeeder(engine=engine, storage=tmp_path, now=NOW)


@pytest.fixture
def movies(seed: LedgerSeeder, engine: Engine) -> list[SeededMovie]:
    """Published: 3 Å, 5 Å, 4 Å and one without a fit; and one that is processed."""
    sample = seed.add_sample(A)
    made = []
    for index, resolution in enumerate((3.0, 5.0, 4.0, None)):
        movie = seed.add_movie(sample, f"FoilHole_{77 + index // 2}_m{index}")
        fit = example_fit(resolution_ang=resolution or 9.0, fitted=resolution is not None)
        seed.add_measurements(movie, fit=fit, particles=100 * (index + 1))
        seed.publish_pictures(movie, preview=b"p", thumbnail=b"t")
        made.append(movie)
    made.append(seed.add_movie(sample, "FoilHole_79_m4"))
    return made


def names(engine: Engine, selection: Selection, *, page: int = 1, size: int = 60) -> list[str]:
    with engine.connect() as connection:
        found, _ = selected_movies(connection, selection, page=page, page_size=size)
    return [entry.movie.run_name[-2:] for entry in found]


def test_a_limit_says_in_or_out_and_what_was_not_measured_is_out(movies: list[SeededMovie], engine: Engine) -> None:
    with engine.connect() as connection:
        counts = count_selection(connection, SHARP)
        found, more = selected_movies(connection, SHARP, page=1)
        everything = count_selection(connection, ALL)
    assert (counts.shown, counts.published, counts.inside, counts.outside) == (5, 4, 2, 2)
    assert [entry.is_in for entry in found] == [None, False, True, False, True]
    assert not more
    assert (everything.inside, everything.outside) == (4, 0)


def test_what_a_person_says_counts_more_than_limits(movies: list[SeededMovie], engine: Engine) -> None:
    with engine.begin() as connection:
        for movie, verdict in ((movies[0], "out"), (movies[1], "in"), (movies[2], None)):
            connection.execute(
                t.judgement.insert().values(movie_id=movie.id, verdict=verdict, judged_by="olga", judged_at=NOW)
            )
    assert names(engine, replace(SHARP, which="in")) == ["m2", "m1"]
    assert names(engine, replace(SHARP, which="out")) == ["m3", "m0"]
    with engine.connect() as connection:
        assert selected_ids(connection, replace(SHARP, which="in")) == [movies[1].id, movies[2].id]


def test_sorting_puts_what_was_not_measured_last_either_way(movies: list[SeededMovie], engine: Engine) -> None:
    by_fit = replace(ALL, sort="fit_resolution_ang")
    assert names(engine, by_fit) == ["m1", "m2", "m0", "m4", "m3"]
    assert names(engine, replace(by_fit, descending=False)) == ["m0", "m2", "m1", "m3", "m4"]
    assert names(engine, ALL, page=2, size=2) == ["m2", "m1"]
    assert names(engine, replace(ALL, descending=False), page=3, size=2) == ["m4"]


def test_a_part_of_the_name_and_a_state_narrow_the_list(movies: list[SeededMovie], engine: Engine) -> None:
    assert names(engine, replace(ALL, text="hole_78")) == ["m3", "m2"]
    assert names(engine, replace(ALL, text="%")) == []
    assert names(engine, replace(ALL, state="running")) == ["m4"]


def test_holes_come_from_paths_and_squares_from_metadata(movies: list[SeededMovie], engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            t.movie.update()
            .where(t.movie.c.id.in_([movies[0].id, movies[1].id]))
            .values(metadata={"grid_square": "8401"})
        )
    with engine.connect() as connection:
        holes, more_holes = groups(connection, SHARP, by="hole")
        (newest,), more = groups(connection, SHARP, by="hole", page_size=1)
        (oldest,), none = groups(connection, SHARP, by="hole", page=3, page_size=1)
        squares, _ = groups(connection, SHARP, by="square")
    assert (newest.name, more, oldest.name, none, more_holes) == ("79", True, "77", False, False)
    assert [(one.name, one.movies, one.published, one.inside) for one in holes] == [
        ("79", 1, 0, 0),
        ("78", 2, 2, 1),
        ("77", 2, 2, 1),
    ]
    assert [(one.name, one.movies, one.fit_resolution_ang, one.particle_count) for one in squares] == [
        ("8401", 2, 4.0, 150.0)
    ]
    assert names(engine, replace(ALL, square="8401")) == ["m1", "m0"]


def test_histograms_count_every_published_movie_once(movies: list[SeededMovie], engine: Engine) -> None:
    with engine.connect() as connection:
        found = {one.key: one for one in distributions(connection, SHARP)}
    fit, particles = found["fit_resolution_ang"], found["particle_count"]
    assert (sum(fit.inside), sum(fit.outside)) == (2, 1)
    assert (sum(particles.inside), sum(particles.outside)) == (2, 2)
    assert (fit.inside[0], fit.inside[FEWEST_BINS // 2], fit.outside[-1]) == (1, 1, 1)
    assert [(probe.place, probe.value, probe.is_in) for probe in particles.probes] == [
        (0.0, 100.0, True),
        (pytest.approx(1 / 3), 200.0, False),
        (pytest.approx(2 / 3), 300.0, True),
        (1.0, 400.0, False),
    ]
    assert "ice_ring_ratio" not in found


def test_a_selection_is_exported_as_the_samples_own_tables_are(
    movies: list[SeededMovie], engine: Engine, tmp_path: Path
) -> None:
    with engine.connect() as connection:
        sample, branch = find_sample(connection, A), find_branch(connection, A, "live")
        assert sample is not None
        assert branch is not None
        wanted = selected_ids(connection, replace(SHARP, which="in"))
        star = "".join(export_selection(connection, sample, branch, movie_ids=wanted, kind="star"))
        table = list(export_selection(connection, sample, branch, movie_ids=wanted, kind="csv"))
        nothing = list(export_selection(connection, sample, branch, movie_ids=[], kind="csv"))
    (tmp_path / "selection.star").write_text(star)
    micrographs = read_star(tmp_path / "selection.star")["micrographs"]
    assert micrographs["rlnMicrographName"] == [
        f"aligned/{movies[0].run_name}_DW.mrc",
        f"aligned/{movies[2].run_name}_DW.mrc",
    ]
    assert micrographs["rlnCtfMaxResolution"] == [3.0, 4.0]
    assert len(table) == 3
    assert len(nothing) == 1


def test_measurements_made_before_an_upgrade_are_copied(movies: list[SeededMovie], engine: Engine) -> None:
    import runpy

    (path,) = Path(next(iter(versions))).glob("*_measurements.py")
    question = "select * from ledger.measurement order by movie_id"
    with engine.begin() as connection:
        # A column that came later, and which what was stored by then does not tell.
        connection.execute(text("update ledger.measurement set relative_ice_thickness = null"))
        written = connection.execute(text(question)).all()
        connection.execute(text("delete from ledger.measurement"))
        connection.execute(text(runpy.run_path(str(path))["_COPY"]))
        assert connection.execute(text(question)).all() == written
    assert len(written) == 4


def say(engine: Engine, movie: SeededMovie, **said: object) -> None:
    with engine.begin() as connection:
        connection.execute(t.movie.update().where(t.movie.c.id == movie.id).values(metadata={"source": "a", **said}))


def test_movies_are_found_by_what_their_program_said(movies: list[SeededMovie], engine: Engine) -> None:
    say(engine, movies[0], applied_defocus_ang=8_000.0, stage_x_um=-120.5, stage_y_um=40.0)
    say(engine, movies[1], applied_defocus_ang=22_000.0, stage_x_um=-118.0, stage_y_um=41.0)
    say(engine, movies[2], applied_defocus_ang=None, stage_x_um=300.0)
    assert names(engine, replace(ALL, said={"applied_defocus_ang": (10_000.0, None)})) == ["m1"]
    assert names(engine, replace(ALL, said={"stage_x_um": (-121.0, -115.0)})) == ["m1", "m0"]
    near = {"stage_x_um": (-119.0, 400.0), "stage_y_um": (40.5, 41.5)}
    assert names(engine, replace(ALL, said=near)) == ["m1"]


def test_movies_are_found_by_when_they_were_taken(movies: list[SeededMovie], engine: Engine) -> None:
    """Berlin is an hour before UTC in winter; what has no zone was written in Berlin's; no time: when it came."""
    berlin = ZoneInfo("Europe/Berlin")
    said = ("2026-01-08T15:49:15.123456+00:00", "2026-01-08T16:50:00", "no time at all", "2026-99-99T10:00:00")
    for movie, written in zip(movies, said, strict=False):
        say(engine, movie, acquired_at=written)
    since = datetime(2026, 1, 8, 16, 49, tzinfo=berlin)
    for begin, end, expected in (
        (since, datetime(2026, 1, 8, 16, 49, 30, tzinfo=berlin), ["m0"]),
        (since, datetime(2026, 1, 8, 17, 0, tzinfo=berlin), ["m1", "m0"]),
        (datetime(2026, 1, 8, 16, 49, 30, tzinfo=berlin), datetime(2026, 2, 1, tzinfo=berlin), ["m1"]),
        (None, since, []),
        (NOW - timedelta(days=1), None, ["m4", "m3", "m2"]),
    ):
        assert names(engine, replace(ALL, taken=(begin, end))) == expected
