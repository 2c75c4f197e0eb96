"""Compare the movies with what was published of them, and hand over anew what the scheduler lost.

The ledger alone says whether a movie was processed. So a scheduler that forgot its old runs changes nothing, and one
that lost everything gets exactly the movies that are not published.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryodaq.app.note_failures import note_failures
from cryodaq.domain.failures import RunState, rerun_pause
from cryodaq.errors import SchedulerError
from cryodaq.ledger import events, files, healing, movies, samples, stuck
from cryodaq.ledger.events import Subject
from cryodaq.ledger.healing import UnsettledTrigger
from cryodaq.ports import Scheduler

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
GRACE = timedelta(seconds=60)
"""What was triggered later is left alone: its run may only now be written."""
LATE_COPY = timedelta(minutes=10)
"""A copied movie has its row in the same transaction, or shortly after where an mdoc names it later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What comparing needs."""

    engine: Engine
    scheduler: Scheduler
    microscope: str
    notes_failures: bool
    """Whether the log of an experiment says why its movies failed."""
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What was found."""

    lost: int = 0
    """Runs that the scheduler did not know; the same run is sent again."""
    anew: int = 0
    """Runs that ended without a result; another run follows."""
    given_up: int = 0
    """Movies that are left to a person."""
    unregistered: int = 0
    """Copied movies that had no row."""


def reconcile_movies(reconciliation: Reconciliation) -> Reconciled:
    """Find movies that were never handed over or whose run was lost, and have them processed; say what is stuck.

    A scheduler that does not answer is no reason to send anything: it may have every run.
    """
    unregistered = _register_copied(reconciliation)
    with reconciliation.engine.connect() as connection:
        sent_before = reconciliation.now() - GRACE
        found = healing.unsettled_triggers(connection, reconciliation.microscope, sent_before=sent_before)
    decided: dict[str, int] = defaultdict(int)
    try:
        for one, state in _states(reconciliation.scheduler, found):
            decided[_decide(reconciliation, one, state)] += 1
    except SchedulerError as error:
        log.warning("runs cannot be compared", extra={"problem": str(error)})
    _tell_what_is_stuck(reconciliation)
    if reconciliation.notes_failures:
        note_failures(reconciliation.engine, reconciliation.microscope, at=reconciliation.now())
    return Reconciled(
        lost=decided["lost"], anew=decided["anew"], given_up=decided["given up"], unregistered=unregistered
    )


def _register_copied(reconciliation: Reconciliation) -> int:
    """Make the rows of copied movies that have none, so that each and every one is handed over."""
    at = reconciliation.now()
    with reconciliation.engine.begin() as connection:
        found = healing.copied_without_movie(connection, reconciliation.microscope, copied_before=at - LATE_COPY)
        for file_id, sample_id in found:
            record, owner = files.find_file(connection, file_id), samples.find_sample(connection, sample_id)
            if record is not None and owner is not None:
                movies.register_movies(connection, [(record, owner)], at=at)
                log.warning("a copied movie had no row", extra={"path": record.path, "sample": sample_id})
    return len(found)


def _states(
    scheduler: Scheduler, found: Iterable[UnsettledTrigger]
) -> Iterable[tuple[UnsettledTrigger, RunState | None]]:
    by_dag: dict[str, list[UnsettledTrigger]] = defaultdict(list)
    for one in found:
        by_dag[one.dag_id].append(one)
    for dag_id, triggers in by_dag.items():
        states: Mapping[str, RunState] = scheduler.run_states(dag_id, [one.run_id for one in triggers])
        yield from ((one, states.get(one.run_id)) for one in triggers)


def _decide(reconciliation: Reconciliation, found: UnsettledTrigger, state: RunState | None) -> str:
    """Act on one run; a movie whose result arrived while the scheduler was asked is left alone."""
    if state in {RunState.QUEUED, RunState.RUNNING}:
        return "under way"
    at = reconciliation.now()
    facts = {"dag": found.dag_id, "run": found.run_id, "reruns": found.reruns}
    with reconciliation.engine.begin() as connection:
        if not healing.claim(connection, found):
            return "settled"
        if state is None:
            healing.send_again(connection, found, at=at)
            log.warning("the scheduler lost a run; it is sent again", extra=facts)
            return "lost"
        pause = rerun_pause(healing.newest_cause(connection, found), reruns=found.reruns)
        if pause is None:
            healing.give_up(connection, found, at=at)
            log.error("a movie is given up until a person asks for it", extra=facts)
            return "given up"
        new = healing.run_anew(connection, found, not_before=at + pause, at=at)
        log.warning("a run ended without a result; %s follows in %s", new, pause, extra=facts)
        return "anew"


def _tell_what_is_stuck(reconciliation: Reconciliation) -> None:
    """Keep one alarm for each way in which something is stuck."""
    at, prefix = reconciliation.now(), f"stuck:{reconciliation.microscope}:"
    with reconciliation.engine.begin() as connection:
        found = stuck.stuck_states(connection, reconciliation.microscope, at=at)
        for one in found:
            subject = Subject(microscope=reconciliation.microscope)
            events.raise_alarm(
                connection, f"{prefix}{one.kind}", severity=one.severity, message=one.sentence, at=at, subject=subject
            )
        events.clear_alarms_except(connection, prefix, keep=[f"{prefix}{one.kind}" for one in found], at=at)
