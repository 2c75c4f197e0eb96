"""Restore the ledger from what lies on the storage, where neither the database nor a backup is left.

Copies, their hashes and whose they are come back; as verified counts none before the transfer has read it again. What
only the ledger knew is lost: results, branches, alarms, history. Movies are registered and not processed a second time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.app.compare_clocks import holder_name
from cryodaq.domain.file_roles import ClassifiedFile, FileRole, classify
from cryodaq.domain.layout import SampleLayout, quarantine_root
from cryodaq.domain.microscope import Microscope
from cryodaq.domain.names import check_sample_id, dag_id, safe_relative_path
from cryodaq.domain.ownership import Decision, Ownership
from cryodaq.errors import TransferError, UnsafeNameError
from cryodaq.ledger import exposures, leases, movies, restored, samples
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.exposures import NewExposure
from cryodaq.ledger.restored import RestoredCopy
from cryodaq.ledger.samples import NewSample
from cryodaq.transfer.beneath import check_share
from cryodaq.transfer.copy import hash_of
from cryodaq.transfer.manifest import read_manifest
from cryodaq.transfer.scan import FoundFile, ShareScanner

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)
_VERSIONED = re.compile(r"(?P<stem>.+)\.v(?P<version>[2-9]|[1-9]\d+)$")
NOT_AGAIN = "restored with the ledger; process its sample again to have results in the ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilding:
    """What rebuilding needs."""

    engine: Engine
    microscopes: Sequence[Microscope]
    storage_root: PurePosixPath
    now: Callable[[], datetime]
    progress: Callable[[str], None] = lambda _: None
    """Told of each folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What came back."""

    samples: int
    files: int
    movies: int
    hashed: int
    """Copies that no manifest lists: they were read now."""
    left_out: tuple[str, ...]
    """Copies and folders that could not be taken in, each with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One folder of copies."""

    microscope: Microscope
    folder: Path
    sample: NewSample | None
    """None: quarantine."""


@dataclass(slots=True)
class _Tally:
    samples: int = 0
    files: int = 0
    movies: int = 0
    hashed: int = 0


def rebuild_ledger(rebuilding: Rebuilding) -> Rebuilt:
    """Take in every copy that the ledger does not know; may be repeated."""
    left_out: list[str] = []
    places = list(_places(rebuilding, left_out))
    tally = _Tally()
    for microscope in rebuilding.microscopes:
        mine = [place for place in places if place.microscope is microscope]
        sources = {str(share.root): _on_share(share.root, share.sentinel) for share in microscope.shares}
        paths = {path for place in mine for path in _paths(place.folder)}
        for place in mine:
            rebuilding.progress(str(place.folder))
            _restore(rebuilding, place, sources=sources, paths=paths, tally=tally, left_out=left_out)
    return Rebuilt(
        samples=tally.samples,
        files=tally.files,
        movies=tally.movies,
        hashed=tally.hashed,
        left_out=tuple(left_out),
    )


def _places(rebuilding: Rebuilding, left_out: list[str]) -> Iterator[_Place]:
    """Yield the samples' folders, and the quarantines."""
    root = Path(rebuilding.storage_root)
    by_instrument = {one.instrument.casefold(): one for one in reversed(rebuilding.microscopes)}
    for experiment_folder in sorted(path for path in root.glob("*/*_*") if path.is_dir() and not path.is_symlink()):
        experiment, _, instrument = experiment_folder.name.rpartition("_")
        microscope = by_instrument.get(instrument.casefold())
        if microscope is None:
            left_out.append(f"{experiment_folder}: no microscope of the facility file has the instrument {instrument}")
            continue
        names = {link.readlink().name: link.name for link in experiment_folder.iterdir() if link.is_symlink()}
        for folder in sorted(path for path in experiment_folder.iterdir() if path.is_dir() and not path.is_symlink()):
            try:
                sample = _sample(microscope, experiment, instrument, folder, names.get(folder.name, folder.name))
            except UnsafeNameError as error:
                left_out.append(f"{folder}: {error}")
                continue
            yield _Place(microscope=microscope, folder=folder, sample=sample)
    for microscope in rebuilding.microscopes:
        folder = Path(quarantine_root(rebuilding.storage_root, microscope.name))
        if folder.is_dir():
            yield _Place(microscope=microscope, folder=folder, sample=None)


def _sample(microscope: Microscope, experiment: str, instrument: str, folder: Path, name: str) -> NewSample:
    """Return what the folders say of a sample; the elogbook says the rest when it is current again."""
    return NewSample(
        id=check_sample_id(folder.name),
        experiment=experiment,
        instrument=instrument,
        microscope=microscope.name,
        name=name,
        experiment_folder=str(folder.parent),
        folder=str(folder),
        params={},
        imaging_method="single-particle",
        preprocess=True,
        dag_id=dag_id(experiment, folder.name),
    )


def _on_share(root: PurePosixPath, sentinel: str | None) -> Mapping[str, FoundFile]:
    """Return what is on a share now; nothing when it is not there."""
    try:
        check_share(Path(root), sentinel=sentinel, device=None)
        return {one.path: one for one in ShareScanner(Path(root)).scan().changed}
    except (TransferError, OSError) as error:
        log.warning("a share is not looked at", extra={"share": str(root), "problem": str(error)})
        return {}


def _paths(folder: Path) -> list[str]:
    """Return the copies below a folder's `raw`, hidden names and gain references left out."""
    layout = SampleLayout(root=PurePosixPath(folder))
    raw, gains = Path(layout.raw), Path(layout.gain_references)
    found = (path for path in sorted(raw.rglob("*")) if path.is_file() and not path.is_symlink())
    return [
        str(path.relative_to(raw)) for path in found if not path.name.startswith(".") and not path.is_relative_to(gains)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """One copy as it lies on the storage."""

    target: Path
    path: str
    """Of its source, below the share."""
    version: int
    share: str
    source: FoundFile | None
    """What is on the share now, where that still is the file that was copied."""
    size_bytes: int
    mtime_ns: int
    xxh3_128: str

    @property
    def kind(self) -> ClassifiedFile:
        """What the path says."""
        return classify(PurePosixPath(self.path), size_bytes=self.size_bytes)

    @property
    def key(self) -> str:
        """Of its exposure."""
        return self.kind.exposure or self.path


def _restore(
    rebuilding: Rebuilding,
    place: _Place,
    *,
    sources: Mapping[str, Mapping[str, FoundFile]],
    paths: set[str],
    tally: _Tally,
    left_out: list[str],
) -> None:
    """Take in one folder's copies in one transaction that holds the microscope's lease."""
    raw = Path(SampleLayout(root=PurePosixPath(place.folder)).raw)
    hashes = read_manifest(Path(SampleLayout(root=PurePosixPath(place.folder)).manifest))
    copies: list[_Copy] = []
    with rebuilding.engine.connect() as connection:
        there = restored.known_targets(connection, place.microscope.name)
    for path in _paths(place.folder):
        if str(raw / path) in there:
            continue
        try:
            safe_relative_path(path)
            copies.append(_look(raw, path, paths=paths, sources=sources, hashes=hashes))
        except (OSError, UnsafeNameError) as error:
            left_out.append(f"{raw / path}: {error}")
    tally.hashed += sum(f"raw/{copy.target.relative_to(raw)}" not in hashes for copy in copies)
    at, name = rebuilding.now(), place.microscope.name
    with rebuilding.engine.begin() as connection:
        holder = f"{holder_name()} (rebuilding the ledger)"
        lease = leases.acquire(connection, name, holder=holder, at=at)
        if place.sample is not None:
            tally.samples += samples.register_sample(connection, place.sample, at=at)
        known = restored.known_targets(connection, name)
        new = [copy for copy in copies if str(copy.target) not in known]
        for share in sources:
            _record(connection, place, share, [copy for copy in new if copy.share == share], at=at, tally=tally)
        record_event(connection, "ledger_rebuilt", at=at, subject=Subject(microscope=name), facts={"files": len(new)})
        leases.release(connection, lease, at=at)


def _look(
    raw: Path,
    path: str,
    *,
    paths: set[str],
    sources: Mapping[str, Mapping[str, FoundFile]],
    hashes: Mapping[str, str],
) -> _Copy:
    """Return what can be known of one copy. A living file's hash is never that of the manifest."""
    source, version = _source_of(path, paths)
    found = (raw / path).stat()
    share = next((share for share, present in sources.items() if source in present), next(iter(sources)))
    present = sources[share].get(source)
    if present is not None and (present.size_bytes, present.mtime_ns) != (found.st_size, found.st_mtime_ns):
        present = None
    living = classify(PurePosixPath(source)).role is FileRole.LIVING
    listed = None if living else hashes.get(f"raw/{path}")
    return _Copy(
        target=raw / path,
        path=source,
        version=version,
        share=share,
        source=present,
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        xxh3_128=listed or hash_of(raw / path),
    )


def _source_of(path: str, paths: set[str]) -> tuple[str, int]:
    """Return path and version of the source: `a.v2.tif` is the second version where there is an `a.tif`."""
    copy = PurePosixPath(path)
    found = _VERSIONED.fullmatch(copy.stem)
    if found is None:
        return path, 1
    base = str(copy.with_name(f"{found['stem']}{copy.suffix}"))
    return (base, int(found["version"])) if base in paths else (path, 1)


def _record(
    connection: Connection, place: _Place, share: str, copies: Sequence[_Copy], *, at: datetime, tally: _Tally
) -> None:
    """Record copies, their exposures and owners, and movies that are not processed again."""
    if not copies:
        return
    name = place.microscope.name
    keys = {copy.key: str(copy.kind.acquisition_folder) for copy in copies}
    found = exposures.register_exposures(
        connection,
        name,
        share=share,
        found=[NewExposure(key=key, acquisition_folder=folder) for key, folder in keys.items()],
        seen_from=at,
        seen_until=at,
    )
    numbers = [one.id for one in found.values()]
    if place.sample is not None:
        exposures.assign(connection, numbers, sample_id=place.sample.id, at=at)
    else:
        nobodys = Ownership(sample_id=None, decision=Decision.QUARANTINE)
        exposures.decide(connection, dict.fromkeys(numbers, nobodys), at=at)
    rows = restored.restore_copies(connection, name, [_row(copy, found[copy.key].id) for copy in copies], at=at)
    tally.files += len(rows)
    owner = None if place.sample is None else samples.find_sample(connection, place.sample.id)
    if owner is not None:
        filmed = [(row, owner) for row in rows if row.role == FileRole.MOVIE]
        made = movies.register_movies(connection, filmed, at=at)
        restored.keep_movies(connection, made, why=NOT_AGAIN)
        tally.movies += len(made)


def _row(copy: _Copy, exposure_id: int) -> RestoredCopy:
    return RestoredCopy(
        share=copy.share,
        path=copy.path,
        version=copy.version,
        role=copy.kind.role.value,
        exposure_id=exposure_id,
        size_bytes=copy.size_bytes,
        mtime_ns=copy.mtime_ns,
        inode=None if copy.source is None else copy.source.inode,
        xxh3_128=copy.xxh3_128,
        target=str(copy.target),
        on_share=copy.source is not None,
    )
