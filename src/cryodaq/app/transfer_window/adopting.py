"""From a scan to the ledger: new files and exposures, changes, and disappearances."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import TypeVar

from cryodaq.app.transfer_window.mounts import Scan
from cryodaq.app.transfer_window.session import Session, Tracked
from cryodaq.domain.file_roles import ClassifiedFile, FileRole, classify
from cryodaq.domain.names import safe_relative_path
from cryodaq.errors import UnsafeNameError
from cryodaq.ledger import exposures, files, shares
from cryodaq.ledger.baselines import BASELINE
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.exposures import NewExposure
from cryodaq.ledger.files import HAS_COPY, ChangedFile, FileRecord, NewFile
from cryodaq.ledger.shares import ScanRecord

log = logging.getLogger(__name__)
CHUNK = 2000
"""Files registered in one transaction."""
LIVING_EVERY_S = 60.0
"""A living file is copied at most so often."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """One line of a scan."""

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int

    def as_change_of(self, known: FileRecord) -> ChangedFile:
        """Return it as what became of a known file."""
        return ChangedFile(id=known.id, size_bytes=self.size_bytes, mtime_ns=self.mtime_ns, inode=self.inode)


class Adopter:
    """Takes what scans find into the ledger."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unrecognised: dict[str, int] = {}
        self._unusable: set[str] = set()

    def adopt(self, share: str, scan: Scan) -> None:
        """Record one scan."""
        found = [Found(*row) for part in scan.found["parts"] for row in part["changed"]]
        vanished = self._vanished(share, scan, found)
        new, changed = self._sorted(share, found)
        for chunk in _chunks(new):
            self._register(share, chunk, scan)
        self._change(changed, scan)
        self._lose(vanished)
        with self._session.transition() as connection:
            shares.record_scan(connection, self._session.microscope, share, scan=self._scan_record(share, scan))
        self._unusable |= set(scan.found["unreadable"])
        self._tell_unusable(share)

    def _scan_record(self, share: str, scan: Scan) -> ScanRecord:
        return ScanRecord(
            began_at=scan.began_at,
            ended_at=scan.ended_at,
            scan_s=float(scan.found["scan_s"]),
            file_count=int(scan.found["file_count"]),
            free_bytes=int(scan.found["free_bytes"]),
            total_bytes=int(scan.found["total_bytes"]),
            mount=str(scan.found["device"]),
            mounted_from=scan.found["mounted_from"],
            unrecognised_images=self._unrecognised.get(share, 0),
        )

    def _sorted(
        self, share: str, found: Sequence[Found]
    ) -> tuple[list[tuple[Found, ClassifiedFile]], list[tuple[FileRecord, Found]]]:
        """Return the files that are new, with what they are, and those that changed."""
        new, changed = [], []
        for one in found:
            known = self._session.known.get((share, one.path))
            if known is not None and known.role != FileRole.OTHER:  # at a restart that is every file on the share
                if (known.size_bytes, known.mtime_ns, known.inode) != (one.size_bytes, one.mtime_ns, one.inode):
                    changed.append((known, one))
                continue
            kind = classify(PurePosixPath(one.path), size_bytes=one.size_bytes)
            self._unrecognised[share] = self._unrecognised.get(share, 0) + kind.unrecognised_image
            if known is not None:
                if (known.size_bytes, known.mtime_ns, known.inode) != (one.size_bytes, one.mtime_ns, one.inode):
                    changed.append((known, one))
            elif kind.role is not FileRole.IGNORED and self._usable(one.path):
                new.append((one, kind))
        return new, changed

    def _usable(self, path: str) -> bool:
        try:
            safe_relative_path(path)
        except UnsafeNameError as error:
            self._unusable.add(str(error))
            return False
        return True

    def _vanished(self, share: str, scan: Scan, found: Sequence[Found]) -> list[FileRecord]:
        """Return known files that are gone; a worker's first scan cannot know what was there before it."""
        paths = set(scan.found["vanished"])
        if scan.first and not scan.found["unreadable"]:
            present = {one.path for one in found}
            paths |= {path for name, path in self._session.known if name == share and path not in present}
        known = (self._session.known.get((share, path)) for path in paths)
        return [record for record in known if record is not None]

    def _register(self, share: str, chunk: Sequence[tuple[Found, ClassifiedFile]], scan: Scan) -> None:
        session = self._session
        folders = {kind.exposure or one.path: str(kind.acquisition_folder) for one, kind in chunk}
        with session.transition() as connection:
            owners = exposures.register_exposures(
                connection,
                session.microscope,
                share=share,
                found=[NewExposure(key=key, acquisition_folder=folder) for key, folder in folders.items()],
                seen_from=scan.seen_from,
                seen_until=scan.ended_at,
            )
            new = [
                NewFile(
                    path=one.path,
                    role=kind.role.value,
                    exposure_id=owners[kind.exposure or one.path].id,
                    size_bytes=one.size_bytes,
                    mtime_ns=one.mtime_ns,
                    inode=one.inode,
                )
                for one, kind in chunk
            ]
            records = files.register_files(connection, session.microscope, share=share, found=new, at=scan.ended_at)
            movies = sum(record.role == FileRole.MOVIE for record in records)
            record_event(
                connection,
                "files_seen",
                at=scan.ended_at,
                subject=Subject(microscope=session.microscope),
                facts={"files": len(records), "movies": movies},
            )
        session.exposures |= {one.id: one for one in owners.values()}
        session.undecided |= {one.id: one for one in owners.values() if one.decision is None}
        for record in records:
            session.remember(record)

    def _change(self, changed: Sequence[tuple[FileRecord, Found]], scan: Scan) -> None:
        """Record files that grew or were replaced before they were copied; what has a copy is looked at first.

        A listing may be older than a copy that was made while the scan went on, so it alone makes no new version.
        """
        grown, elsewhere = [], []
        for known, one in changed:
            change = one.as_change_of(known)
            same_content = (known.size_bytes, known.mtime_ns) == (one.size_bytes, one.mtime_ns)
            if known.state not in HAS_COPY:
                grown.append((known, change))
            elif known.role == FileRole.LIVING:
                self._rewrite(known, change)
            elif same_content and (known.inode is None or (scan.first and not scan.same_mount)):
                elsewhere.append((known, change))
            else:
                self._session.doubtful[known.id] = change
        if grown or elsewhere:
            changed_baseline = [known.exposure_id for known, _ in grown if known.state == BASELINE]
            with self._session.transition() as connection:
                exposures.leave_baseline(connection, changed_baseline, at=scan.ended_at)
                files.record_changes(connection, [change for _, change in grown], at=scan.ended_at)
                files.update_inodes(connection, [change for _, change in elsewhere])
        self._session.follow_exposures([known for known, _ in grown if known.state == BASELINE])
        for known, change in grown:
            state = known.state if self._is_copying(known) else "seen"
            self._session.remember(_updated(known, change, state=state))
            self._session.tracked[known.id].look_due_s = 0.0
        for known, change in elsewhere:
            self._session.remember(_updated(known, change, state=known.state))

    def _is_copying(self, known: FileRecord) -> bool:
        tracked = self._session.tracked.get(known.id)
        return tracked is not None and tracked.busy and known.state == "copying"

    def _rewrite(self, known: FileRecord, change: ChangedFile) -> None:
        """Plan another copy of a living file, a minute after the last one at the earliest."""
        session = self._session
        session.follow_exposures([known])
        session.unverified.pop(known.id, None)  # its copy is of an older state
        newest = _updated(known, change, state="complete")
        if known.path.lower().endswith(".mdoc"):
            session.reread.append(newest)  # what was half written at the first look may name a movie now
        session.known[known.share, known.path] = newest
        age_s = (session.now() - known.copied_at).total_seconds() if known.copied_at else LIVING_EVERY_S
        wait_s = LIVING_EVERY_S - age_s if age_s >= 0 else 0.0  # a copy of the future: our clock was put back
        tracked = session.tracked.get(known.id)
        if tracked is None:
            session.tracked[known.id] = Tracked(newest, copy_due_s=session.clock() + max(0.0, wait_s))
        else:
            tracked.record = newest

    def _lose(self, gone: Sequence[FileRecord]) -> None:
        """Record what is no longer on the share."""
        if not gone:
            return
        with self._session.transition() as connection:
            files.record_gone(connection, [record.id for record in gone], at=self._session.now())
        for record in gone:
            self._session.forget(record)
        lost = [record.path for record in gone if record.state not in HAS_COPY and record.role == FileRole.MOVIE]
        if lost:
            log.warning(
                "movies went before they were copied",
                extra={"microscope": self._session.microscope, "movies": len(lost), "first": lost[0]},
            )

    def _tell_unusable(self, share: str) -> None:
        message = None
        if self._unusable:
            first = min(self._unusable)
            message = f"{len(self._unusable)} names on {share} cannot be read or copied, such as {first}; rename them"
        self._session.alarm(f"names:{share}", message)


def _updated(known: FileRecord, change: ChangedFile, *, state: str) -> FileRecord:
    return replace(
        known,
        size_bytes=change.size_bytes,
        mtime_ns=change.mtime_ns,
        inode=change.inode,
        state=state,
        problem=None if state == "seen" else known.problem,
    )


def _chunks(values: Sequence[T]) -> Iterator[list[T]]:
    source = iter(values)
    while chunk := list(islice(source, CHUNK)):
        yield chunk
