"""Copy again what reads back wrong from storage: the damaged copy keeps its name until a good one can take it.

So a file whose source goes or changes meanwhile stays what it was: a version with a damaged copy, of which people are
told. What lies on the share by then is the next version.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from cryodaq.app.transfer_window.mounts import Mount
from cryodaq.app.transfer_window.session import Session
from cryodaq.errors import SourceUnstableError, SourceVanishedError, TransferError
from cryodaq.ledger import files, movies
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.files import ChangedFile, CopiedFile, FileRecord, StateChange
from cryodaq.transfer.workers import ShareWorker

log = logging.getLogger(__name__)
WAIT_S = 30.0
PAUSE_S = 10.0
"""Between two attempts."""
AT_ONCE = 2


@dataclass(slots=True)
class Damaged:
    """A copy that did not read back as it was made."""

    record: FileRecord
    problem: str
    due_s: float = 0.0
    future: Future[dict[str, Any]] | None = None
    """Of another copy of its source."""


class Repairer:
    """Makes damaged copies anew while their sources are what was copied."""

    def __init__(self, session: Session, *, make_version: Callable[[ChangedFile, FileRecord], None]) -> None:
        self._session = session
        self._make_version = make_version
        self._damaged: dict[int, Damaged] = {}
        self._lost: set[int] = set()

    def knows(self, record: FileRecord) -> bool:
        """Whether a copy needs no other reading in this window: it is damaged, whatever one does."""
        return record.id in self._damaged or record.id in self._lost

    def found(self, record: FileRecord, problem: TransferError) -> None:
        """Take in a copy that reads back wrong; what was computed from it may be wrong too."""
        log.error("a copy is damaged: %s", problem, extra={"path": record.path})
        session = self._session
        at = session.now()
        with session.transition() as connection:
            movies.mark_damaged(connection, record.id, problem=f"its copy was damaged: {problem}", at=at)
            if record.role == "living":  # its next copy replaces this one anyhow
                change = StateChange(id=record.id, state="complete", problem=str(problem))
                files.change_states(connection, [change], at=at)
        if record.role == "living":
            session.follow_exposures([record])
            session.remember(replace(record, state="complete", problem=str(problem)))
        else:
            self._damaged[record.id] = Damaged(record, str(problem))

    def repair(self, mounts: Mapping[str, Mount], publisher: ShareWorker) -> None:
        """Put finished copies in the places of damaged ones, and begin others."""
        if self._damaged:
            self._collect(publisher)
            self._begin(mounts)

    def _begin(self, mounts: Mapping[str, Mount]) -> None:
        """Copy again what is still on its share; say what is lost."""
        under_way = sum(one.future is not None for one in self._damaged.values())
        for one in list(self._damaged.values()):
            if one.future is not None or one.due_s > self._session.clock() or under_way >= AT_ONCE:
                continue
            if not self._on_share(one.record):
                self._give_up(one)
                continue
            worker = mounts[one.record.share].worker if one.record.share in mounts else None
            if worker is not None:
                one.future = worker.request("copy", order=self._order(one.record))
                under_way += 1

    def _on_share(self, record: FileRecord) -> bool:
        newest = self._session.known.get((record.share, record.path))
        return newest is not None and newest.id == record.id

    def _give_up(self, one: Damaged) -> None:
        """Nobody can make this copy again: its source went, or has another content by now."""
        del self._damaged[one.record.id]
        self._lost.add(one.record.id)
        message = f"{one.problem}; its source is not on the share any more: restore {one.record.target} from a backup"
        self._session.alarm(f"lost-copy:{one.record.id}", message, severity="error")

    def _order(self, record: FileRecord) -> dict[str, object]:
        target = PurePosixPath(record.target or "")
        return {
            "source": record.path,
            "size_bytes": record.size_bytes,
            "mtime_ns": record.mtime_ns,
            "base": str(target.parent),
            "relative": target.name,
            "token": self._session.lease.token,
            "number": record.id,
        }

    def _collect(self, publisher: ShareWorker) -> None:
        for one in list(self._damaged.values()):
            if one.future is None or not one.future.done():
                continue
            future, one.future = one.future, None
            try:
                self._put(one, future.result(), publisher)
            except (SourceUnstableError, SourceVanishedError):
                one.due_s = self._session.clock() + PAUSE_S  # the next scan says what became of it
            except (TransferError, TimeoutError) as error:
                one.due_s = self._session.clock() + PAUSE_S
                message = f"{one.problem}; it could not be copied again yet: {error}"
                self._session.alarm(f"damaged:{one.record.id}", message, severity="error")

    def _put(self, one: Damaged, made: Mapping[str, Any], publisher: ShareWorker) -> None:
        session, record = self._session, one.record
        if made["xxh3_128"] != record.xxh3_128:  # size and time say nothing: it has other bytes than were copied once
            del self._damaged[record.id]
            self._lost.add(record.id)
            now = {name: made[name] for name in ("size_bytes", "mtime_ns", "inode")}
            self._make_version(ChangedFile(id=record.id, **now), record)
            return
        again = CopiedFile(
            id=record.id,
            target=record.target or "",
            xxh3_128=made["xxh3_128"],
            size_bytes=made["size_bytes"],
            mtime_ns=made["mtime_ns"],
            inode=made["inode"],
        )
        at, token = session.now(), session.lease.token
        with session.transition() as connection:
            publisher.request("repair", part=made["part"], target=record.target, token=token).result(WAIT_S)
            files.record_copies(connection, [again], at=at)
            facts = {"path": record.path, "version": record.version}
            subject = Subject(microscope=session.microscope)
            record_event(connection, "copy_repaired", at=at, subject=subject, facts=facts)
        del self._damaged[record.id]
        session.alarm(f"damaged:{record.id}", None)
        session.remember(replace(record, copied_at=at, inode=made["inode"]))
