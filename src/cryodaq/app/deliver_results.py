"""Tells the elogbook what is in the outbox: in order, once, and without ever holding the pipeline up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cryodaq.domain.experiment import RegisteredFile
from cryodaq.errors import LogbookError, LogbookUnreachableError
from cryodaq.ledger import deliveries
from cryodaq.ledger.deliveries import Delivery
from cryodaq.ports import Logbook

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)


def deliver_due(engine: Engine, logbook: Logbook, *, clock: Callable[[], datetime]) -> int:
    """Send every delivery that is due and return how many the elogbook accepted.

    When the elogbook does not answer, all wait. A refusal is recorded, becomes an alarm, and holds back only the
    later deliveries of the same run. Where another process sends already, nothing is done.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as sender:
        if not deliveries.take_sender_lock(sender):
            return 0
        try:
            return _deliver(engine, logbook, clock=clock)
        finally:
            deliveries.give_sender_lock_back(sender)


def _deliver(engine: Engine, logbook: Logbook, *, clock: Callable[[], datetime]) -> int:
    with engine.connect() as connection:
        waiting = deliveries.due(connection, clock())
    held_back: set[tuple[str, str]] = set()
    accepted = 0
    for entry in waiting:
        if entry.run in held_back:
            continue
        try:
            _send(logbook, entry)
        except LogbookUnreachableError as error:
            log.warning("the elogbook does not answer", extra={"experiment": entry.experiment, "problem": str(error)})
            with engine.begin() as connection:
                deliveries.mark_waiting(connection, entry, at=clock())
            return accepted
        except LogbookError as error:
            log.warning(
                "the elogbook refused",
                extra={"experiment": entry.experiment, "run": entry.run_name, "call": entry.call},
            )
            held_back.add(entry.run)
            with engine.begin() as connection:
                deliveries.mark_refused(connection, entry, problem=str(error), at=clock())
        else:
            accepted += 1
            with engine.begin() as connection:
                deliveries.mark_delivered(connection, entry, at=clock())
    return accepted


def _send(logbook: Logbook, entry: Delivery) -> None:
    payload: Mapping[str, Any] = entry.payload  # Any: JSON that `publish_results` wrote
    experiment, run = entry.run
    match entry.call:
        case "start_run":
            logbook.start_run(experiment, run, sample_name=payload["sample_name"], begun_at=_time(payload["begun_at"]))
        case "change_sample":
            logbook.change_sample(experiment, run, sample_name=payload["sample_name"])
        case "add_run_params":
            logbook.add_run_params(experiment, run, params=payload["params"])
        case "register_files":
            logbook.register_files(experiment, run, files=[_registered_file(entry) for entry in payload["files"]])
        case "end_run":
            logbook.end_run(experiment, run, ended_at=_time(payload["ended_at"]))
        case "add_note":
            logbook.add_note(experiment, payload["text"], tags=payload["tags"], once=payload["once"])
        case other:
            message = f"the outbox holds an unknown call {other!r}"
            raise LogbookError(message)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _registered_file(plain: Mapping[str, Any]) -> RegisteredFile:  # Any: JSON
    return RegisteredFile(
        path=plain["path"],
        size_bytes=plain["size_bytes"],
        checksum=plain["checksum"],
        created_at=_time(plain["created_at"]),
        modified_at=_time(plain["modified_at"]),
    )
