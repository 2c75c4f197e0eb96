"""Each and every image is accounted for, and what is missing has a name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cryodaq.app.account_for_images import account_for_images
from cryodaq.database import open_engine
from cryodaq.ledger import deliveries
from cryodaq.ledger import tables as t
from cryodaq.ledger.custody import samples_called
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def seed(engine: Engine, tmp_path: Path) -> LedgerSeeder:
    return LedgerSeeder(engine=engine, storage=tmp_path, now=NOW)


def tell_elogbook(engine: Engine, movie: SeededMovie) -> None:
    """Let the elogbook have a movie's run."""
    key = f"movie-{movie.id}:start_run"
    with engine.begin() as connection:
        deliveries.enqueue(
            connection, movie.sample.experiment, run_name=movie.run_name, call="start_run", payload={}, key=key, at=NOW
        )
        connection.execute(t.delivery.update().where(t.delivery.c.key == key).values(delivered_at=NOW))


def test_every_exposure_is_counted_and_each_lost_one_is_named(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample("b" * 24)
    done = seed.add_movie(sample, "done", state="published")
    seed.add_file(sample, "done", role="metadata")
    tell_elogbook(engine, done)
    failed = seed.add_movie(sample, "failed", state="failed", problem="ctf: it cannot be read")
    tell_elogbook(engine, failed)
    seed.add_movie(sample, "untold", state="published")
    seed.add_file(sample, "held", state="held", problem="it has 39 frames where 40 are expected")
    seed.add_file(sample, "lost", role="metadata")
    seed.add_file(sample, "picture", role="hole_picture")
    with engine.connect() as connection:
        (record,) = samples_called(connection, sample.experiment, sample.name)
    account = account_for_images(engine, record)
    assert (account.exposures, account.in_metadata, account.seen) == (5, 2, 4)
    assert (account.copied, account.runs, account.published, account.kept) == (3, 2, 2, 0)
    assert {(one.name, one.step) for one in account.missing} == {
        ("session/failed.tiff", "published"),
        ("session/untold.tiff", "run"),
        ("session/held.tiff", "copied"),
        ("session/lost", "seen"),
    }
    why = {one.name: one.why for one in account.missing}
    assert why["session/failed.tiff"] == "ctf: it cannot be read"
    assert why["session/held.tiff"] == "it has 39 frames where 40 are expected"
    assert not account.complete


def test_a_changed_source_counts_once(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample("b" * 24)
    for version in (1, 2):
        tell_elogbook(engine, seed.add_movie(sample, "m", state="published", version=version))
    with engine.connect() as connection:
        (record,) = samples_called(connection, sample.experiment)
    account = account_for_images(engine, record)
    assert (account.exposures, account.published, account.complete) == (1, 1, True)
