"""The board's reasons: what waits, for what, and how long the share lasts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cryodaq.database import open_engine
from cryodaq.ledger import tables as t
from cryodaq.ledger.board import board
from cryodaq.ledger.reasons import reasons
from cryodaq.testing.seeded_ledger import LedgerSeeder

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
A, B = "a" * 24, "b" * 24
SIZE = 412_334_112
"""Of each file that the seeder writes."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def seed(engine: Engine, tmp_path: Path) -> LedgerSeeder:
    return LedgerSeeder(engine=engine, storage=tmp_path, now=NOW)


def test_alike_reasons_are_counted_together_and_name_one_movie(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample(A)
    for name in ("m1", "m2"):
        seed.add_movie(sample, name, state="waiting", problem="no gain reference")
    last = seed.add_movie(sample, "m3", state="waiting", problem="nothing says pixel_size_ang")
    seed.add_movie(sample, "m4", state="failed", problem="ctf: it broke")
    seed.add_file(sample, "short", state="held", problem="it has 38 of 40 frames")
    other = seed.add_sample(B, microscope="tem2", experiment="20261122-CX02")
    seed.add_movie(other, "m5", state="waiting", problem="no gain reference")
    with engine.connect() as connection:
        found = reasons(connection, "tem1")
    assert [(one.problem, one.count) for one in found.waiting] == [
        ("no gain reference", 2),
        ("nothing says pixel_size_ang", 1),
    ]
    assert (found.waiting[1].example_id, found.waiting[1].example) == (last.id, "m3")
    assert [(one.problem, one.count) for one in found.failed] == [("ctf: it broke", 1)]
    assert [(one.problem, one.example) for one in found.held] == [("it has 38 of 40 frames", "session/short.tiff")]
    assert [(step.state, step.files, step.size_bytes) for step in found.steps] == [("held", 1, SIZE)]


def test_what_was_not_handed_over_is_counted_with_what_the_receiver_said(seed: LedgerSeeder, engine: Engine) -> None:
    movie = seed.add_movie(seed.add_sample(A), "m1", state="queued")
    with engine.begin() as connection:
        connection.execute(
            t.trigger.update()
            .where(t.trigger.c.movie_id == movie.id)
            .values(sent_at=None, problem="Airflow does not answer")
        )
        connection.execute(
            t.delivery.insert().values(
                experiment=movie.sample.experiment,
                run_name="m1",
                call="start_run",
                payload={},
                key="k",
                created_at=NOW,
                next_attempt_at=NOW,
                problem="the elogbook is locked",
            )
        )
    with engine.connect() as connection:
        found = reasons(connection, "tem1")
    assert (found.triggers.count, found.triggers.since, found.triggers.problem) == (1, NOW, "Airflow does not answer")
    assert (found.deliveries.count, found.deliveries.problem) == (1, "the elogbook is locked")


def test_a_share_lasts_as_long_as_the_last_hours_rate_says(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample(A)
    with engine.begin() as connection:
        connection.execute(
            t.share_state.insert().values(
                microscope="tem1", share="/share", scanned_at=NOW, free_bytes=6 * SIZE, total_bytes=100 * SIZE
            )
        )
    with engine.connect() as connection:
        assert board(connection, ["tem1"], now=NOW)[0].shares[0].hours_left is None
    seed.now = NOW - timedelta(hours=3)
    seed.add_file(sample, "of_the_morning")
    seed.now = NOW
    for name in ("m1", "m2"):
        seed.add_file(sample, name)
    with engine.connect() as connection:
        (share,) = board(connection, ["tem1"], now=NOW)[0].shares
    assert (share.bytes_last_hour, share.hours_left) == (2 * SIZE, 3.0)
