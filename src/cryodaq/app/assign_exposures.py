"""Give exposures that nobody owns to a sample: their copies leave quarantine, their movies are registered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.compare_clocks import holder_name
from cryodaq.app.moving_copies import (
    Move,
    discard_parts,
    doubt_damaged,
    move_files,
    moves_into,
    tell_refusal,
    unclaimed,
)
from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.layout import SampleLayout, quarantine_root
from cryodaq.errors import LedgerError
from cryodaq.ledger import exposures, files, leases, movies, reassignments, samples
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.exposures import UnownedFolder
from cryodaq.ledger.files import FileRecord
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigning:
    """What assigning needs."""

    engine: Engine
    microscope: str
    storage_root: PurePosixPath
    now: Callable[[], datetime]
    grant_access: Callable[[SampleRecord, Sequence[Path]], None]
    """Lets a sample's readers, and nobody else, read some files; called before they are moved into its folder."""
    open_worker: Callable[..., ShareWorker] = ShareWorker
    """Opens what does the I/O on one mount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """What was given to a sample."""

    exposures: int
    files_moved: int
    movies: int


def quarantined(engine: Engine, microscope: str | None = None) -> list[UnownedFolder]:
    """Return what waits for a person, by microscope and acquisition folder."""
    with engine.connect() as connection:
        return exposures.unowned_folders(connection, microscope)


def assign_exposures(
    assigning: Assigning, *, sample_id: str, by: str, acquisition_folder: str | None = None
) -> Assigned:
    """Give the exposures in quarantine, of one acquisition folder or all, to a sample; `by` is who says so.

    All in one transaction that holds the microscope's lease: a transfer that runs meanwhile ends and begins anew.
    After a crash in the middle, the same call again finds the moved copies by their hashes and goes on.

    Raises
    ------
    LedgerError
        There is no such sample, nothing waits, or another file has a place in the sample's folder.
    TransferError
        A copy could not be moved; what was moved is found by the next call.
    """
    worker = assigning.open_worker(assigning.storage_root, threads=1)
    worker.start()
    try:
        with assigning.engine.begin() as connection:
            return _assign(assigning, connection, worker, sample_id, acquisition_folder, by=by)
    finally:
        worker.close()


def _assign(
    assigning: Assigning,
    connection: Connection,
    worker: ShareWorker,
    sample_id: str,
    acquisition_folder: str | None,
    *,
    by: str,
) -> Assigned:
    at = assigning.now()
    holder = f"{holder_name()} (assigning exposures)"
    lease = leases.acquire(connection, assigning.microscope, holder=holder, at=at)
    sample = samples.find_sample(connection, sample_id)
    if sample is None:
        message = f"there is no sample {sample_id}; it must have been current once"
        raise LedgerError(message)
    numbers = _waiting(connection, assigning.microscope, acquisition_folder)
    held = files.files_of_exposures(connection, numbers)
    moves = _moves(connection, sample, held, numbers=numbers, token=lease.token)
    root = quarantine_root(assigning.storage_root, assigning.microscope)
    came = move_files(
        worker,
        [move for move in moves.values() if move.source.is_relative_to(root)],
        grant=partial(assigning.grant_access, sample),
    )
    doubt_damaged(connection, moves, came)
    if came.refused is not None:
        tell_refusal(connection, sample, came.refused, at=at)
    raw = SampleLayout(root=root).raw
    discard_parts(worker, [(raw / record.path).parent for record in held], token=lease.token)
    moved = [replace(record, target=str(moves[record.id].target)) for record in held if record.id in moves]
    exposures.assign(connection, numbers, sample_id=sample.id, at=at)
    files.retarget(connection, {record.id: record.target or "" for record in moved})
    registered = [record for record in moved if record.role == FileRole.MOVIE]
    movies.register_movies(connection, [(record, sample) for record in registered], at=at)
    facts = {"exposures": len(numbers), "files": len(moved), "movies": len(registered), "asked_by": by}
    subject = Subject(microscope=assigning.microscope, experiment=sample.experiment, sample_id=sample.id)
    record_event(connection, "exposures_assigned", at=at, subject=subject, facts=facts)
    leases.release(connection, lease, at=at)
    return Assigned(exposures=len(numbers), files_moved=len(moved), movies=len(registered))


def _moves(
    connection: Connection, sample: SampleRecord, held: Sequence[FileRecord], *, numbers: Sequence[int], token: str
) -> dict[int, Move]:
    """Return where copies go. Raises `LedgerError` when another file has a place already."""
    moves = moves_into(PurePosixPath(sample.folder), held)
    places = [str(move.target) for move in moves.values()]
    if taken := reassignments.occupied(connection, places, except_exposures=numbers):
        message = f"{taken[0]} is another file already; {sample.name} cannot take what is meant"
        raise LedgerError(message)
    return unclaimed(moves, occupied=(), token=token)


def _waiting(connection: Connection, microscope: str, acquisition_folder: str | None) -> list[int]:
    """Return the exposures that nobody owns. Raises `LedgerError` when there are none."""
    waiting = exposures.unowned(connection, microscope, acquisition_folder=acquisition_folder)
    if not waiting:
        message = f"nothing waits in quarantine on {microscope}"
        message += f" from {acquisition_folder}" if acquisition_folder else ""
        raise LedgerError(message)
    return [one.id for one in waiting]
