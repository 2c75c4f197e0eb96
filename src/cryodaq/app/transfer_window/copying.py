"""Copy what is complete and owned: small files first, then one lane the newest and the others the oldest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryodaq.app.transfer_window.mounts import Mount
from cryodaq.app.transfer_window.session import Destination, Session, Tracked
from cryodaq.app.transfer_window.settling import Settler
from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.layout import SampleLayout, quarantine_root
from cryodaq.errors import (
    ShareStalledError,
    SourceUnstableError,
    SourceVanishedError,
    TargetExistsError,
    TargetFullError,
    TransferError,
    UnsafeNameError,
)
from cryodaq.ledger import copy_names, files, movies, reassignments
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.files import ChangedFile, CopiedFile, FileRecord, StateChange
from cryodaq.transfer.copy import CopyCancelledError
from cryodaq.transfer.wire import error_from_message
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger(__name__)
SMALL_BYTES = 4 << 20
"""Smaller files that are no movies go first, and are not counted in lanes."""
SMALL_AT_ONCE = 32
"""So many are named and recorded together: a transaction costs more than a small file."""
FULL_PAUSE_S = 20.0
"""How long copying rests when the target is full."""
PUBLISH_WAIT_S = 30.0
"""How long giving final names may take; the transaction is open meanwhile."""
LONGEST_PAUSE_S = 300.0
"""Between two attempts to copy the same file."""
QUARANTINE_MODE = 0o700
LAST_VERSION = 20
"""A living file whose name is taken so often is held."""
PARTS_AGE = timedelta(days=2)
"""Folders with younger copies are looked through for parts that nobody finished."""

Json = Mapping[str, Any]  # Any: values of JSON


@dataclass(slots=True)
class _Copy:
    tracked: Tracked
    ordered: FileRecord
    """The row when the copy was ordered."""
    destination: Destination
    newest: bool
    worker: ShareWorker
    future: Future[dict[str, Any]]

    @property
    def small(self) -> bool:
        return _is_small(self.ordered)


class Copier:
    """Orders copies, gives them their final names under the lease, and records them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._settler = Settler(session)
        self._copies: list[_Copy] = []
        self._quarantine_made = False

    @property
    def in_flight(self) -> int:
        """Copies under way."""
        return len(self._copies)

    def recover(self, worker: ShareWorker) -> None:
        """Clear up what earlier windows left half: their parts go, their files are copied again.

        A window that was killed, or lost its lease, may have left a part beside any copy of the last days.
        """
        waiting = list(self._session.tracked.values())
        folders = {str(found.target.parent) for one in waiting if (found := self._destination(one)) is not None}
        since = self._session.now() - PARTS_AGE
        with self._session.transfer.engine.connect() as connection:
            folders |= files.folders_of_copies(connection, self._session.microscope, since=since)
            left = files.folders_of_assigned(connection, self._session.microscope, since=since)
            givers = reassignments.givers_since(connection, self._session.microscope, since=since)
        quarantine = quarantine_root(self._session.transfer.following.storage_root, self._session.microscope)
        raws = [SampleLayout(root=quarantine).raw]
        raws += [self._session.transfer.raw_folder_of(one) for one in map(self._session.sample, givers) if one]
        folders |= {str(raw / folder) for raw in raws for folder in left}
        if folders:
            token = self._session.lease.token
            try:
                worker.request("discard_parts", folders=sorted(folders), token=token).result(PUBLISH_WAIT_S)
            except (TransferError, TimeoutError) as error:
                log.warning("parts could not be cleared", extra={"problem": str(error)})
        self._settler.settle(worker)
        again = [tracked for tracked in self._session.tracked.values() if tracked.record.state == "copying"]
        if again:
            with self._session.transition() as connection:
                self._session.set_state(
                    connection, [StateChange(id=tracked.record.id, state="complete") for tracked in again]
                )

    def order(self, mounts: Mapping[str, Mount]) -> None:
        """Begin as many copies as there is room for."""
        if self._session.clock() < self._session.paused_until_s:
            return
        ready = [tracked for tracked in self._session.tracked.values() if self._ready(tracked)]
        if not ready:
            return
        chosen = self._choose(ready)
        begun = []
        for tracked, newest in chosen:
            worker = mounts[tracked.record.share].worker if tracked.record.share in mounts else None
            destination = self._destination(tracked)
            if worker is not None and destination is not None and self._base_is_there(destination):
                begun.append((tracked, newest, worker, destination))
            else:
                tracked.copy_due_s = self._session.clock() + 1.0
        if not begun:
            return
        with self._session.transition() as connection:
            self._session.set_state(
                connection, [StateChange(id=tracked.record.id, state="copying") for tracked, *_ in begun]
            )
        for tracked, newest, worker, destination in begun:
            tracked.busy = True
            future = worker.request("copy", order=self._order(tracked.record, destination))
            self._copies.append(
                _Copy(
                    tracked=tracked,
                    ordered=tracked.record,
                    destination=destination,
                    newest=newest,
                    worker=worker,
                    future=future,
                )
            )

    def _ready(self, tracked: Tracked) -> bool:
        if tracked.busy or tracked.record.state != "complete" or tracked.copy_due_s > self._session.clock():
            return False
        if tracked.record.id in self._session.unsettled:
            return False
        owner = self._session.exposures.get(tracked.record.exposure_id)
        return owner is not None and owner.decision is not None

    def _choose(self, ready: Sequence[Tracked]) -> list[tuple[Tracked, bool]]:
        """Return what to copy next, with whether the lane of the newest took it."""
        room = SMALL_AT_ONCE - sum(copy.small for copy in self._copies)
        chosen = [(one, False) for one in nsmallest(room, (t for t in ready if _is_small(t.record)), key=_age)]
        large = [tracked for tracked in ready if not _is_small(tracked.record)]
        lanes = self._session.transfer.lanes - sum(not copy.small for copy in self._copies)
        if large and lanes > 0 and not any(copy.newest for copy in self._copies):
            newest = max(large, key=_age)
            large.remove(newest)
            chosen.append((newest, True))
            lanes -= 1
        return chosen + [(one, False) for one in nsmallest(lanes, large, key=_age)]

    def _destination(self, tracked: Tracked) -> Destination | None:
        try:
            return self._session.destination(tracked.record)
        except UnsafeNameError as error:
            with self._session.transition() as connection:
                change = StateChange(id=tracked.record.id, state="held", problem=str(error))
                self._session.set_state(connection, [change])
            return None

    def _base_is_there(self, destination: Destination) -> bool:
        if destination.sample is None and not self._quarantine_made:
            root = quarantine_root(self._session.transfer.following.storage_root, self._session.microscope)
            for folder in (root.parent, root, destination.base):
                Path(folder).mkdir(mode=QUARANTINE_MODE, exist_ok=True)
            self._quarantine_made = True
        return self._session.folder_is_ready(destination.base)

    def _order(self, record: FileRecord, destination: Destination) -> dict[str, object]:
        return {
            "source": record.path,
            "size_bytes": record.size_bytes,
            "mtime_ns": record.mtime_ns,
            "base": str(destination.base),
            "relative": str(destination.target.relative_to(destination.base)),
            "token": self._session.lease.token,
            "number": record.id,
            "living": record.role == "living",
            **({"folder_mode": QUARANTINE_MODE} if destination.sample is None else {}),
        }

    def collect(self, publisher: ShareWorker) -> None:
        """Take finished copies: those that succeeded get their final names and are recorded, at once."""
        self._settler.settle(publisher)
        done = [copy for copy in self._copies if copy.future.done()]
        if not done:
            return
        self._copies = [copy for copy in self._copies if not copy.future.done()]
        made: list[tuple[_Copy, Json]] = []
        failed: list[tuple[_Copy, TransferError]] = []
        for copy in done:
            copy.tracked.busy = False
            try:
                made.append((copy, copy.future.result()))
            except TransferError as error:
                failed.append((copy, error))
        if made:
            failed += self._publish(made, publisher)
        if failed:
            self._record_failures(failed)

    def _publish(self, made: Sequence[tuple[_Copy, Json]], publisher: ShareWorker) -> list[tuple[_Copy, TransferError]]:
        """Rename and record within one transaction under the lease; return what another file was in the way of.

        What is to be renamed is on record before: who finds a copy after a crash knows whose it is. A name that
        another file has on record stays that one's, though its copy may not lie there at this moment.
        """
        session, at = self._session, self._session.now()
        whole = [
            _copied_record(copy, part)
            for copy, part in made
            if not copy.tracked.is_living or copy.tracked.record.copied_at is None
        ]
        claimed = self._intend(whole)
        copies = [
            {
                "part": part["part"],
                "target": str(copy.destination.target),
                "xxh3_128": part["xxh3_128"],
                "living": copy.tracked.is_living and copy.tracked.record.copied_at is not None,
                "claimed": copy.ordered.id in claimed,
            }
            for copy, part in made
        ]
        with session.transition() as connection:
            try:
                answers = publisher.request("publish", copies=copies).result(PUBLISH_WAIT_S)["published"]
            except (TransferError, TimeoutError) as error:
                problem = TransferError(f"the copies could not be given their names: {error}")
                session.unsettled |= {record.id: record for record in whole}
                return [(copy, problem) for copy, _ in made]
            good = [(copy, part) for (copy, part), said in zip(made, answers, strict=True) if "error" not in said]
            records = [(copy, _copied_record(copy, part)) for copy, part in good]
            files.record_copies(connection, [_copied_file(record) for _, record in records], at=at)
            named = {record.id for _, record in records}
            copy_names.forget_names(connection, [record.id for record in whole if record.id not in named])
            made_movies = [
                (record, copy.destination.sample)
                for copy, record in records
                if copy.destination.sample is not None and copy.tracked.is_movie
            ]
            movies.register_movies(connection, made_movies, at=at)
            if records:
                facts = {"files": len(records), "size_bytes": sum(record.size_bytes for _, record in records)}
                subject = Subject(microscope=session.microscope)
                record_event(connection, "files_copied", at=at, subject=subject, facts=facts)
        session.movies += len(made_movies)
        session.to_hand_over |= any(record.role in {FileRole.MOVIE, FileRole.METADATA} for _, record in records)
        for copy, record in records:
            self._settle(copy, replace(record, copied_at=at))
        return [
            (copy, error_from_message(said["error"]))
            for (copy, _), said in zip(made, answers, strict=True)
            if "error" in said
        ]

    def _intend(self, whole: Sequence[FileRecord]) -> set[int]:
        """Put names on record; return the files whose names others have."""
        if not whole:
            return set()
        with self._session.transition() as connection:
            claimed = copy_names.claimed_names(connection, {record.id: record.target or "" for record in whole})
            copy_names.intend_names(connection, [_copied_file(record) for record in whole if record.id not in claimed])
        return claimed

    def _settle(self, copy: _Copy, record: FileRecord) -> None:
        """Take a recorded copy over; a source that changed meanwhile, as the last scan saw it, is new again."""
        session, seen = self._session, copy.tracked.record
        session.copied += 1
        session.copied_bytes += record.size_bytes
        session.remember(record)
        session.alarm("target-full", None)
        if (seen.size_bytes, seen.mtime_ns) != (copy.ordered.size_bytes, copy.ordered.mtime_ns):
            session.doubtful[record.id] = ChangedFile(
                id=record.id, size_bytes=seen.size_bytes, mtime_ns=seen.mtime_ns, inode=seen.inode or 0
            )

    def _record_failures(self, failed: Sequence[tuple[_Copy, TransferError]]) -> None:
        changes = [self._after_failure(copy, error) for copy, error in failed]
        taken = [
            copy.tracked for copy, error in failed if isinstance(error, TargetExistsError) and copy.tracked.is_living
        ]
        with self._session.transition() as connection:
            self._session.set_state(connection, [change for change in changes if change.id in self._session.tracked])
            for tracked in taken:
                self._rename_living(connection, tracked)

    def _rename_living(self, connection: Connection, tracked: Tracked) -> None:
        """Give a living file a name of its own: a share beside this one has a file of the same path."""
        another = replace(tracked.record, version=tracked.record.version + 1)
        if another.version > LAST_VERSION:
            return
        files.renumber(connection, another.id, version=another.version)
        files.change_states(connection, [StateChange(id=another.id, state="complete")], at=self._session.now())
        self._session.remember(replace(another, state="complete", problem=None))

    def _after_failure(self, copy: _Copy, error: TransferError) -> StateChange:
        """Return the state that a file has after its copy failed, and say when to try again."""
        tracked, now_s = copy.tracked, self._session.clock()
        number = tracked.record.id
        tracked.look_due_s = now_s
        seen, ordered = tracked.record, copy.ordered
        changed = (seen.size_bytes, seen.mtime_ns) != (ordered.size_bytes, ordered.mtime_ns) and not tracked.is_living
        if changed or isinstance(error, SourceUnstableError | SourceVanishedError):
            tracked.look = None
            return StateChange(id=number, state="seen")
        if isinstance(error, CopyCancelledError | ShareStalledError):
            return StateChange(id=number, state="complete")
        if isinstance(error, TargetFullError):
            self._session.paused_until_s = now_s + FULL_PAUSE_S
            self._session.alarm("target-full", str(error), severity="error")
            return StateChange(id=number, state="complete", problem=str(error))
        if isinstance(error, TargetExistsError):
            tracked.look_due_s = now_s + LONGEST_PAUSE_S
            return StateChange(id=number, state="held", problem=str(error))
        tracked.failures += 1
        tracked.copy_due_s = now_s + min(LONGEST_PAUSE_S, 2.0**tracked.failures)
        log.warning("a file was not copied", extra={"path": tracked.record.path, "problem": str(error)})
        return StateChange(id=number, state="complete", problem=str(error))

    def give_up(self) -> None:
        """Ask the workers to leave the copies that are under way."""
        for copy in self._copies:
            copy.worker.cancel(copy.future)


def _is_small(record: FileRecord) -> bool:
    return record.size_bytes < SMALL_BYTES and record.role != "movie"


def _age(tracked: Tracked) -> tuple[object, ...]:
    """Order by our first sight; the microscope's clock orders the files of one folder only."""
    record = tracked.record
    return (record.seen_at, record.path.rpartition("/")[0], record.mtime_ns, record.path)


def _copied_record(copy: _Copy, part: Json) -> FileRecord:
    return replace(
        copy.ordered,
        state="copied",
        size_bytes=part["size_bytes"],
        mtime_ns=part["mtime_ns"],
        inode=part["inode"],
        xxh3_128=part["xxh3_128"],
        target=str(copy.destination.target),
        problem=None,
    )


def _copied_file(record: FileRecord) -> CopiedFile:
    return CopiedFile(
        id=record.id,
        target=record.target or "",
        xxh3_128=record.xxh3_128 or "",
        size_bytes=record.size_bytes,
        mtime_ns=record.mtime_ns,
        inode=record.inode or 0,
    )
