"""Copied files of which a scan says that they changed: looked at, and made a new version when they really did."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from cryodaq.app.transfer_window.mounts import Mount
from cryodaq.app.transfer_window.session import Session
from cryodaq.errors import TransferError
from cryodaq.ledger import files
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.files import ChangedFile, FileRecord

log = logging.getLogger(__name__)
BATCH = 40


@dataclass(slots=True)
class _Doubt:
    record: FileRecord
    change: ChangedFile
    mount: Mount


class Doubter:
    """Decides whether a copied file was changed on the share."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._looks: list[tuple[list[_Doubt], Future[dict[str, Any]]]] = []
        self._hashes: list[tuple[_Doubt, Future[dict[str, Any]]]] = []

    def ask(self, mount: Mount) -> None:
        """Look at what is doubtful on a share."""
        if mount.worker is None or not self._session.doubtful:
            return
        mine: list[_Doubt] = []
        for record in self._session.known.values():
            if record.id in self._session.doubtful and record.share == mount.root and len(mine) < BATCH:
                mine.append(_Doubt(record, self._session.doubtful.pop(record.id), mount))
        if mine:
            future = mount.worker.request("look", paths=[doubt.record.path for doubt in mine])
            self._looks.append((mine, future))

    def answer(self) -> None:
        """Take the answers that came back."""
        looks, self._looks = self._looks, []
        for doubts, future in looks:
            if not future.done():
                self._looks.append((doubts, future))
                continue
            try:
                said = future.result()["looks"]
            except TransferError as error:
                self._doubt_again(doubts, error)
                continue
            for doubt, look in zip(doubts, said, strict=True):
                if "error" not in look:  # what vanished is told by the next scan
                    self._looked(doubt, look["size_bytes"], look["mtime_ns"])
        hashes, self._hashes = self._hashes, []
        for doubt, future in hashes:
            if future.done():
                self._hashed(doubt, future)
            else:
                self._hashes.append((doubt, future))

    def _doubt_again(self, doubts: list[_Doubt], error: TransferError) -> None:
        log.warning("changed files could not be looked at", extra={"problem": str(error)})
        for doubt in doubts:
            self._session.doubtful[doubt.record.id] = doubt.change

    def _is_newest(self, record: FileRecord) -> bool:
        """Whether a file has no later version yet: two scans, or a scan and a copy, may doubt the same one."""
        newest = self._session.known.get((record.share, record.path))
        return newest is not None and newest.id == record.id

    def _looked(self, doubt: _Doubt, size_bytes: int, mtime_ns: int) -> None:
        record = doubt.record
        if not self._is_newest(record):
            return
        if (size_bytes, mtime_ns) != (record.size_bytes, record.mtime_ns):
            self.make_version(replace(doubt.change, size_bytes=size_bytes, mtime_ns=mtime_ns), record)
        elif doubt.change.inode != record.inode and doubt.mount.worker is not None:
            # Replaced by a file of the same size and time, or moved there and back: only its content tells.
            self._hashes.append((doubt, doubt.mount.worker.request("hash_source", path=record.path)))

    def _hashed(self, doubt: _Doubt, future: Future[dict[str, Any]]) -> None:
        try:
            found = future.result()["xxh3_128"]
        except TransferError as error:
            self._doubt_again([doubt], error)
            return
        if not self._is_newest(doubt.record):
            return
        if found != doubt.record.xxh3_128:
            self.make_version(doubt.change, doubt.record)
            return
        with self._session.transition() as connection:
            files.update_inodes(connection, [doubt.change])
        self._session.remember(replace(doubt.record, inode=doubt.change.inode))

    def make_version(self, change: ChangedFile, record: FileRecord) -> None:
        """Record that a copied file has another content by now."""
        self._session.follow_exposures([record])
        at = self._session.now()
        with self._session.transition() as connection:
            (version,) = files.record_new_versions(connection, [change], at=at)
            facts = {"path": record.path, "version": version.version}
            subject = Subject(microscope=self._session.microscope)
            record_event(connection, "file_changed", at=at, subject=subject, facts=facts)
        self._session.remember(version)
