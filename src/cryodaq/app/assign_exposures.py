"""Give exposures that nobody owns to a sample: their copies leave quarantine, their movies are registered."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.layout import SampleLayout, quarantine_root
from cryodaq.errors import LedgerError, TransferError
from cryodaq.ledger import exposures, files, leases, movies, samples
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.exposures import UnownedFolder
from cryodaq.ledger.files import HAS_COPY, FileRecord
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.wire import error_from_message
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)
AT_ONCE = 100
"""Copies moved in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigning:
    """What assigning needs."""

    engine: Engine
    microscope: str
    storage_root: PurePosixPath
    now: Callable[[], datetime]
    grant_access: Callable[[SampleRecord], None]
    """Sets the sample's access rights on what was moved into it."""
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


def assign_exposures(assigning: Assigning, *, sample_id: str, acquisition_folder: str | None = None) -> Assigned:
    """Give the exposures in quarantine, of one acquisition folder or all, to a sample.

    All in one transaction that holds the microscope's lease: a transfer that runs meanwhile ends and begins anew.
    After a crash in the middle, the same call again finds the moved copies by their hashes and goes on.

    Raises
    ------
    LedgerError
        There is no such sample, or nothing waits.
    TransferError
        A copy could not be moved; what was moved is found by the next call.
    """
    worker = assigning.open_worker(assigning.storage_root, threads=1)
    worker.start()
    try:
        with assigning.engine.begin() as connection:
            sample, done = _assign(assigning, connection, worker, sample_id, acquisition_folder)
    finally:
        worker.close()
    assigning.grant_access(sample)
    return done


def _assign(
    assigning: Assigning,
    connection: Connection,
    worker: ShareWorker,
    sample_id: str,
    acquisition_folder: str | None,
) -> tuple[SampleRecord, Assigned]:
    at = assigning.now()
    holder = f"{socket.gethostname()} {os.getpid()} (assigning exposures)"
    lease = leases.acquire(connection, assigning.microscope, holder=holder, at=at)
    sample = samples.find_sample(connection, sample_id)
    if sample is None:
        message = f"there is no sample {sample_id}; it must have been current once"
        raise LedgerError(message)
    waiting = exposures.unowned(connection, assigning.microscope, acquisition_folder=acquisition_folder)
    if not waiting:
        message = f"nothing waits in quarantine on {assigning.microscope}" + (
            f" from {acquisition_folder}" if acquisition_folder else ""
        )
        raise LedgerError(message)
    numbers = [one.id for one in waiting]
    held = files.files_of_exposures(connection, numbers)
    copied = [record for record in held if record.state in HAS_COPY and record.target is not None]
    moved = _move(assigning, worker, sample, copied)
    _discard_parts(assigning, worker, held, token=lease.token)
    exposures.assign(connection, numbers, sample_id=sample.id, at=at)
    files.retarget(connection, {record.id: record.target or "" for record in moved})
    registered = [record for record in moved if record.role == FileRole.MOVIE]
    for record in registered:
        movies.register_movie(connection, record, sample, at=at)
    facts = {"exposures": len(numbers), "files": len(moved), "movies": len(registered)}
    subject = Subject(microscope=assigning.microscope, experiment=sample.experiment, sample_id=sample.id)
    record_event(connection, "exposures_assigned", at=at, subject=subject, facts=facts)
    leases.release(connection, lease, at=at)
    return sample, Assigned(exposures=len(numbers), files_moved=len(moved), movies=len(registered))


def _move(
    assigning: Assigning, worker: ShareWorker, sample: SampleRecord, copied: Sequence[FileRecord]
) -> list[FileRecord]:
    """Move copies out of quarantine; return their rows with the new places."""
    layout = SampleLayout(root=PurePosixPath(sample.folder))
    root = quarantine_root(assigning.storage_root, assigning.microscope)
    moved = []
    for start in range(0, len(copied), AT_ONCE):
        chunk = [record for record in copied[start : start + AT_ONCE] if record.target]
        targets = [layout.raw_file(PurePosixPath(record.path), version=record.version) for record in chunk]
        moves = [
            {
                "source": record.target,
                "base": str(layout.raw),
                "relative": str(target.relative_to(layout.raw)),
                "xxh3_128": record.xxh3_128,
            }
            for record, target in zip(chunk, targets, strict=True)
            if PurePosixPath(record.target or "").is_relative_to(root)
        ]
        for said in _wait(worker, worker.request("move", moves=moves))["moved"]:
            if "error" in said:
                raise error_from_message(said["error"])
        moved += [replace(record, target=str(target)) for record, target in zip(chunk, targets, strict=True)]
    return moved


def _discard_parts(assigning: Assigning, worker: ShareWorker, held: Sequence[FileRecord], *, token: str) -> None:
    """Remove what the transfer that was just fenced left half in quarantine; the next one looks elsewhere."""
    raw = SampleLayout(root=quarantine_root(assigning.storage_root, assigning.microscope)).raw
    folders = sorted({str((raw / record.path).parent) for record in held})
    _wait(worker, worker.request("discard_parts", folders=folders, token=token))


def _wait(worker: ShareWorker, asked: Future[dict[str, Any]]) -> dict[str, Any]:
    while not asked.done():
        if worker.stalled:
            worker.abandon()
            message = f"{worker.root} does not answer; nothing was assigned, try again"
            raise TransferError(message)
        try:
            return asked.result(0.2)
        except TimeoutError:
            continue
    return asked.result()
