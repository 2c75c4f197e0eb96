"""From a task into the system: opens it, says what to retry, and turns signals into a stop flag."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from cryodaq.errors import CryodaqError

log = logging.getLogger(__name__)


class PipelineSystem(Protocol):
    """What `cryodaq.wiring.open_system` returns, as far as tasks use it."""

    def wait_for_current_sample(self, microscope: str, *, stop: Callable[[], bool]) -> str | None:
        """Return the current sample's id, or None after up to 60 s without any."""
        ...

    def prepare_samples(self, microscope: str) -> Sequence[str]:
        """Make folders, links, access and DAG files; return the DAGs that would not take runs yet."""
        ...

    def transfer(self, microscope: str, *, stop: Callable[[], bool]) -> object:
        """Stream one window; ends soon once `stop()` is true."""
        ...

    def clear_microscope(self, microscope: str, *, stop: Callable[[], bool]) -> object:
        """Remove what the facility's retention allows."""
        ...

    def run_stage(self, stage: str, movie_id: int, branch_id: int) -> object:
        """Run one stage of one movie."""
        ...


@contextmanager
def opened_system(**facts: object) -> Iterator[PipelineSystem]:
    """Open the system of `CRYODAQ_HOME` for a task; every record of its log carries the facts.

    The one place that maps errors to retries: an error that is not `retryable` fails the task at once; a
    retryable one, and any that nobody foresaw, is tried again with growing pauses.
    """
    from airflow.sdk.exceptions import AirflowFailException

    try:
        from cryodaq.wiring import open_system

        with _in_its_log(facts):
            yield open_system()
    except CryodaqError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


@contextmanager
def _in_its_log(facts: Mapping[str, object]) -> Iterator[None]:
    """Have each record carry these facts and those of its own, given as `extra`, which Airflow's log leaves out.

    The task's whole process is meant: threads, which have no context of Airflow's, write records, too.
    """
    from structlog.stdlib import ExtraAdder, ProcessorFormatter

    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:  # Any: structlog's
        return {**facts, **event}

    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    chains = [one.foreign_pre_chain for one in formatters if isinstance(one, ProcessorFormatter)]
    changed = [chain for chain in chains if isinstance(chain, list)]
    for chain in changed:
        chain[:0] = [ExtraAdder(), add]
    try:
        yield
    finally:
        for chain in changed:
            del chain[:2]


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM and SIGINT into a flag, so that a window ends between two files and not within one."""
    stopped = threading.Event()

    def ask_to_stop(number: int, _: FrameType | None) -> None:
        log.info("asked to stop", extra={"signal": signal.Signals(number).name})
        stopped.set()

    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, ask_to_stop) for number in signals}
    try:
        yield stopped.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
