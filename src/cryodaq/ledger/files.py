"""Files on the microscopes' shares, version by version, and how far each has come.

States: seen, held (a person must look), complete, copying, copied, verified, removed, vanished. Callers change them
in transactions that begin with `leases.fence`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, not_, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.ownership import Decision
from cryodaq.ledger.tables import exposure, file

UNCOPIED = frozenset({"seen", "held", "complete", "copying", "vanished"})
HAS_COPY = frozenset({"copied", "verified", "removed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One version of one file."""

    id: int
    share: str
    path: str
    """Relative to the share's root."""
    version: int
    role: str
    exposure_id: int
    state: str
    size_bytes: int
    mtime_ns: int
    """The microscope's clock: compared for equality, and for order within one folder."""
    inode: int | None
    frame_count: int | None
    xxh3_128: str | None
    target: str | None
    """Absolute path of the copy."""
    problem: str | None
    seen_at: datetime
    changed_at: datetime
    copied_at: datetime | None
    gone_at: datetime | None = None
    """When it was no longer on the share."""

    @property
    def has_copy(self) -> bool:
        """Whether a copy lies at `target`: of this state of the file, or of an earlier one of a living file."""
        is_living_copy = self.role == FileRole.LIVING and self.copied_at is not None
        return self.target is not None and (self.state in HAS_COPY or is_living_copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """What a scan found under a path that was not on the share before."""

    path: str
    role: str
    exposure_id: int
    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """What a scan found instead of a known file."""

    id: int
    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A file's new state, and why it waits, if it does."""

    id: int
    state: str
    problem: str | None = None
    frame_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedFile:
    """A copy that has its final name."""

    id: int
    target: str
    xxh3_128: str
    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """How many files of one owner are not copied yet."""

    sample_id: str | None
    files: int
    movies: int
    size_bytes: int


_FIELDS = tuple(file.c[name] for name in FileRecord.__dataclass_fields__)


def record_of(row: Row[*tuple[Any, ...]]) -> FileRecord:  # Any: columns of several types
    """Return the record of a row with any columns that has those of a record."""
    values = row._mapping  # noqa: SLF001  # as below
    return FileRecord(**{name: values[name] for name in FileRecord.__dataclass_fields__})


def _record(row: Row[*tuple[Any, ...]]) -> FileRecord:  # Any: columns of several types
    return FileRecord(**row._mapping)  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping


def files_at_work(connection: Connection, microscope: str) -> Iterable[FileRecord]:
    """Return everything that a transfer must know: files on the share, and copies that are not verified yet."""
    query = (
        select(*_FIELDS)
        .where(
            file.c.microscope == microscope,
            or_(file.c.gone_at.is_(None), file.c.state == "copied"),
        )
        .order_by(file.c.share, file.c.path, file.c.version)
    )
    return map(_record, connection.execute(query))


def register_files(
    connection: Connection, microscope: str, *, share: str, found: Sequence[NewFile], at: datetime
) -> list[FileRecord]:
    """Record files under paths that were not on the share at the scan before.

    A path that was there in earlier times gets its next version, unless the file is the same again, or was never
    copied: then its row goes on.
    """
    earlier = _newest_versions(connection, microscope, share, [new.path for new in found])
    fresh, again = [], []
    for new in found:
        known = earlier.get(new.path)
        if known is None:
            fresh.append(_new_row(new, microscope, share, version=1, at=at))
        elif known.has_copy and not _is_same(known, new):
            fresh.append(_new_row(new, microscope, share, version=known.version + 1, at=at))
        else:
            again.append((known, new))
    made = [] if not fresh else list(map(_record, connection.execute(insert(file).returning(*_FIELDS), fresh)))
    return made + _resume(connection, again, at=at)


def _is_same(known: FileRecord, new: NewFile) -> bool:
    return (known.size_bytes, known.mtime_ns) == (new.size_bytes, new.mtime_ns) and known.state != "removed"


def _new_row(new: NewFile, microscope: str, share: str, *, version: int, at: datetime) -> dict[str, object]:
    return {
        "microscope": microscope,
        "share": share,
        "path": new.path,
        "version": version,
        "role": new.role,
        "exposure_id": new.exposure_id,
        "state": "seen",
        "size_bytes": new.size_bytes,
        "mtime_ns": new.mtime_ns,
        "inode": new.inode,
        "seen_at": at,
        "changed_at": at,
    }


def _newest_versions(
    connection: Connection, microscope: str, share: str, paths: Sequence[str]
) -> dict[str, FileRecord]:
    query = (
        select(*_FIELDS)
        .where(file.c.microscope == microscope, file.c.share == share, file.c.path == func.any(list(paths)))
        .order_by(file.c.path, file.c.version)
    )
    return {row.path: _record(row) for row in connection.execute(query)}


def _resume(connection: Connection, again: Sequence[tuple[FileRecord, NewFile]], *, at: datetime) -> list[FileRecord]:
    """Go on with rows whose files came back."""
    resumed = []
    for known, new in again:
        values: dict[str, object] = {"gone_at": None, "inode": new.inode}
        if known.has_copy and known.role == FileRole.LIVING:  # whose it is stays; its copy may be of an older state
            values |= {"state": "seen"}
        elif known.state in UNCOPIED:
            values |= {
                "state": "seen",
                "exposure_id": new.exposure_id,
                "role": new.role,
                "size_bytes": new.size_bytes,
                "mtime_ns": new.mtime_ns,
                "changed_at": at,
                "problem": None,
            }
        row = connection.execute(update(file).where(file.c.id == known.id).values(**values).returning(*_FIELDS)).one()
        resumed.append(_record(row))
    return resumed


def record_changes(connection: Connection, changed: Sequence[ChangedFile], *, at: datetime) -> None:
    """Record that files which are not copied yet grew or were replaced."""
    if changed:
        connection.execute(
            update(file)
            .where(file.c.id == bindparam("file"))
            .values(
                size_bytes=bindparam("size"),
                mtime_ns=bindparam("mtime"),
                inode=bindparam("node"),
                changed_at=at,
                state="seen",
                frame_count=None,
                problem=None,
            ),
            [_facts(one) for one in changed],
        )


def _facts(one: ChangedFile) -> dict[str, object]:
    return {"file": one.id, "size": one.size_bytes, "mtime": one.mtime_ns, "node": one.inode}


def record_new_versions(connection: Connection, changed: Sequence[ChangedFile], *, at: datetime) -> list[FileRecord]:
    """Record that files changed after they were copied: each gets a next version; the one before stays."""
    if not changed:
        return []
    by_id = {one.id: one for one in changed}
    query = select(file).where(file.c.id == func.any(list(by_id)))
    rows = []
    for row in connection.execute(query).all():
        one = by_id[row.id]
        new = NewFile(
            path=row.path,
            role=row.role,
            exposure_id=row.exposure_id,
            size_bytes=one.size_bytes,
            mtime_ns=one.mtime_ns,
            inode=one.inode,
        )
        rows.append(_new_row(new, row.microscope, row.share, version=row.version + 1, at=at))
    connection.execute(update(file).where(file.c.id == func.any(list(by_id))).values(gone_at=at))
    return list(map(_record, connection.execute(insert(file).returning(*_FIELDS), rows)))


def update_inodes(connection: Connection, changed: Sequence[ChangedFile]) -> None:
    """Record other inodes of files that are the same all the same (after a new mount, or proved by hash)."""
    if changed:
        connection.execute(
            update(file).where(file.c.id == bindparam("file")).values(inode=bindparam("node")),
            [{"file": one.id, "node": one.inode} for one in changed],
        )


def change_states(connection: Connection, changes: Sequence[StateChange], *, at: datetime) -> None:
    """Record new states and problems; `complete` is given its time."""
    if not changes:
        return
    connection.execute(
        update(file)
        .where(file.c.id == bindparam("file"))
        .values(
            state=bindparam("new_state"),
            problem=bindparam("why"),
            frame_count=func.coalesce(bindparam("frames"), file.c.frame_count),
            complete_at=func.coalesce(bindparam("when"), file.c.complete_at),
        ),
        [
            {
                "file": one.id,
                "new_state": one.state,
                "why": one.problem,
                "frames": one.frame_count,
                "when": at if one.state == "complete" else None,
            }
            for one in changes
        ],
    )


def record_copies(connection: Connection, copies: Sequence[CopiedFile], *, at: datetime) -> None:
    """Record finished copies with their hashes; whoever was verified as an older state is not any more."""
    if not copies:
        return
    connection.execute(
        update(file)
        .where(file.c.id == bindparam("file"))
        .values(
            state="copied",
            target=bindparam("to"),
            xxh3_128=bindparam("hash"),
            size_bytes=bindparam("size"),
            mtime_ns=bindparam("mtime"),
            inode=bindparam("node"),
            copied_at=at,
            verified_at=None,
            problem=None,
        ),
        [
            {
                "file": one.id,
                "to": one.target,
                "hash": one.xxh3_128,
                "size": one.size_bytes,
                "mtime": one.mtime_ns,
                "node": one.inode,
            }
            for one in copies
        ],
    )


def record_verified(connection: Connection, ids: Collection[int], *, at: datetime) -> None:
    """Record that copies were read again from storage and are equal."""
    connection.execute(
        update(file)
        .where(file.c.id == func.any(list(ids)), file.c.state == "copied")
        .values(state="verified", verified_at=at, problem=None)
    )


def doubt_copies(connection: Connection, ids: Collection[int], *, problem: str) -> None:
    """Take the proof away from copies that are not what was copied: they are read again, and made anew."""
    if ids:
        connection.execute(
            update(file)
            .where(file.c.id == func.any(list(ids)), file.c.state == "verified")
            .values(state="copied", verified_at=None, problem=problem)
        )


def record_gone(connection: Connection, ids: Collection[int], *, at: datetime) -> None:
    """Record that files are no longer on the share; those that were never copied have vanished.

    Of a living file the copy of an earlier state stays, and is what there is; it is read again.
    """
    wanted = file.c.id == func.any(list(ids))
    connection.execute(update(file).where(wanted).values(gone_at=at))
    uncopied = update(file).where(wanted, file.c.state.in_(sorted(UNCOPIED)))
    earlier = (file.c.role == FileRole.LIVING, file.c.copied_at.is_not(None))
    problem = "it disappeared from the share before its last state was copied"
    connection.execute(uncopied.where(*earlier).values(state="copied", verified_at=None, problem=problem))
    problem = "it disappeared from the share before it was copied"
    connection.execute(uncopied.where(not_(and_(*earlier))).values(state="vanished", problem=problem))


def reclassify(connection: Connection, file_id: int, *, role: str, exposure_id: int) -> None:
    """Record that a file is something else than its name says, because a frame mdoc names it."""
    connection.execute(update(file).where(file.c.id == file_id).values(role=role, exposure_id=exposure_id))


def renumber(connection: Connection, file_id: int, *, version: int) -> None:
    """Record under which version a file's copy gets its name: another share's file has the name of the one before."""
    connection.execute(update(file).where(file.c.id == file_id).values(version=version))


def retarget(connection: Connection, targets: Mapping[int, str]) -> None:
    """Record where copies were moved to."""
    if targets:
        connection.execute(
            update(file).where(file.c.id == bindparam("file")).values(target=bindparam("to")),
            [{"file": number, "to": target} for number, target in targets.items()],
        )


def folders_of_copies(connection: Connection, microscope: str, *, since: datetime) -> set[str]:
    """Return the folders into which something was copied since a time."""
    folder = func.regexp_replace(file.c.target, "/[^/]*$", "")
    query = (
        select(folder)
        .distinct()
        .where(file.c.microscope == microscope, file.c.copied_at >= since, file.c.target.is_not(None))
    )
    return {str(found) for found in connection.execute(query).scalars()}


def folders_of_assigned(connection: Connection, microscope: str, *, since: datetime) -> set[str]:
    """Return the folders, below a share's root, of files that people gave to a sample since a time."""
    folder = func.regexp_replace(file.c.path, "/?[^/]*$", "")
    query = (
        select(folder)
        .distinct()
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(
            exposure.c.microscope == microscope,
            exposure.c.decision == Decision.OPERATOR.value,
            exposure.c.decided_at >= since,
        )
    )
    return {str(found) for found in connection.execute(query).scalars()}


def find_file(connection: Connection, file_id: int) -> FileRecord | None:
    """Return one version of a file, or None."""
    row = connection.execute(select(*_FIELDS).where(file.c.id == file_id)).first()
    return None if row is None else _record(row)


def files_of_exposures(connection: Connection, ids: Collection[int]) -> list[FileRecord]:
    """Return all files of some exposures, every version."""
    query = select(*_FIELDS).where(file.c.exposure_id == func.any(list(ids)))
    return [_record(row) for row in connection.execute(query.order_by(file.c.path, file.c.version))]


def frame_counts(connection: Connection, microscope: str, *, limit: int = 3) -> dict[str, list[int]]:
    """Return, for each sample, the frames of its latest complete movies, oldest first."""
    ranked = (
        select(
            exposure.c.sample_id,
            file.c.frame_count,
            func.row_number().over(partition_by=exposure.c.sample_id, order_by=file.c.copied_at.desc()).label("rank"),
        )
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(
            file.c.microscope == microscope,
            file.c.role == "movie",
            file.c.gone_at.is_(None),
            file.c.copied_at.is_not(None),
            file.c.frame_count.is_not(None),
            exposure.c.sample_id.is_not(None),
        )
        .subquery()
    )
    query = select(ranked).where(ranked.c.rank <= limit).order_by(ranked.c.sample_id, ranked.c.rank.desc())
    found: dict[str, list[int]] = {}
    for row in connection.execute(query):
        found.setdefault(str(row.sample_id), []).append(int(row.frame_count))
    return found


def unfinished(connection: Connection, microscope: str) -> list[Unfinished]:
    """Return what is not copied yet, by owner; living files are never finished and do not count."""
    query = (
        select(
            exposure.c.sample_id,
            func.count().label("files"),
            func.count().filter(file.c.role == "movie").label("movies"),
            func.coalesce(func.sum(file.c.size_bytes), 0).label("size_bytes"),
        )
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(
            file.c.microscope == microscope,
            file.c.gone_at.is_(None),
            file.c.role != "living",
            file.c.state.in_(("seen", "complete", "copying")),
        )
        .group_by(exposure.c.sample_id)
    )
    return [
        Unfinished(sample_id=row.sample_id, files=row.files, movies=row.movies, size_bytes=int(row.size_bytes))
        for row in connection.execute(query)
    ]


def held_files(connection: Connection, microscope: str) -> list[FileRecord]:
    """Return the files that a person must look at, movies first."""
    query = (
        select(*_FIELDS)
        .where(file.c.microscope == microscope, file.c.state == "held", file.c.gone_at.is_(None))
        .order_by(file.c.role != "movie", file.c.id)
    )
    return [_record(row) for row in connection.execute(query)]
