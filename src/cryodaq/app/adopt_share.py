"""The first day at a microscope: what lies on its shares is listed and left alone, equal copies of others are believed.

Done in shadow mode, after the shares were scanned: everything that is not copied by then is the baseline. A file of it
that changes later is one that nobody owns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.compare_clocks import holder_name
from cryodaq.app.moving_copies import wait
from cryodaq.domain.microscope import Microscope
from cryodaq.errors import CopyMismatchError, LedgerError
from cryodaq.ledger import baselines, leases, samples, shares
from cryodaq.ledger.baselines import BaselineFolder
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.files import FileRecord
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopting:
    """What adopting a microscope's shares needs."""

    engine: Engine
    microscope: Microscope
    now: Callable[[], datetime]
    open_worker: Callable[..., ShareWorker] = ShareWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCopies:
    """What became of the search for another system's copies."""

    equal: int
    missing: int
    different: tuple[str, ...]
    """Paths on the share whose copies have another content."""


def adopt_share(adopting: Adopting) -> list[BaselineFolder]:
    """Call everything on the shares that is not copied the baseline, and return it by session folder.

    Raises
    ------
    LedgerError
        The microscope is not in shadow mode, or a share was not scanned yet.
    """
    name = adopting.microscope.name
    if not adopting.microscope.shadow:
        message = f"{name} is not in shadow mode: what is being copied now would be left; set shadow = true first"
        raise LedgerError(message)
    at = adopting.now()
    holder = f"{holder_name()} (adopting)"
    with adopting.engine.begin() as connection:
        unscanned = [
            str(share.root)
            for share in adopting.microscope.shares
            if shares.find_share(connection, name, str(share.root)).scan_began_at is None
        ]
        if unscanned:
            message = f"{', '.join(unscanned)} was not scanned yet; wait until the board shows {name} as watched"
            raise LedgerError(message)
        lease = leases.acquire(connection, name, holder=holder, at=at)  # a window that runs begins anew
        taken = baselines.take_as_baseline(connection, name, at=at)
        subject = Subject(microscope=name)
        record_event(connection, "share_adopted", at=at, subject=subject, facts={"files": taken})
        leases.release(connection, lease, at=at)
        return baselines.baseline_folders(connection, name)


def believe_copies(
    adopting: Adopting,
    copies: Path,
    *,
    folder: str | None = None,
    sample_id: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ForeignCopies:
    """Look below a folder for another system's copies of the baseline; what hashes equal on both sides is recorded.

    A copy has the path that its source has below the share, or below its session folder.

    Parameters
    ----------
    folder
        Only this session folder of the microscope.
    sample_id
        Whose they are; without it they stay nobody's, so that retention never touches their sources.

    Raises
    ------
    LedgerError
        There is no such sample.
    TransferError
        A mount does not answer.
    """
    name = adopting.microscope.name
    with adopting.engine.connect() as connection:
        if sample_id is not None and samples.find_sample(connection, sample_id) is None:
            message = f"there is no sample {sample_id}"
            raise LedgerError(message)
        waiting = baselines.baseline_files(connection, name, folder=folder)
    equal, different = 0, []
    with _Comparison(adopting, copies) as comparison:
        for record in waiting:
            target = _copy_of(record, copies, folder)
            if target is None:
                continue
            progress(record.path)
            hash_ = comparison.hash_if_equal(record, target)
            if hash_ is None:
                different.append(record.path)
                continue
            equal += 1
            with adopting.engine.begin() as connection:
                at = adopting.now()
                baselines.record_foreign_copy(connection, record, target=str(target), xxh3_128=hash_, at=at)
                if sample_id is not None:
                    baselines.own_baseline(connection, [record.exposure_id], sample_id=sample_id, at=at)
    return ForeignCopies(equal=equal, missing=len(waiting) - equal - len(different), different=tuple(different))


def _copy_of(record: FileRecord, copies: Path, folder: str | None) -> Path | None:
    path = PurePosixPath(record.path)
    names = [path]
    if folder is not None and path.is_relative_to(folder):
        names.append(path.relative_to(folder))
    found = (copies / name for name in names)
    return next((one for one in found if one.is_file() and not one.is_symlink()), None)


class _Comparison:
    """Hashes files of shares and copies of others, each mount by a worker that can be given up."""

    def __init__(self, adopting: Adopting, copies: Path) -> None:
        self._shares = {
            str(share.root): adopting.open_worker(
                share.root, sentinel=share.sentinel, expected_source=share.mounted_from, threads=1
            )
            for share in adopting.microscope.shares
        }
        self._copies = adopting.open_worker(PurePosixPath(copies), threads=1)

    def __enter__(self) -> _Comparison:
        for worker in (self._copies, *self._shares.values()):
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (self._copies, *self._shares.values()):
            worker.close()

    def hash_if_equal(self, record: FileRecord, target: Path) -> str | None:
        """Return the hash that source and copy have in common, or None. Raises `TransferError`."""
        source = self._shares.get(record.share)
        if source is None or target.stat().st_size != record.size_bytes:
            return None
        hash_ = str(wait(source, source.request("hash_source", path=record.path))["xxh3_128"])
        copies = [{"target": str(target), "xxh3_128": hash_}]
        (said,) = wait(self._copies, self._copies.request("verify", copies=copies))["verified"]
        if "error" not in said:
            return hash_
        if said["error"].get("kind") not in {None, CopyMismatchError.__name__}:
            log.warning("a copy cannot be read", extra={"path": str(target), "problem": str(said["error"])})
        return None
