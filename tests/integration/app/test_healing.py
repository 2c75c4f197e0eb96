"""Movies whose run the scheduler lost, or ended without a result, are processed all the same: each, and once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tests.integration.app.conftest import EXPERIMENT, Bench

from cryodaq.app.deliver_results import deliver_due
from cryodaq.app.prepare_sample import prepare_sample
from cryodaq.app.reconcile_movies import Reconciled, Reconciliation, reconcile_movies
from cryodaq.app.trigger_preprocessing import admit_movies, send_triggers
from cryodaq.domain.failures import Cause
from cryodaq.errors import SchedulerUnreachableError
from cryodaq.ledger import results, tables
from cryodaq.scheduler.in_process import InProcessScheduler


class Runner:
    """Does with a movie's run what a test wants: publish it, fail it for some reason, or die without a word."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.will: dict[int, Cause | None] = {}
        """By movie: why it fails; None: it is published."""
        self.ran: list[tuple[int, str]] = []

    def __call__(self, _dag: str, run: str, conf: dict[str, object]) -> None:
        movie, branch = int(str(conf["movie_id"])), int(str(conf["branch_id"]))
        self.ran.append((movie, run))
        cause, at = self.will.get(movie), self._bench.clock()
        with self._bench.engine.begin() as connection:
            target = results.movie_to_process(connection, movie, branch)
            assert target is not None
            attempt = results.begin_attempt(connection, target, "publish", log="", at=at)
            if cause is None:
                results.succeed(connection, target, attempt, stage="publish", result={}, at=at)
            elif cause is not Cause.LOST:
                results.fail(connection, target, attempt, stage="publish", problem="no", cause=cause, at=at)
        if cause is not None:
            message = f"the run of {movie} fails"
            raise SchedulerUnreachableError(message)


@pytest.fixture
def runner(bench: Bench) -> Iterator[Runner]:
    bench.without_gain()
    bench.add_sample()
    runner = Runner(bench)
    bench.scheduler = InProcessScheduler(runner, dag_folder=bench.dag_folder)  # type: ignore[arg-type]  # wider
    assert prepare_sample(bench.preparation, bench.sample)
    yield runner
    bench.scheduler.close()


def reconcile(bench: Bench) -> Reconciled:
    return reconcile_movies(
        Reconciliation(
            engine=bench.engine, scheduler=bench.scheduler, microscope="tem1", notes_failures=True, now=bench.clock
        )
    )


def hand_over(bench: Bench) -> int:
    admit_movies(bench.admission)
    sent = send_triggers(bench.admission)
    bench.scheduler.wait_until_idle(timeout_s=20)
    return sent


def collect(bench: Bench, count: int) -> list[int]:
    movies = [bench.add_movie(f"a_{number:05}") for number in range(count)]
    bench.wait(11)
    return movies


def outcome(bench: Bench, movie: int) -> str | None:
    with bench.engine.connect() as connection:
        return connection.execute(
            select(tables.trigger.c.outcome).where(tables.trigger.c.movie_id == movie)
        ).scalar_one()


def test_after_the_scheduler_forgot_its_old_runs_none_is_triggered(bench: Bench, runner: Runner) -> None:
    collect(bench, 5)
    assert hand_over(bench) == 5
    bench.scheduler.forget()
    bench.wait(86_400)
    assert reconcile(bench) == Reconciled()
    assert hand_over(bench) == 0
    assert len(runner.ran) == 5


def test_after_the_scheduler_lost_everything_exactly_the_unpublished_are_triggered(
    bench: Bench, runner: Runner
) -> None:
    movies = collect(bench, 6)
    unpublished = {movies[1], movies[4]}
    runner.will = dict.fromkeys(unpublished, Cause.LOST)
    assert hand_over(bench) == 6
    bench.scheduler.forget()
    runner.will = {}
    assert reconcile(bench) == Reconciled()  # too soon: they may only now be written
    bench.wait(61)
    assert reconcile(bench) == Reconciled(lost=2)
    runner.ran.clear()
    assert hand_over(bench) == 2
    assert {movie for movie, _ in runner.ran} == unpublished
    assert {run for _, run in runner.ran} == {"a_00001", "a_00004"}  # the same runs, which nobody knows any more
    assert [outcome(bench, movie) for movie in movies] == ["published"] * 6


def test_a_run_under_way_is_left_alone_and_so_is_everything_while_the_scheduler_is_silent(
    bench: Bench, runner: Runner
) -> None:
    class Silent(InProcessScheduler):
        def run_states(self, dag_id: str, run_ids: object) -> dict[str, object]:  # type: ignore[override]  # raises
            message = "no answer"
            raise SchedulerUnreachableError(message)

    (movie,) = collect(bench, 1)
    runner.will[movie] = Cause.LOST
    hand_over(bench)
    bench.wait(3600)
    bench.scheduler = Silent(runner, dag_folder=bench.dag_folder)  # type: ignore[arg-type]  # wider
    assert reconcile(bench) == Reconciled()
    assert outcome(bench, movie) is None


def test_a_passing_failure_is_tried_for_as_long_as_it_takes_ever_more_slowly(bench: Bench, runner: Runner) -> None:
    (movie,) = collect(bench, 1)
    runner.will[movie] = Cause.PASSING
    assert hand_over(bench) == 1
    for pause_s in (60, 600, 3600, 3600, 3600):
        bench.wait(61)
        assert reconcile(bench) == Reconciled(anew=1)
        bench.wait(pause_s - 1)
        assert hand_over(bench) == 0
        bench.wait(1)
        assert hand_over(bench) == 1
    runner.will = {}
    bench.wait(61)
    assert reconcile(bench) == Reconciled(anew=1)
    bench.wait(3600)
    assert hand_over(bench) == 1
    assert bench.movie(movie).state != "failed"
    assert outcome(bench, movie) == "published"
    assert [run for _, run in runner.ran] == ["a_00000", *(f"a_00000~r{number}" for number in range(1, 7))]


def test_a_movie_that_ends_its_process_each_time_is_given_up_and_says_so(bench: Bench, runner: Runner) -> None:
    (movie,) = collect(bench, 1)
    runner.will[movie] = Cause.LOST
    hand_over(bench)
    for _ in range(3):
        bench.wait(3661)
        assert reconcile(bench).anew == 1
        bench.wait(3601)
        assert hand_over(bench) == 1
    bench.wait(3661)
    assert reconcile(bench) == Reconciled(given_up=1)
    assert bench.movie(movie).state == "failed"
    assert "its process died" in bench.movie(movie).problem
    bench.wait(86_400)
    assert reconcile(bench) == Reconciled()
    assert hand_over(bench) == 0


def test_a_lasting_failure_is_never_tried_again(bench: Bench, runner: Runner) -> None:
    (movie,) = collect(bench, 1)
    runner.will[movie] = Cause.LASTING
    hand_over(bench)
    bench.wait(86_400)
    assert reconcile(bench) == Reconciled()
    assert outcome(bench, movie) == "failed"
    assert bench.movie(movie).problem == "publish: no"


def test_what_a_person_has_done_again_is_published_all_the_same(bench: Bench, runner: Runner) -> None:
    (movie,) = collect(bench, 1)
    runner.will[movie] = Cause.LASTING
    hand_over(bench)
    with bench.engine.connect() as connection:
        conf = connection.execute(select(tables.trigger.c.conf)).scalar_one()
    runner.will = {}
    runner("", "a_00000", conf)  # as Airflow does when somebody clears the run
    assert outcome(bench, movie) == "published"


def test_an_attempt_that_was_taken_over_says_nothing_about_the_movie_any_more(bench: Bench, runner: Runner) -> None:
    (movie,) = collect(bench, 1)
    runner.will[movie] = Cause.LOST
    hand_over(bench)
    with bench.engine.begin() as connection:
        conf = connection.execute(select(tables.trigger.c.conf)).scalar_one()
        target = results.movie_to_process(connection, movie, conf["branch_id"])
        assert target is not None
        lost = results.Attempt(id=connection.execute(select(tables.stage_result.c.id)).scalar_one(), number=1)
        second = results.begin_attempt(connection, target, "publish", log="", at=bench.now)
        results.succeed(connection, target, second, stage="publish", result={}, at=bench.now)
        late = {"stage": "publish", "problem": "late", "cause": Cause.LASTING, "at": bench.now}
        results.fail(connection, target, lost, **late)  # type: ignore[arg-type]  # of several types
    assert outcome(bench, movie) == "published"
    assert bench.movie(movie).problem is None


def test_a_copied_movie_without_a_row_gets_one(bench: Bench, runner: Runner) -> None:
    known = bench.add_movie()
    bench.add_file(known, role="movie", target=Path(bench.sample.folder) / "raw" / "forgotten_fractions.tiff")
    assert reconcile(bench) == Reconciled()
    bench.wait(601)
    assert reconcile(bench) == Reconciled(unregistered=1)
    bench.wait(11)
    assert hand_over(bench) == 2
    assert reconcile(bench) == Reconciled()


def test_only_so_many_movies_are_under_way_and_the_newest_goes_first(bench: Bench, runner: Runner) -> None:
    movies = collect(bench, 12)
    runner.will = dict.fromkeys(movies, Cause.LOST)  # none of them ends
    bench.in_flight_limit = 5
    assert hand_over(bench) == 5
    assert hand_over(bench) == 0
    assert {movie for movie, _ in runner.ran} == set(movies[-5:])
    with bench.engine.begin() as connection:
        done = update(tables.trigger).where(tables.trigger.c.movie_id == movies[-1])
        connection.execute(done.values(settled_at=bench.now, outcome="published"))
    assert hand_over(bench) == 1
    assert runner.ran[-1][0] == movies[-6]
    bench.wait(1801)
    reconcile(bench)
    assert any("processing is behind: 6 movies" in text for text in bench.alarms())


def test_work_that_nobody_begins_is_named(bench: Bench, runner: Runner) -> None:
    class Deaf(InProcessScheduler):
        def trigger(self, dag_id: str, run_id: str, *, conf: object) -> None:
            """Take the run and never do it, as Airflow without a worker on the queue."""

        def run_states(self, dag_id: str, run_ids: object) -> dict[str, str]:  # type: ignore[override]  # narrower
            return dict.fromkeys(list(run_ids), "queued")  # type: ignore[call-overload]

    bench.scheduler = Deaf(runner, dag_folder=bench.dag_folder)  # type: ignore[arg-type]  # wider
    collect(bench, 3)
    assert hand_over(bench) == 3
    bench.now += timedelta(minutes=16)
    reconcile(bench)
    (text,) = bench.alarms()
    assert "3 movies handed over up to 16 minutes ago, and no task of any movie begins" in text
    with bench.engine.begin() as connection:
        connection.execute(update(tables.trigger).values(settled_at=bench.now, outcome="failed"))
    reconcile(bench)
    assert bench.alarms() == []


def test_the_log_says_once_why_movies_failed(bench: Bench, runner: Runner) -> None:
    movies = collect(bench, 4)
    runner.will = dict.fromkeys(movies[:3], Cause.LASTING)
    hand_over(bench)
    with bench.engine.begin() as connection:
        for number, movie in enumerate(movies[:3]):
            problem = f"align: movie {number} has 7 frames" if number < 2 else "ctf: no disk"
            connection.execute(
                update(tables.movie).where(tables.movie.c.id == movie).values(state="failed", problem=problem)
            )
    for _ in range(3):
        bench.wait(61)
        reconcile(bench)
        deliver_due(bench.engine, bench.logbook, clock=bench.clock)
    notes = [note for note in bench.logbook.recorded_notes(EXPERIMENT) if "cannot be processed" in note]
    assert len(notes) == 2
    assert "ctf: no disk" in "".join(notes)
    assert notes[0].count("movie 0") + notes[0].count("movie 1") <= 1
