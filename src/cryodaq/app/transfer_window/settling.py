"""Find out whether copies got their final names when a crash came between that and its record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryodaq.app.moving_copies import Handover, tell_refusal
from cryodaq.app.transfer_window.session import Session
from cryodaq.domain.file_roles import FileRole
from cryodaq.errors import StoreError, TransferError, UnsafeNameError
from cryodaq.ledger import copy_names, files, movies
from cryodaq.ledger.files import ChangedFile, CopiedFile, FileRecord
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.wire import error_from_message
from cryodaq.transfer.workers import ShareWorker

log = logging.getLogger(__name__)
WAIT_S = 30.0
PAUSE_S = 5.0
"""Between two attempts."""
BATCH = 50

Json = Mapping[str, Any]  # Any: values of JSON


class Settler:
    """Takes copies that have their final names for what they are: versions of their sources."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._due_s = 0.0
        self._handovers: list[Handover] = []
        """Of copies that are at their places, or come there, and are not recorded yet."""

    def settle(self, worker: ShareWorker) -> None:
        """Ask the storage; until it has answered, the files in question are not copied."""
        session = self._session
        if not session.unsettled or session.clock() < self._due_s:
            return
        waiting = list(session.unsettled.values())[:BATCH]
        try:
            found = self._recognised(worker, waiting)
            moved = self._at_their_places(worker, found)
        except (TransferError, TimeoutError, UnsafeNameError) as error:
            log.warning("nobody knows yet which copies have their names", extra={"problem": str(error)})
            self._due_s = session.clock() + PAUSE_S
            return
        self._record(moved, [record.id for record in waiting if record.id not in {one.id for one in moved}])
        for record in waiting:
            session.unsettled.pop(record.id, None)

    def _recognised(self, worker: ShareWorker, waiting: Sequence[FileRecord]) -> list[FileRecord]:
        """Return those whose copies are there, as the rows should be: a source changed meanwhile is told later."""
        copies = [{"target": record.target, "xxh3_128": record.xxh3_128} for record in waiting]
        answers = worker.request("recognise", copies=copies).result(WAIT_S)["recognised"]
        _raise_first(answers)
        return [
            replace(record, state="copied", size_bytes=said["size_bytes"], mtime_ns=said["mtime_ns"], problem=None)
            for record, said in zip(waiting, answers, strict=True)
            if said
        ]

    def _at_their_places(self, worker: ShareWorker, found: Sequence[FileRecord]) -> list[FileRecord]:
        """Move copies whose owner was decided anew in between; one whose place is taken stays, and is copied again."""
        self._session.follow_exposures(found)
        placed, moving, moves = [], [], []
        for record in found:
            destination = self._session.destination(record)
            if destination is None or str(destination.target) == record.target:
                placed.append(record)
                continue
            move = {"source": record.target, "base": str(destination.base), "xxh3_128": record.xxh3_128}
            moves.append(move | {"relative": str(destination.target.relative_to(destination.base))})
            moving.append(replace(record, target=str(destination.target)))
            if destination.sample is not None:
                self._let_read(destination.sample, [Path(record.target or ""), Path(destination.target)])
        if moves:
            answers = worker.request("move", moves=moves).result(WAIT_S)["moved"]
            taken = [said.get("error", {}).get("kind") == "TargetExistsError" for said in answers]
            _raise_first([said for said, is_taken in zip(answers, taken, strict=True) if not is_taken])
            placed += [record for record, is_taken in zip(moving, taken, strict=True) if not is_taken]
        return placed

    def _let_read(self, sample: SampleRecord, places: Sequence[Path]) -> None:
        """Give a copy to the readers of the sample whose it is now, before it comes to it, or where it is already."""
        session = self._session
        with session.transfer.engine.connect() as connection:
            handover = Handover(connection, sample, session.transfer.grant_access)
        self._handovers.append(handover)
        try:
            handover.grant(places)
        except StoreError as error:
            with session.transition() as connection:
                tell_refusal(connection, sample, error, at=session.now())

    def _record(self, copied: Sequence[FileRecord], unnamed: Sequence[int]) -> None:
        session, at = self._session, self._session.now()
        with session.transition() as connection:
            files.record_copies(connection, [_copied_file(record) for record in copied], at=at)
            copy_names.forget_names(connection, unnamed)
            made = [
                (record, destination.sample)
                for record in copied
                if record.role == FileRole.MOVIE
                and (destination := session.destination(record)) is not None
                and destination.sample is not None
            ]
            movies.register_movies(connection, made, at=at)
            for handover in self._handovers:
                handover.end(connection)
        self._handovers = []
        session.movies += len(made)
        for record in copied:
            before = session.tracked.get(record.id)
            session.remember(replace(record, copied_at=at))
            if before is None:
                continue
            seen = before.record
            if before.is_living:
                session.remember(replace(seen, state="complete", copied_at=at))
            elif (seen.size_bytes, seen.mtime_ns) != (record.size_bytes, record.mtime_ns):
                session.doubtful[record.id] = ChangedFile(
                    id=record.id, size_bytes=seen.size_bytes, mtime_ns=seen.mtime_ns, inode=seen.inode or 0
                )


def _raise_first(answers: Sequence[Json]) -> None:
    for said in answers:
        if "error" in said:
            raise error_from_message(said["error"])


def _copied_file(record: FileRecord) -> CopiedFile:
    return CopiedFile(
        id=record.id,
        target=record.target or "",
        xxh3_128=record.xxh3_128 or "",
        size_bytes=record.size_bytes,
        mtime_ns=record.mtime_ns,
        inode=record.inode or 0,
    )
