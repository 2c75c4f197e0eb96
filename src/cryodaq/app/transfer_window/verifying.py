"""Read copies again from storage, at low priority, within ten minutes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from cryodaq.app.transfer_window.repairing import Repairer
from cryodaq.app.transfer_window.session import Session
from cryodaq.errors import TransferError
from cryodaq.ledger import files
from cryodaq.ledger.files import FileRecord
from cryodaq.transfer.wire import error_from_message
from cryodaq.transfer.workers import ShareWorker

log = logging.getLogger(__name__)
BATCH_FILES = 64
BATCH_BYTES = 256 << 20
REST_S = 5.0
"""A copy is left alone for so long, so that the storage has taken it from its caches."""
URGENT_S = 240.0
"""After so long a copy is verified whatever else is to be done."""


class Verifier:
    """Proves that the storage holds what was copied."""

    def __init__(self, session: Session, worker: ShareWorker, repairer: Repairer) -> None:
        self._session = session
        self._worker = worker
        self._repairer = repairer
        self._batch: list[FileRecord] = []
        self._future: Future[dict[str, Any]] | None = None

    def verify(self, *, busy: bool) -> None:
        """Go on: take what was read, and order more.

        Parameters
        ----------
        busy
            Copies wait: only what is urgent is verified meanwhile.
        """
        if self._future is not None and self._future.done():
            batch, future = self._batch, self._future
            self._batch, self._future = [], None
            self._take(batch, future)
        if self._future is None and self._worker.alive:
            self._batch = self._next(busy=busy)
            if self._batch:
                copies = [{"target": record.target, "xxh3_128": record.xxh3_128} for record in self._batch]
                limit = self._session.transfer.verify_max_bytes_per_s
                self._future = self._worker.request("verify", copies=copies, max_bytes_per_s=limit)

    def _next(self, *, busy: bool) -> list[FileRecord]:
        rest_s = URGENT_S if busy else REST_S
        now = self._session.now()
        batch: list[FileRecord] = []
        size_bytes = 0
        for record in self._session.unverified.values():  # in the order of copying
            if self._repairer.knows(record):
                continue
            age_s = (now - record.copied_at).total_seconds() if record.copied_at else rest_s
            if 0 <= age_s < rest_s:  # a copy of the future was made before our clock was put back
                continue
            batch.append(record)
            size_bytes += record.size_bytes
            if len(batch) >= BATCH_FILES or size_bytes >= BATCH_BYTES:
                break
        return batch

    def _take(self, batch: Sequence[FileRecord], future: Future[dict[str, Any]]) -> None:
        try:
            said = future.result()["verified"]
        except TransferError as error:
            log.warning("copies could not be read again", extra={"problem": str(error)})
            return
        good = [record for record, one in zip(batch, said, strict=True) if "error" not in one]
        current = [record for record in good if self._session.unverified.get(record.id) == record]
        if current:
            at = self._session.now()
            with self._session.transition() as connection:
                files.record_verified(connection, [record.id for record in current], at=at)
            for record in current:
                self._session.remember(replace(record, state="verified"))
                self._session.verified += 1
                if self._session.has_alarm(f"lost-copy:{record.id}"):  # somebody restored it
                    self._session.alarm(f"lost-copy:{record.id}", None)
        for record, one in zip(batch, said, strict=True):
            if "error" in one and self._session.unverified.get(record.id) == record:
                self._repairer.found(record, error_from_message(one["error"]))
