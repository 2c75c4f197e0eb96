"""Remove from a microscope's shares what is verified and old enough, file by file, each with its reason on record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cryodaq.app.compare_clocks import holder_name
from cryodaq.app.water_marks import WaterMarks
from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.retention import RemovalCandidate, reason_to_keep
from cryodaq.errors import (
    CopyMismatchError,
    RemovalOpenError,
    ShareStalledError,
    SourceUnstableError,
    SourceVanishedError,
    TransferError,
    WorkerEndedError,
)
from cryodaq.ledger import acceptances, events, files, leases, removals, shares
from cryodaq.ledger.events import Subject
from cryodaq.ledger.leases import Lease
from cryodaq.ledger.removals import OpenRemoval, RemovableFile
from cryodaq.transfer.remove import aside_name
from cryodaq.transfer.wire import error_from_message
from cryodaq.transfer.workers import ShareWorker, still_lives

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)
NICENESS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """What clearing a microscope needs."""

    engine: Engine
    microscope: Microscope
    storage_root: PurePosixPath
    now: Callable[[], datetime]
    limit_s: float = 120.0
    """A run ends after so long; the next one goes on."""
    stall_s: float = 60.0
    """A removal or re-reading of which nothing is heard for so long has met a dead mount."""
    verify_max_bytes_per_s: float | None = None
    open_worker: Callable[..., ShareWorker] = ShareWorker
    """Opens what does the I/O on one mount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What one run did, or would have done."""

    removed: tuple[str, ...]
    """Paths on the shares."""
    removed_bytes: int
    kept: tuple[tuple[str, str], ...]
    """(path, why) of files that the rule would let go."""


def clear_microscope(
    clearing: Clearing,
    *,
    stop: Callable[[], bool] = lambda: False,
    unowned_folder: str | None = None,
    by: str | None = None,
) -> Cleared:
    """Remove what the microscope's retention rule allows; nothing while it is not switched on.

    Parameters
    ----------
    unowned_folder
        Instead, what nobody owns in this session folder: a person named it.
    by
        The person who asks for it; None: the microscope's own pass.

    Raises
    ------
    LeaseLostError
        Another process clears this microscope now.
    """
    rule = clearing.microscope.retention
    if not rule.enabled or clearing.microscope.shadow:
        return Cleared(removed=(), removed_bytes=0, kept=())
    if by is not None:
        with clearing.engine.begin() as connection:
            subject, facts = Subject(microscope=clearing.microscope.name), {"by": by, "unowned_folder": unowned_folder}
            events.record_event(connection, "clearing_asked", at=clearing.now(), subject=subject, facts=facts)
    began_s = time.monotonic()
    done = _Tally()
    marks = WaterMarks(clearing.engine, clearing.microscope, clearing.now)
    with _at_work(clearing) as cleaner:
        cleaner.settle_open_removals()
        for source in removable(clearing, rule, unowned_folder=unowned_folder):
            if stop() or time.monotonic() - began_s > clearing.limit_s:
                break
            if unowned_folder is None and not marks.allow(source):
                continue
            problem = cleaner.remove(source)
            done.add(source, problem)
            if problem is None:
                marks.count(source)
        cleaner.tidy(rule)
    marks.tell()
    return done.cleared()


def preview_clearing(clearing: Clearing, *, unowned_folder: str | None = None) -> Cleared:
    """Return what would be removed if the rule were switched on, without touching or re-reading anything."""
    rule = replace(clearing.microscope.retention, enabled=True)
    marks = WaterMarks(clearing.engine, replace(clearing.microscope, retention=rule), clearing.now)
    found = []
    for source in removable(clearing, rule, unowned_folder=unowned_folder):
        if unowned_folder is not None or marks.allow(source):
            marks.count(source)
            found.append(source)
    return Cleared(
        removed=tuple(source.path for source in found),
        removed_bytes=sum(source.size_bytes for source in found),
        kept=(),
    )


def experiments_to_clear(clearing: Clearing) -> set[str]:
    """Return the experiments whose files the rule would remove."""
    found = removable(clearing, clearing.microscope.retention)
    with clearing.engine.connect() as connection:
        return removals.experiments_of(connection, [source.id for source in found])


def removable(clearing: Clearing, rule: RetentionRule, *, unowned_folder: str | None = None) -> list[RemovableFile]:
    """Return what a rule lets go, the copies that were verified first in front."""
    now = clearing.now()
    with clearing.engine.connect() as connection:
        found = removals.removable_files(connection, clearing.microscope.name, unowned_folder=unowned_folder)
        proved = removals.proved_sessions(connection, clearing.microscope.name) if rule.session_after_days else {}
        short = acceptances.short_copies(connection, [source.id for source in found])
    return [
        source
        for source in found
        if source.id not in short and reason_to_keep(_candidate(source, proved), rule, now=now) is None
    ]


def _candidate(source: RemovableFile, proved: Mapping[tuple[str, str], datetime]) -> RemovalCandidate:
    return RemovalCandidate(
        path=source.path,
        role=FileRole(source.role),
        size_bytes=source.size_bytes,
        verified_at=source.verified_at,
        session_proved_at=proved.get((source.share, source.acquisition_folder)),
    )


class _Tally:
    def __init__(self) -> None:
        self._removed: list[RemovableFile] = []
        self._kept: list[tuple[str, str]] = []

    def add(self, source: RemovableFile, problem: str | None) -> None:
        if problem is None:
            self._removed.append(source)
        else:
            self._kept.append((source.path, problem))

    def cleared(self) -> Cleared:
        return Cleared(
            removed=tuple(source.path for source in self._removed),
            removed_bytes=sum(source.size_bytes for source in self._removed),
            kept=tuple(self._kept),
        )


@contextmanager
def _at_work(clearing: Clearing) -> Iterator[_Cleaner]:
    name = leases.clearing(clearing.microscope.name)
    with clearing.engine.begin() as connection:
        lease = leases.acquire(connection, name, holder=holder_name(), at=clearing.now())
    with ExitStack() as stack:
        cleaner = _Cleaner(clearing, lease)
        stack.callback(cleaner.close)
        yield cleaner
    with clearing.engine.begin() as connection:
        leases.release(connection, lease, at=clearing.now())


class _Cleaner:
    """Removes one file after another through workers that can be given up."""

    def __init__(self, clearing: Clearing, lease: Lease) -> None:
        self._clearing = clearing
        self._lease = lease
        self._storage = self._started(Share(root=clearing.storage_root, sentinel=None))
        self._shares: dict[str, ShareWorker] = {}
        self._sessions: set[tuple[str, str]] = set()
        """Session folders from which something went."""

    def _started(self, share: Share) -> ShareWorker:
        worker = self._clearing.open_worker(
            share.root,
            sentinel=share.sentinel,
            expected_source=share.mounted_from,
            threads=1,
            niceness=NICENESS,
            stall_s=self._clearing.stall_s,
        )
        worker.start()
        return worker

    def _share(self, root: str) -> ShareWorker:
        """Return the worker of a share. Raises `TransferError` where none may be started."""
        if root not in self._shares:
            known = {str(share.root): share for share in self._clearing.microscope.shares}
            if root not in known:
                message = f"{root} is not a share of {self._clearing.microscope.name} any more"
                raise TransferError(message)
            with self._clearing.engine.connect() as connection:
                state = shares.find_share(connection, self._clearing.microscope.name, root)
            if state.abandoned_worker and still_lives(state.abandoned_worker):
                raise ShareStalledError(PurePosixPath(root), waited_s=self._clearing.stall_s)
            share = known[root]
            self._shares[root] = self._started(replace(share, mounted_from=share.mounted_from or state.mounted_from))
        return self._shares[root]

    def settle_open_removals(self) -> None:
        """Finish what a crash interrupted: a file that is aside goes, or gets its name back."""
        with self._transition() as connection:
            left = removals.open_removals(connection, self._clearing.microscope.name)
        for one in left:
            try:
                self._settle(one)
            except TransferError as error:
                log.warning("a removal stays open", extra={"path": one.source.path, "problem": str(error)})

    def _settle(self, one: OpenRemoval) -> None:
        worker = self._share(one.source.share)
        with self._transition() as connection:
            outcome = self._wait(
                worker,
                worker.request("settle_aside", path=one.source.path, aside=one.aside, expected=_identity(one.source)),
            )["outcome"]
            if outcome == "removed":
                removals.record_removed(connection, one.id, one.source, at=self._clearing.now())
            else:
                removals.record_kept(connection, one.id, problem=f"interrupted; {outcome}", at=self._clearing.now())

    def remove(self, source: RemovableFile) -> str | None:
        """Remove one file; return why it was kept, or None."""
        aside = aside_name(source.path, token=self._lease.token, number=source.id)
        with self._transition() as connection:
            number = removals.intend(connection, source, epoch=self._lease.epoch, aside=aside, at=self._clearing.now())
        try:
            self._verify(source)
            worker = self._share(source.share)
            with self._transition() as connection:
                order = worker.request("remove", path=source.path, aside=aside, expected=_identity(source))
                self._wait(worker, order)
                removals.record_removed(connection, number, source, at=self._clearing.now())
        except ShareStalledError:
            raise  # nobody knows what became of it: the intention stays open and is settled by a later run
        except (RemovalOpenError, WorkerEndedError) as error:  # as above
            log.warning("a removal stays open", extra={"path": source.path, "problem": str(error)})
            return str(error)
        except TransferError as error:
            self._keep(number, source, error)
            return str(error)
        log.info("a source was removed", extra={"path": source.path, "copy": source.target})
        self._sessions.add((source.share, source.acquisition_folder))
        return None

    def tidy(self, rule: RetentionRule) -> None:
        """Remove the empty folders of sessions that went, and what people deleted long ago."""
        with self._transition() as connection:
            emptied = removals.emptied_sessions(connection, self._clearing.microscope.name, self._sessions)
        orders: list[tuple[str, str, dict[str, object]]] = []
        if rule.session_after_days is not None:
            orders += [(share, "remove_empty_folders", {"folder": folder}) for share, folder in sorted(emptied)]
        if rule.recycle_bin_after_days is not None:
            older_than_s = rule.recycle_bin_after_days * 86_400
            shares_ = [str(share.root) for share in self._clearing.microscope.shares]
            orders += [(share, "empty_recycle_bin", {"older_than_s": older_than_s}) for share in shares_]
        for share, what, arguments in orders:
            try:
                worker = self._share(share)
                with self._transition():
                    said = self._wait(worker, worker.request(what, **arguments))
            except TransferError as error:
                log.warning("a share was not tidied", extra={"share": share, "problem": str(error)})
            else:
                log.info("a share was tidied", extra={"share": share, "what": what, **arguments, **said})

    def _verify(self, source: RemovableFile) -> None:
        """Read the copy again, now: what was proved hours ago is not what lies there today."""
        copies = [{"target": source.target, "xxh3_128": source.xxh3_128}]
        limit = self._clearing.verify_max_bytes_per_s
        asked = self._storage.request("verify", copies=copies, max_bytes_per_s=limit)
        (said,) = self._wait(self._storage, asked)["verified"]
        if "error" in said:
            raise error_from_message(said["error"])

    def _wait(self, worker: ShareWorker, asked: Future[dict[str, Any]]) -> dict[str, Any]:
        """Wait for an answer as long as the worker shows that it is alive; give it up when it does not."""
        while True:
            try:
                return asked.result(0.2)
            except TimeoutError:
                if asked.done():
                    continue
                if worker.stalled:
                    self._give_up(worker)

    def _give_up(self, worker: ShareWorker) -> None:
        waited_s = worker.silent_s()
        mark = worker.abandon()
        with self._clearing.engine.begin() as connection:
            shares.record_abandoned(connection, self._clearing.microscope.name, str(worker.root), mark=mark)
        raise ShareStalledError(worker.root, waited_s=waited_s)

    def _keep(self, number: int, source: RemovableFile, error: TransferError) -> None:
        name, at = self._clearing.microscope.name, self._clearing.now()
        unsurprising = isinstance(error, SourceVanishedError | SourceUnstableError)
        with self._transition() as connection:
            removals.record_kept(connection, number, problem=str(error), at=at)
            if isinstance(error, CopyMismatchError):
                files.doubt_copies(connection, [source.id], problem=str(error))
            if not unsurprising:
                events.raise_alarm(
                    connection,
                    f"removal:{name}",
                    severity="error",
                    message=f"{name}: {source.path} was not removed: {error}",
                    at=at,
                    subject=Subject(microscope=name),
                )

    @contextmanager
    def _transition(self) -> Iterator[Connection]:
        with self._clearing.engine.begin() as connection:
            leases.fence(connection, self._lease)
            yield connection

    def close(self) -> None:
        """End the workers."""
        for worker in (self._storage, *self._shares.values()):
            worker.close()


def _identity(source: RemovableFile) -> list[int]:
    return [source.size_bytes, source.mtime_ns, source.inode or 0]
