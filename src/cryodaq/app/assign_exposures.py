"""Give exposures that nobody owns to a sample: their copies leave quarantine, their movies are registered."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Never

from cryodaq.app.compare_clocks import holder_name
from cryodaq.app.moving_copies import (
    Handover,
    Move,
    Refiling,
    discard_parts,
    doubt_damaged,
    move_files,
    moves_into,
    tell_refusal,
    unclaimed,
)
from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.layout import SampleLayout, quarantine_root
from cryodaq.domain.ownership import Decision
from cryodaq.errors import CryodaqError, LedgerError, StoreError, TransferError
from cryodaq.ledger import assignments, exposures, files, leases, movies, reassignments, samples
from cryodaq.ledger.assignments import Assignment
from cryodaq.ledger.events import Subject, clear_alarm, raise_alarm, record_event
from cryodaq.ledger.exposures import UnownedFolder
from cryodaq.ledger.files import FileRecord
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """What was given to a sample."""

    sample_id: str
    exposures: int
    files_moved: int
    movies: int


def quarantined(engine: Engine, microscope: str | None = None) -> list[UnownedFolder]:
    """Return what waits for a person, by microscope and acquisition folder."""
    with engine.connect() as connection:
        return exposures.unowned_folders(connection, microscope)


def assign_exposures(refiling: Refiling, *, sample_id: str, by: str, acquisition_folder: str | None = None) -> Assigned:
    """Give the exposures in quarantine, of one acquisition folder or all, to a sample; `by` is who says so.

    What is meant stands in the ledger first. Then all of it goes in one transaction that holds the microscope's lease:
    a transfer that runs meanwhile ends and begins anew. What an earlier call left half-way is carried on before.

    Raises
    ------
    LedgerError
        There is no such sample, nothing waits, or another file has a place in the sample's folder.
    TransferError
        A copy could not be moved. The next pass of the microscope goes on, and finds by their hashes what was moved.
    StoreError
        The sample's folders cannot be made.
    """
    carried_on = resume_assignments(refiling)
    with refiling.engine.begin() as connection:
        sample = _sample(connection, sample_id)
        waiting = exposures.unowned(connection, refiling.microscope, acquisition_folder=acquisition_folder)
        numbers = [one.id for one in waiting]
        if not numbers:
            mine = [one for one in carried_on if one.sample_id == sample_id]
            return mine[-1] if mine else _refuse(refiling.microscope, acquisition_folder)
        moves = moves_into(PurePosixPath(sample.folder), files.files_of_exposures(connection, numbers))
        places = [str(move.target) for move in moves.values()]
        if taken := reassignments.occupied(connection, places, except_exposures=numbers):
            message = f"{taken[0]} is another file already; {sample.name} cannot take what is meant"
            raise LedgerError(message)
        plan = assignments.write_assignment(
            connection, refiling.microscope, to_sample=sample_id, asked_by=by, exposures=numbers, at=refiling.now()
        )
    return _carry_out(refiling, plan)


def resume_assignments(refiling: Refiling) -> list[Assigned]:
    """Carry on what a crash interrupted; an alarm stands while that fails.

    Raises what `assign_exposures` raises.
    """
    with refiling.engine.connect() as connection:
        left = assignments.open_assignments(connection, refiling.microscope)
    done = []
    for plan in left:
        try:
            done.append(_carry_out(refiling, plan))
        except (LedgerError, StoreError, TransferError) as error:
            _tell_failure(refiling, plan, error)
            raise
    return done


def _carry_out(refiling: Refiling, plan: Assignment) -> Assigned:
    with refiling.engine.connect() as connection:
        sample = _sample(connection, plan.to_sample)
    refiling.prepare(sample)
    worker = refiling.open_worker(refiling.storage_root, threads=1)
    worker.start()
    try:
        with refiling.engine.begin() as connection:
            return _assign(refiling, connection, worker, plan)
    finally:
        worker.close()


def _assign(refiling: Refiling, connection: Connection, worker: ShareWorker, plan: Assignment) -> Assigned:
    at = refiling.now()
    holder = f"{holder_name()} (assigning exposures)"
    lease = leases.acquire(connection, refiling.microscope, holder=holder, at=at)
    sample = _sample(connection, plan.to_sample)
    is_open = assignments.lock_open(connection, plan.id)  # else another process has just carried it out
    known = exposures.exposures_by_id(connection, plan.exposures) if is_open else {}
    numbers = [number for number, one in known.items() if one.decision is Decision.QUARANTINE]
    held = files.files_of_exposures(connection, numbers)
    moves = _moves(connection, sample, held, numbers=numbers, token=lease.token)
    root = quarantine_root(refiling.storage_root, refiling.microscope)
    handover = Handover(connection, sample, refiling.grant_access)
    to_move = [move for move in moves.values() if move.source.is_relative_to(root)]
    came = move_files(worker, to_move, grant=handover.grant)
    handover.end(connection)
    doubt_damaged(connection, moves, came)
    if came.refused is not None:
        tell_refusal(connection, sample, came.refused, at=at)
    raw = SampleLayout(root=root).raw
    discard_parts(worker, [(raw / record.path).parent for record in held], token=lease.token)
    moved = [replace(record, target=str(moves[record.id].target)) for record in held if record.id in moves]
    exposures.assign(connection, numbers, sample_id=sample.id, at=at)
    files.retarget(connection, {record.id: record.target or "" for record in moved})
    registered = [(record, sample) for record in moved if record.role == FileRole.MOVIE]
    movies.register_movies(connection, registered, at=at)
    done = Assigned(sample_id=sample.id, exposures=len(numbers), files_moved=len(moved), movies=len(registered))
    if is_open:
        _record_done(connection, plan, sample, done, at=at)
    leases.release(connection, lease, at=at)
    return done


def _record_done(
    connection: Connection, plan: Assignment, sample: SampleRecord, done: Assigned, *, at: datetime
) -> None:
    assignments.end_assignment(connection, plan.id, at=at)
    clear_alarm(connection, _alarm_key(plan), at=at)
    facts = {
        "exposures": done.exposures,
        "files": done.files_moved,
        "movies": done.movies,
        "asked_by": plan.asked_by,
    }
    subject = Subject(microscope=plan.microscope, experiment=sample.experiment, sample_id=sample.id)
    record_event(connection, "exposures_assigned", at=at, subject=subject, facts=facts)


def _tell_failure(refiling: Refiling, plan: Assignment, error: CryodaqError) -> None:
    """Raise the alarm of an assignment that stopped half-way and cannot go on."""
    with refiling.engine.begin() as connection:
        sample = _sample(connection, plan.to_sample)
        message = (
            f"what {plan.asked_by} gave from quarantine on {plan.microscope} to {sample.name} of {sample.experiment} "
            f"is not there yet: {error}; each pass tries again"
        )
        subject = Subject(microscope=plan.microscope)
        now = refiling.now()
        raise_alarm(connection, _alarm_key(plan), severity="warning", message=message, at=now, subject=subject)


def _alarm_key(plan: Assignment) -> str:
    return f"assign:{plan.id}"


def _moves(
    connection: Connection, sample: SampleRecord, held: Sequence[FileRecord], *, numbers: Sequence[int], token: str
) -> dict[int, Move]:
    """Return where copies go; one whose place another file has got meanwhile is refused when it is moved."""
    moves = moves_into(PurePosixPath(sample.folder), held)
    places = [str(move.target) for move in moves.values()]
    taken = reassignments.occupied(connection, places, except_exposures=numbers)
    return unclaimed(moves, occupied=taken, token=token)


def _sample(connection: Connection, sample_id: str) -> SampleRecord:
    found = samples.find_sample(connection, sample_id)
    if found is None:
        message = f"there is no sample {sample_id}; it must have been current once"
        raise LedgerError(message)
    return found


def _refuse(microscope: str, acquisition_folder: str | None) -> Never:
    message = f"nothing waits in quarantine on {microscope}"
    message += f" from {acquisition_folder}" if acquisition_folder else ""
    raise LedgerError(message)
