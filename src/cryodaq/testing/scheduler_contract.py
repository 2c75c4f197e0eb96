"""What every Scheduler must do; a subclass supplies the fixtures `scheduler` and `dag_folder`."""

# ruff: noqa: S101  # a test suite, shipped

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cryodaq.domain.failures import RunState
from cryodaq.errors import DagNotParsedError, RunConflictError
from cryodaq.ports import Scheduler

NOTICED_WITHIN_S = 5.0
"""From a new file in the DAG folder, with one call of `refresh`, to what the scheduler says of it."""
CONF = {"movie_id": 7, "branch_id": 1}
DAG_ID = "20260101-CT01_0123456789abcdef01234567"


class SchedulerContract:
    """Suite for one implementation.

    The subclass's fixtures: `scheduler`, `dag_folder` (Path), and `dag_text` (what a sample's DAG file holds).
    """

    def test_a_dag_without_a_file_is_unknown_and_takes_no_run(self, scheduler: Scheduler) -> None:
        absent = "20260101-CT99_ffffffffffffffffffffffff"
        assert not scheduler.is_parsed(absent)
        assert scheduler.import_error(f"{absent}.py") is None
        with pytest.raises(DagNotParsedError) as caught:
            scheduler.trigger(absent, "movie", conf=CONF)
        assert caught.value.retryable

    def test_a_new_dag_takes_runs_within_seconds(self, scheduler: Scheduler, dag_folder: Path, dag_text: str) -> None:
        _put(dag_folder, DAG_ID, dag_text)
        scheduler.refresh()
        assert _within(NOTICED_WITHIN_S, lambda: scheduler.is_parsed(DAG_ID))
        assert scheduler.import_error(f"{DAG_ID}.py") is None
        scheduler.trigger(DAG_ID, "FoilHole_1_Data_2_3_20260101_120000", conf=CONF)

    def test_the_same_run_again_is_accepted(self, scheduler: Scheduler, dag_folder: Path, dag_text: str) -> None:
        self.test_a_new_dag_takes_runs_within_seconds(scheduler, dag_folder, dag_text)
        scheduler.trigger(DAG_ID, "again~2:+-", conf=CONF)
        scheduler.trigger(DAG_ID, "again~2:+-", conf=CONF)

    @pytest.mark.parametrize("other", [{"movie_id": 8, "branch_id": 1}, {"movie_id": 7, "branch_id": 2}])
    def test_a_run_of_another_movie_or_branch_is_a_conflict(
        self, scheduler: Scheduler, dag_folder: Path, dag_text: str, other: dict[str, object]
    ) -> None:
        self.test_a_new_dag_takes_runs_within_seconds(scheduler, dag_folder, dag_text)
        scheduler.trigger(DAG_ID, "conflict", conf=CONF)
        with pytest.raises(RunConflictError, match="conflict") as caught:
            scheduler.trigger(DAG_ID, "conflict", conf=other)
        assert not caught.value.retryable
        scheduler.trigger(DAG_ID, "conflict", conf=CONF)

    def test_it_says_how_far_runs_are_and_leaves_out_what_it_does_not_know(
        self, scheduler: Scheduler, dag_folder: Path, dag_text: str
    ) -> None:
        absent = "20260101-CT98_ffffffffffffffffffffffff"
        assert scheduler.run_states(absent, ["movie"]) == {}
        self.test_a_new_dag_takes_runs_within_seconds(scheduler, dag_folder, dag_text)
        assert scheduler.run_states(DAG_ID, ["never-triggered~1"]) == {}
        scheduler.trigger(DAG_ID, "asked~2:+-", conf=CONF)
        assert list(scheduler.run_states(DAG_ID, ["asked~2:+-", "never-triggered~1"])) == ["asked~2:+-"]
        ended = {RunState.SUCCESS, RunState.FAILED}
        assert _within(60, lambda: scheduler.run_states(DAG_ID, ["asked~2:+-"])["asked~2:+-"] in ended)

    def test_a_broken_file_is_explained_and_takes_no_run(self, scheduler: Scheduler, dag_folder: Path) -> None:
        broken = "20260101-CT02_0123456789abcdef01234567"
        _put(dag_folder, broken, "from airflow.sdk import dag\nalign( >> ctf\n")
        scheduler.refresh()
        try:
            assert _within(NOTICED_WITHIN_S, lambda: scheduler.import_error(f"{broken}.py") is not None)
            assert "SyntaxError" in str(scheduler.import_error(f"{broken}.py"))
            assert not scheduler.is_parsed(broken)
            with pytest.raises(DagNotParsedError, match="SyntaxError"):
                scheduler.trigger(broken, "movie", conf=CONF)
        finally:
            (dag_folder / f"{broken}.py").unlink()


def _put(folder: Path, dag_id: str, text: str) -> None:
    target = folder / f"{dag_id}.py"
    if not target.exists():
        part = folder / f".{dag_id}.part"
        part.write_text(text, encoding="utf-8")
        part.rename(target)


def _within(limit_s: float, claim: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + limit_s
    while not (holds := claim()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds
