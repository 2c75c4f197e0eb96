"""Movies that were given up are handed over again by cause, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from cryodaq.app.retry_movies import Choice, choose, grouped, retry_movies
from cryodaq.database import open_engine
from cryodaq.domain.failures import Cause
from cryodaq.ledger import tables as t
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
A, B = "a" * 24, "b" * 24
PICK = "a particle of 150 Å is 150 pixels wide"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def seed(engine: Engine, tmp_path: Path) -> LedgerSeeder:
    return LedgerSeeder(engine=engine, storage=tmp_path, now=NOW)


def give_up(seed: LedgerSeeder, movie: SeededMovie, *, stage: str, problem: str, cause: Cause) -> None:
    seed.add_result(movie, stage, result=None, problem=problem)
    with seed.engine.begin() as connection:
        connection.execute(update(t.stage_result).where(t.stage_result.c.movie_id == movie.id).values(cause=cause))
        connection.execute(
            update(t.trigger).where(t.trigger.c.movie_id == movie.id).values(settled_at=NOW, outcome="failed", reruns=3)
        )
        connection.execute(
            update(t.movie).where(t.movie.c.id == movie.id).values(state="failed", problem=f"{stage}: {problem}")
        )


@pytest.fixture
def movies(seed: LedgerSeeder) -> dict[str, SeededMovie]:
    """Of one sample: two that failed alike, one whose process died, one still tried, one published; one of another."""
    first, second = seed.add_sample(A), seed.add_sample(B, experiment="20261122-CS02", name="ribosome")
    made = {name: seed.add_movie(first, name) for name in ("m1", "m2", "died", "tried", "good")}
    made["other"] = seed.add_movie(second, "other")
    for name in ("m1", "m2", "other"):
        give_up(seed, made[name], stage="pick", problem=PICK, cause=Cause.LASTING)
    give_up(seed, made["died"], stage="align", problem="its process died", cause=Cause.LOST)
    with seed.engine.begin() as connection:
        set_state = update(t.movie).values(state="failed").where(t.movie.c.id == made["tried"].id)
        connection.execute(set_state)
        set_state = update(t.movie).values(state="published").where(t.movie.c.id == made["good"].id)
        connection.execute(set_state)
    return made


def runs(engine: Engine) -> dict[str, tuple[str, str, bool]]:
    """State of each movie, its newest run, and whether that is to be sent."""
    query = (
        select(t.movie.c.run_name, t.movie.c.state, t.trigger.c.run_id, t.trigger.c.sent_at, t.trigger.c.settled_at)
        .join(t.trigger, t.trigger.c.movie_id == t.movie.c.id)
        .order_by(t.trigger.c.id)
    )
    with engine.connect() as connection:
        return {
            row.run_name: (row.state, row.run_id, row.sent_at is None and row.settled_at is None)
            for row in connection.execute(query)
        }


def test_movies_that_failed_alike_are_one_line(engine: Engine, movies: dict[str, SeededMovie]) -> None:
    found = grouped(choose(engine, Choice()))
    assert [(one.movies, one.sample_name, one.stage, one.cause) for one in found] == [
        (2, "apoferritin", "pick", Cause.LASTING),
        (1, "apoferritin", "align", Cause.LOST),
        (1, "ribosome", "pick", Cause.LASTING),
    ]
    assert found[0].problem == f"pick: {PICK}"


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (Choice(), {"m1", "m2", "died", "other"}),
        (Choice(causes={Cause.LOST}), {"died"}),
        (Choice(stage="pick", experiment="20261122-CS01"), {"m1", "m2"}),
        (Choice(sample="ribosome"), {"other"}),
        (Choice(sample=A, problem="PROCESS died"), {"died"}),
        (Choice(microscope="tem2"), set()),
    ],
)
def test_a_choice_takes_what_it_says(
    engine: Engine, movies: dict[str, SeededMovie], choice: Choice, meant: set[str]
) -> None:
    assert {one.run_name for one in choose(engine, choice)} == meant


def test_only_those_that_are_meant_get_another_run_and_only_once(
    engine: Engine, movies: dict[str, SeededMovie]
) -> None:
    before, found = runs(engine), choose(engine, Choice(causes={Cause.LOST}))
    assert retry_movies(engine, found, asked_by="wera", at=LATER) == 1
    after = runs(engine)
    assert after["died"] == ("queued", "died~r4", True)
    assert {name: run for name, run in after.items() if name != "died"} == {
        name: run for name, run in before.items() if name != "died"
    }
    assert retry_movies(engine, found, asked_by="wera", at=LATER) == 0
    assert choose(engine, Choice(causes={Cause.LOST})) == []
    with engine.connect() as connection:
        asked = connection.execute(select(t.event.c.facts).where(t.event.c.kind == "run_asked_for")).scalars().all()
    assert asked == [{"run_id": "died~r4", "by": "wera"}]


def test_a_movie_that_failed_with_parameters_of_another_branch_is_decided_about_anew(
    engine: Engine, movies: dict[str, SeededMovie]
) -> None:
    with engine.begin() as connection:
        live = select(t.branch.c.settings, t.branch.c.created_at).where(t.branch.c.sample_id == B)
        settings, created_at = connection.execute(live).one()
        values = {"sample_id": B, "name": "b2", "settings": settings, "created_at": created_at}
        connection.execute(t.branch.insert().values(**values, template_hash="0", software_version="0"))
        connection.execute(update(t.sample).where(t.sample.c.id == B).values(current_branch="b2"))
    found = choose(engine, Choice(sample="ribosome"))
    assert retry_movies(engine, found, asked_by="wera", at=LATER) == 1
    assert runs(engine)["other"] == ("registered", "other", False)
    assert retry_movies(engine, found, asked_by="wera", at=LATER) == 0
