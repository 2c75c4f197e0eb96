"""A share with its worker: started, scanned, given up when it stalls, started again when it may be."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from cryodaq.app.transfer_window.session import Session
from cryodaq.domain.microscope import Share
from cryodaq.errors import ShareMissingError, ShareStalledError, TransferError
from cryodaq.ledger import observations, shares
from cryodaq.transfer.workers import ShareWorker, still_lives

log = logging.getLogger(__name__)
RESTART_S = 5.0
"""Between giving a worker up and trying another one."""

Json = dict[str, Any]  # Any: values of JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One scan that came to its end."""

    began_at: datetime
    ended_at: datetime
    seen_from: datetime
    """Begin of the scan before: what is new appeared since then."""
    first: bool
    """Everything on the share is in it, not only what changed."""
    same_mount: bool
    """Inodes can be compared with those in the ledger."""
    found: Json


class Mount:
    """One share, or the gain root."""

    def __init__(self, session: Session, share: Share) -> None:
        self.root, self._share = str(share.root), share
        self._session = session
        with session.transfer.engine.connect() as connection:
            self._known = shares.find_share(connection, session.microscope, self.root)
            first_poll_at = observations.first_asked_at(connection, session.microscope)
        self._worker = session.transfer.open_worker(
            share.root,
            sentinel=share.sentinel,
            expected_source=share.mounted_from or self._known.mounted_from,
            excludes=share.excludes,
            threads=session.transfer.lanes + 1,
            max_bytes_per_s=session.transfer.copy_max_bytes_per_s,
            stall_s=session.transfer.stall_s,
            wake=session.wake.set,
        )
        self._start_due_s = 0.0
        self._scan: Future[Json] | None = None
        self._scan_began_at = session.now()
        self._scan_due_s = 0.0
        self._scanned = False
        self._anew = True
        """The next scan must tell everything: the one before was not heard of."""
        self._seen_from = self._known.scan_began_at or first_poll_at
        self._mount = self._known.mount
        self._abandoned = self._known.abandoned_worker

    @property
    def worker(self) -> ShareWorker | None:
        """The worker while it can take requests."""
        return self._worker if self._worker.alive else None

    @property
    def scanned_since(self) -> datetime | None:
        """Begin of the last scan of this window that came to its end."""
        return self._seen_from if self._scanned else None

    def supervise(self) -> None:
        """Start the worker where there is none; give it up when it stalls."""
        if self._worker.alive:
            if self._worker.stalled:
                waited_s = self._worker.silent_s()
                self._give_up(ShareStalledError(PurePosixPath(self.root), waited_s=waited_s))
            return
        if self._session.clock() < self._start_due_s:
            return
        self._start_due_s = self._session.clock() + RESTART_S
        if self._abandoned and still_lives(self._abandoned):
            self._say(f"{self.root} is stalled: its worker {self._abandoned} hangs in it; check the camera server")
            return
        if self._abandoned:
            with self._session.transition() as connection:
                shares.forget_abandoned(connection, self._session.microscope, self.root)
            self._abandoned = None
        self._scan, self._scanned, self._anew, self._scan_due_s = None, False, True, 0.0
        self._worker.start()

    def _give_up(self, error: ShareStalledError) -> None:
        self._abandoned = self._worker.abandon()
        self._scan = None
        self._start_due_s = self._session.clock() + RESTART_S
        self._record_abandoned(self._abandoned)
        self._say(str(error))

    def _record_abandoned(self, mark: str) -> None:
        """Keep in mind which process hangs: true whoever has the lease."""
        with self._session.transfer.engine.begin() as connection:
            shares.record_abandoned(connection, self._session.microscope, self.root, mark=mark)

    def scan(self, *, hot: list[str], pause_s: float, asked: bool) -> Scan | None:
        """Begin a scan when it is time; return one that has ended.

        Parameters
        ----------
        asked
            Whether the elogbook was asked in this window. The very first scan of a share waits for that: before it
            nothing says whose files could be.
        """
        if self._scan is None:
            if self._worker.alive and self._session.clock() >= self._scan_due_s and (asked or self._seen_from):
                self._scan_began_at = self._session.now()
                self._scan = self._worker.request("scan", hot=hot, anew=self._anew)
            return None
        if not self._scan.done():
            return None
        finished, self._scan = self._scan, None
        self._scan_due_s = self._session.clock() + pause_s
        try:
            found = finished.result()
        except TransferError as error:
            self._failed(error)
            return None
        self._scan_due_s = self._session.clock() + max(pause_s, 2 * float(found["scan_s"]))
        return self._completed(found)

    def _completed(self, found: Json) -> Scan:
        mount = f"{found['device']}"
        scan = Scan(
            began_at=self._scan_began_at,
            ended_at=self._session.now(),
            seen_from=self._seen_from or self._scan_began_at,
            first=self._anew,
            same_mount=self._mount == mount,
            found=found,
        )
        self._seen_from, self._scanned, self._anew, self._mount = scan.began_at, True, False, mount
        if self._share.mounted_from is None and found["mounted_from"] is not None:
            self._worker.expect(found["mounted_from"])
        self._say(None)
        return scan

    def _failed(self, error: TransferError) -> None:
        log.warning("a scan failed", extra={"share": self.root, "problem": str(error)})
        self._anew = True  # it may have come to its end, and what it found was lost on the way
        self._scan_due_s = self._session.clock() + RESTART_S
        if isinstance(error, ShareMissingError):
            self._worker.close()
            self._start_due_s = self._session.clock() + RESTART_S
        if not isinstance(error, ShareStalledError):
            self._say(str(error))

    def _say(self, problem: str | None) -> None:
        if problem is not None:
            if self._share.camera_server:
                problem = f"{problem} (camera server {self._share.camera_server})"
            with self._session.transition() as connection:
                shares.record_problem(connection, self._session.microscope, self.root, problem=problem)
            problem = f"{self._session.microscope}: {problem}"
        self._session.alarm(f"share:{self.root}", problem, severity="error")

    def close(self) -> None:
        """End the worker; one that does not end is killed and recorded."""
        if not self._worker.close():
            self._record_abandoned(self._worker.abandon())
