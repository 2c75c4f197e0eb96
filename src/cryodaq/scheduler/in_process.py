"""Runs in this process, for tests and for commands that do without Airflow."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from cryodaq.domain.failures import RunState
from cryodaq.errors import CryodaqError, DagNotParsedError
from cryodaq.scheduler import check_same_run

log = logging.getLogger(__name__)


class InProcessScheduler:
    """`ports.Scheduler` that calls a function for each run, in the order of their triggers.

    Parameters
    ----------
    run
        Called with DAG id, run id and conf on one thread of its own; its errors are kept, not raised.
    dag_folder
        A DAG is known when its file is there and is valid Python, as with Airflow.
    """

    def __init__(self, run: Callable[[str, str, Mapping[str, object]], None], *, dag_folder: Path) -> None:
        self._run, self._dag_folder = run, dag_folder
        self._runs: dict[tuple[str, str], tuple[Mapping[str, object], Future[None]]] = {}
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="run")

    def trigger(self, dag_id: str, run_id: str, *, conf: Mapping[str, object]) -> None:
        """Start a run; the same run again is accepted.

        Raises `RunConflictError` when it stands for another movie, `DagNotParsedError` without the DAG's file.
        """
        if not self.is_parsed(dag_id):
            raise DagNotParsedError(dag_id, problem=self.import_error(f"{dag_id}.py"))
        with self._lock:
            known = self._runs.get((dag_id, run_id))
            if known is not None:
                check_same_run(run_id, wanted=conf, found=known[0])
                return
            fixed = MappingProxyType(dict(conf))
            self._runs[dag_id, run_id] = fixed, self._worker.submit(self._attempt, dag_id, run_id, fixed)

    def is_parsed(self, dag_id: str) -> bool:
        """Whether the DAG's file is there and valid."""
        name = f"{dag_id}.py"
        return (self._dag_folder / name).is_file() and self.import_error(name) is None

    def refresh(self) -> None:
        """Nothing is remembered of the folder, so there is nothing to do."""

    def import_error(self, file_name: str) -> str | None:
        """Return why the DAG file of that name is not valid Python, or None."""
        path = self._dag_folder / file_name
        try:
            compile(path.read_bytes(), file_name, "exec")
        except FileNotFoundError:
            return None
        except (SyntaxError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    def run_states(self, dag_id: str, run_ids: Collection[str]) -> Mapping[str, RunState]:
        """Return how far runs are; one that was never triggered here is left out."""
        with self._lock:
            known = {run_id: self._runs[dag_id, run_id][1] for run_id in run_ids if (dag_id, run_id) in self._runs}
        return {run_id: _state_of(future) for run_id, future in known.items()}

    def forget(self) -> None:
        """Lose all runs that ended, as after the loss of a scheduler's database."""
        with self._lock:
            self._runs = {key: run for key, run in self._runs.items() if not run[1].done()}

    def wait_until_idle(self, *, timeout_s: float | None = None) -> bool:
        """Wait for all runs; return whether they ended in time."""
        with self._lock:
            futures = [future for _, future in self._runs.values()]
        return not wait(futures, timeout=timeout_s).not_done

    def failures(self) -> Mapping[tuple[str, str], BaseException]:
        """Return the errors of runs that ended, by DAG id and run id."""
        with self._lock:
            ended = [(key, future) for key, (_, future) in self._runs.items() if future.done()]
        return {key: error for key, future in ended if (error := future.exception()) is not None}

    def close(self) -> None:
        """Wait for the run that was begun; those that were not begun are dropped."""
        self._worker.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self, dag_id: str, run_id: str, conf: Mapping[str, object]) -> None:
        try:
            self._run(dag_id, run_id, conf)
        except CryodaqError as error:
            log.warning("run failed", extra={"dag": dag_id, "run": run_id, "problem": str(error)})
            raise  # kept in the future


def _state_of(future: Future[None]) -> RunState:
    if not future.done():
        return RunState.RUNNING if future.running() else RunState.QUEUED
    return RunState.FAILED if future.cancelled() or future.exception() is not None else RunState.SUCCESS
