"""Move files within the storage: who may read them is set before they appear at their new place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.layout import SampleLayout
from cryodaq.errors import StoreError, TransferError
from cryodaq.ledger import readers
from cryodaq.ledger.events import raise_alarm
from cryodaq.ledger.files import FileRecord, doubt_copies
from cryodaq.ledger.readers import Person
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.wire import error_from_message
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

AT_ONCE = 100
"""Files moved in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One file that gets another place."""

    source: PurePosixPath
    base: PurePosixPath
    """An existing folder with its access rights, above the new place."""
    target: PurePosixPath
    xxh3_128: str | None
    """Hash of a copy, which never replaces another file; None: a product or a living file, which do."""
    token: str | None = None
    """Of the lease, where the ledger knows of no other copy at the new place (`unclaimed`)."""


GrantAccess = Callable[[SampleRecord, Sequence[Path]], Sequence[Person]]
"""Lets a sample's readers, and nobody else, read some files, and returns who they are. Raises `StoreError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refiling:
    """What giving files to another sample needs."""

    engine: Engine
    microscope: str
    storage_root: PurePosixPath
    now: Callable[[], datetime]
    prepare: Callable[[SampleRecord], object]
    """Makes the sample's folders, access and DAG file: it may never have been prepared. Raises `StoreError`."""
    grant_access: GrantAccess
    """Called before files are moved into the sample's folder."""
    open_worker: Callable[..., ShareWorker] = ShareWorker
    """Opens what does the I/O on one mount."""


class Handover:
    """Gives files to a sample's readers before they come to it.

    Somebody may lose access to the experiment between that and the moment when the files are there: whoever takes it
    away walks past them then. So both are compared in the end, and the experiment's access is set again.
    """

    def __init__(self, connection: Connection, sample: SampleRecord, grant: GrantAccess) -> None:
        self._sample, self._grant = sample, grant
        self._before = readers.applied_access(connection, sample.experiment)
        self._granted = list(self._before.collaborators)

    def grant(self, files: Sequence[Path]) -> None:
        """Let readers read files. Raises `StoreError`."""
        self._granted += self._grant(self._sample, files)

    def end(self, connection: Connection) -> None:
        """Have access compared again, if anything changed it; nobody changes it until the transaction ends."""
        now = readers.applied_access(connection, self._sample.experiment, lock=True)
        if not now.complete or now.changes != self._before.changes:
            readers.doubt_access(connection, self._sample.experiment, self._granted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What came of moving files."""

    refused: StoreError | None
    """Why rights could not be set; such files are closed to everybody but staff."""
    damaged: frozenset[PurePosixPath]
    """New places of copies that do not have the bytes that were copied."""


def move_files(worker: ShareWorker, moves: Sequence[Move], *, grant: Callable[[Sequence[Path]], None]) -> Moved:
    """Move files; what was moved before a crash is accepted.

    Parameters
    ----------
    grant
        Sets who may read some files, called while they are still at their old places; those that were moved before
        a crash get their readers where they are, because others may have been meant then.

    Raises
    ------
    TransferError
        A file could not be moved; the ones before it were.
    """
    refused: StoreError | None = None
    damaged: set[PurePosixPath] = set()
    for start in range(0, len(moves), AT_ONCE):
        chunk = moves[start : start + AT_ONCE]
        try:
            grant([_where(move) for move in chunk])
        except StoreError as error:
            refused = error
        said = wait(worker, worker.request("move", moves=[_order(move) for move in chunk]))
        for one in said["moved"]:
            if "error" in one:
                raise error_from_message(one["error"])
        damaged |= {PurePosixPath(one["target"]) for one in said["moved"] if one.get("damaged")}
    return Moved(refused=refused, damaged=frozenset(damaged))


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A file that stays where it is and is needed at another place of the storage, too."""

    source: PurePosixPath
    base: PurePosixPath
    """As in `Move`."""
    target: PurePosixPath
    number: int


def duplicate_files(worker: ShareWorker, wanted: Sequence[Duplicate], *, token: str) -> None:
    """Copy files within the storage where they are not there yet; what is not at its source either is left out.

    Raises `TransferError`.
    """
    for one in wanted:
        if Path(one.target).exists() or not Path(one.source).is_file():
            continue
        found = Path(one.source).stat()
        order = {
            "source": str(one.source.relative_to(worker.root)),
            "size_bytes": found.st_size,
            "mtime_ns": found.st_mtime_ns,
            "base": str(one.base),
            "relative": str(one.target.relative_to(one.base)),
            "token": token,
            "number": one.number,
        }
        made = wait(worker, worker.request("copy", order=order))
        copies = [{"part": made["part"], "target": str(one.target), "xxh3_128": made["xxh3_128"]}]
        (said,) = wait(worker, worker.request("publish", copies=copies))["published"]
        if "error" in said:
            raise error_from_message(said["error"])


def _where(move: Move) -> Path:
    source, target = Path(move.source), Path(move.target)
    return target if not source.exists() and target.exists() else source


def unclaimed(moves: Mapping[int, Move], *, occupied: Collection[str], token: str) -> dict[int, Move]:
    """Return the moves of copies, those marked whose new places no other copy has."""
    free = {number: move.xxh3_128 and str(move.target) not in occupied for number, move in moves.items()}
    return {number: replace(move, token=token if free[number] else None) for number, move in moves.items()}


def doubt_damaged(connection: Connection, moves: Mapping[int, Move], moved: Moved) -> None:
    """Have damaged copies read again, and so made anew while their sources are on the share."""
    damaged = [number for number, move in moves.items() if move.target in moved.damaged]
    doubt_copies(connection, damaged, problem="it was damaged when it was moved")


def tell_refusal(connection: Connection, sample: SampleRecord, refused: StoreError, *, at: datetime) -> None:
    """Raise the alarm of a sample whose files its readers cannot read."""
    message = f"{sample.experiment}, sample {sample.name}: {refused}"
    key = f"access:{sample.id}"
    raise_alarm(connection, key, severity="warning", message=message, at=at, subject=sample.subject)


def moves_into(folder: PurePosixPath, held: Sequence[FileRecord]) -> dict[int, Move]:
    """Return where the copies among some files go in a sample's folder, by the files' ids."""
    layout = SampleLayout(root=folder)
    return {
        record.id: Move(
            source=PurePosixPath(record.target),
            base=layout.raw,
            target=layout.raw_file(PurePosixPath(record.path), version=record.version),
            # A living file may have been copied anew since a move that ended half-way: the newest state wins.
            xxh3_128=None if record.role == FileRole.LIVING else record.xxh3_128,
        )
        for record in held
        if record.has_copy and record.target
    }


def _order(move: Move) -> dict[str, str | None]:
    return {
        "source": str(move.source),
        "base": str(move.base),
        "relative": str(move.target.relative_to(move.base)),
        "xxh3_128": move.xxh3_128,
        "token": move.token,
    }


def discard_parts(worker: ShareWorker, folders: Sequence[PurePosixPath], *, token: str) -> None:
    """Remove what a transfer that was just fenced left half in some folders; the next one looks elsewhere."""
    wait(worker, worker.request("discard_parts", folders=sorted({str(folder) for folder in folders}), token=token))


def wait(worker: ShareWorker, asked: Future[dict[str, Any]]) -> dict[str, Any]:
    """Wait for an answer; give the worker up when it is silent for too long. Raises `TransferError`."""
    while not asked.done():
        if worker.stalled:
            worker.abandon()
            message = f"{worker.root} does not answer; nothing was recorded, try again"
            raise TransferError(message)
        try:
            return asked.result(0.2)
        except TimeoutError:
            continue
    return asked.result()
