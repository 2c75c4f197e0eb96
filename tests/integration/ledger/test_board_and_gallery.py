"""The numbers on pages are the ledger's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cryodaq.database import open_engine
from cryodaq.ledger import gallery
from cryodaq.ledger.board import board, sample_progress
from cryodaq.ledger.events import Subject, raise_alarm
from cryodaq.testing.seeded_ledger import LedgerSeeder, example_fit

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
A, B = "a" * 24, "b" * 24


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def seed(engine: Engine, tmp_path: Path) -> LedgerSeeder:
    return LedgerSeeder(engine=engine, storage=tmp_path, now=NOW)


def test_each_count_contains_the_next(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample(A)
    seed.add_file(sample, "growing", state="seen")
    seed.add_file(sample, "gone", state="vanished")
    seed.add_file(sample, "meta", role="metadata")
    seed.add_movie(sample, "new", state="registered", file_state="copied")
    seed.add_movie(sample, "stuck", state="waiting")
    seed.add_movie(sample, "bad", state="failed")
    seed.add_movie(sample, "done", state="published")
    with engine.connect() as connection:
        found = sample_progress(connection, [A])[A]
    assert (found.seen, found.copied, found.verified, found.processed) == (5, 4, 3, 1)
    assert (found.failed, found.waiting, found.to_copy, found.to_process) == (1, 1, 1, 2)


def test_of_a_changed_movie_only_the_newest_version_counts(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample(A)
    seed.add_movie(sample, "m", state="published")
    seed.add_movie(sample, "m", state="processing", version=2, file_state="copied")
    with engine.connect() as connection:
        found = sample_progress(connection, [A])[A]
    assert (found.seen, found.copied, found.verified, found.registered, found.processed) == (1, 1, 0, 1, 0)


def test_the_board_says_what_is_current_and_what_still_drains(seed: LedgerSeeder, engine: Engine) -> None:
    earlier, current = seed.add_sample(A, name="earlier"), seed.add_sample(B, name="current")
    seed.poll("tem1", sample=earlier)
    seed.now += timedelta(minutes=1)
    seed.poll("tem1", sample=current)
    seed.add_file(earlier, "late_1", state="complete")
    seed.add_file(earlier, "late_2", state="copied")
    seed.add_file(earlier, "short", state="held", problem="it has 38 frames where 40 are expected")
    seed.add_file(current, "m1", state="copying")
    with engine.connect() as connection:
        tem1, tem2 = board(connection, ("tem1", "tem2"), now=seed.now)
    assert (tem1.assignment, tem1.sample_name, tem1.progress.seen) == ("sample", "current", 1)
    (draining,) = tem1.draining
    assert (draining.sample_name, draining.files, draining.held) == ("earlier", 2, 1)
    assert tem1.movies_last_hour == 4
    assert (tem2.assignment, tem2.movies_last_hour, tem2.last_movie_at) == ("unknown", 0, None)


def test_an_old_movie_is_no_longer_in_the_rate(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample(A)
    seed.add_file(sample, "m")
    with engine.connect() as connection:
        (tem1,) = board(connection, ("tem1",), now=NOW + timedelta(hours=1))
    assert tem1.movies_last_hour == 0
    assert tem1.last_movie_at is not None


def test_an_alarm_of_an_experiment_is_shown_at_its_microscope(seed: LedgerSeeder, engine: Engine) -> None:
    seed.add_sample(A, experiment="20261122-CS01")
    with engine.begin() as connection:
        raise_alarm(
            connection,
            "elogbook-refused:x",
            severity="warning",
            message="refused",
            at=NOW,
            subject=Subject(experiment="20261122-CS01"),
        )
        (tem1,) = board(connection, ("tem1",), now=NOW)
    assert [alarm.text for alarm in tem1.alarms] == ["refused"]


def test_numbers_come_from_the_newest_success_even_while_another_attempt_runs(
    seed: LedgerSeeder, engine: Engine
) -> None:
    sample = seed.add_sample(A)
    movie = seed.add_movie(sample, "m")
    seed.add_measurements(movie, fit=example_fit(resolution_ang=5.0))
    seed.add_result(movie, "ctf", result=None, attempt=2)
    with engine.connect() as connection:
        row = gallery.find_movie(connection, movie.id, branch_name="live")
    assert row is not None
    assert row.measured.fit_resolution_ang == 5.0
    assert row.measured.defocus_mean_ang == 15_000.0
    assert row.measured.particle_count == 212
    assert row.pictures is None


def test_without_a_fit_there_is_no_defocus(seed: LedgerSeeder, engine: Engine) -> None:
    movie = seed.add_movie(seed.add_sample(A), "m")
    seed.add_measurements(movie, fit=example_fit(fitted=False), particles=None)
    with engine.connect() as connection:
        row = gallery.find_movie(connection, movie.id, branch_name="live")
    assert row is not None
    assert row.measured.ctf_fitted is False
    assert (row.measured.defocus_u_ang, row.measured.fit_resolution_ang, row.measured.particle_count) == (None,) * 3


def test_a_movies_history_names_files_attempts_and_run(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample(A)
    movie = seed.add_movie(sample, "m", state="failed", problem="align: it is truncated")
    seed.add_file(sample, "m", role="metadata")
    seed.add_result(movie, "align", result=None, problem="it is truncated")
    with engine.connect() as connection:
        history = gallery.movie_history(connection, movie.id, branch_name="live")
        assert gallery.movie_history(connection, movie.id + 1, branch_name="live") is None
    assert history is not None
    assert [(entry.role, entry.state) for entry in history.files] == [("metadata", "verified"), ("movie", "verified")]
    assert [(entry.stage, entry.state, entry.problem) for entry in history.attempts] == [
        ("align", "failed", "it is truncated")
    ]
    assert history.runs[0].run_id == "m"
    assert history.row.problem == "align: it is truncated"


def test_files_that_people_must_look_at_come_first(seed: LedgerSeeder, engine: Engine) -> None:
    sample = seed.add_sample(A)
    seed.add_file(sample, "short", state="held", problem="it has 38 frames where 40 are expected")
    seed.add_file(sample, "newer", state="seen")
    seed.add_file(sample, "here", state="copied")
    with engine.connect() as connection:
        arriving = gallery.arriving_files(connection, A)
    assert [entry.path for entry in arriving] == ["session/short.tiff", "session/newer.tiff"]
