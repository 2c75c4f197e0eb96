"""Removals of source files: the intention is on record before anything is touched."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, Select, func, select, update

from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import exposure, file, removal, sample


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovableFile:
    """A source whose copy was verified."""

    id: int
    microscope: str
    share: str
    path: str
    role: str
    size_bytes: int
    mtime_ns: int
    inode: int | None
    xxh3_128: str
    target: str
    verified_at: datetime
    acquisition_folder: str
    """Relative to the share's root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRemoval:
    """A removal that was begun and whose end is not on record."""

    id: int
    aside: str
    """Name on the share, relative to its root, while the file is aside."""
    source: RemovableFile


_FIELDS = tuple(file.c[name] for name in RemovableFile.__dataclass_fields__ if name in file.c)


def _source(row: Row[tuple[object, ...]]) -> RemovableFile:
    values = row._mapping  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping
    return RemovableFile(**{name: values[name] for name in RemovableFile.__dataclass_fields__})


def removable_files(
    connection: Connection, microscope: str, *, unowned_folder: str | None = None
) -> list[RemovableFile]:
    """Return the newest versions on the shares whose copies are verified, those verified first in front.

    What nobody owns is not among them: whether it is whole, and worth keeping, a person must say first.

    Parameters
    ----------
    unowned_folder
        Instead, what nobody owns in this session folder, which a person named.
    """
    query: Select[tuple[object, ...]] = (
        select(*_FIELDS, exposure.c.acquisition_folder)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(file.c.microscope == microscope, file.c.state == "verified", file.c.gone_at.is_(None))
        .order_by(file.c.verified_at, file.c.id)
    )
    if unowned_folder is None:
        query = query.where(exposure.c.sample_id.is_not(None))
    else:
        query = query.where(exposure.c.sample_id.is_(None), exposure.c.acquisition_folder == unowned_folder)
    return [_source(row) for row in connection.execute(query)]


def experiments_of(connection: Connection, ids: Sequence[int]) -> set[str]:
    """Return the experiments to whose samples some files belong."""
    query = (
        select(sample.c.experiment)
        .distinct()
        .join(exposure, exposure.c.sample_id == sample.c.id)
        .join(file, file.c.exposure_id == exposure.c.id)
        .where(file.c.id == func.any(list(ids)))
    )
    return set(connection.execute(query).scalars())


def proved_sessions(connection: Connection, microscope: str) -> dict[tuple[str, str], datetime]:
    """Return, by share and session folder, when the last copy was verified of those whose copies all are.

    Files in the root of a share are no session.
    """
    unproved = file.c.state.in_(("seen", "held", "complete", "copying", "copied"))
    query = (
        select(exposure.c.share, exposure.c.acquisition_folder, func.max(file.c.verified_at).label("at"))
        .join(file, file.c.exposure_id == exposure.c.id)
        .where(exposure.c.microscope == microscope, exposure.c.acquisition_folder != ".")
        .group_by(exposure.c.share, exposure.c.acquisition_folder)
        .having(~func.bool_or(unproved | exposure.c.sample_id.is_(None)))
    )
    return {(row.share, row.acquisition_folder): row.at for row in connection.execute(query) if row.at is not None}


def emptied_sessions(
    connection: Connection, microscope: str, folders: Collection[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return those of some session folders of which no known file lies on its share any more."""
    query = (
        select(exposure.c.share, exposure.c.acquisition_folder)
        .join(file, file.c.exposure_id == exposure.c.id)
        .where(exposure.c.microscope == microscope)
        .group_by(exposure.c.share, exposure.c.acquisition_folder)
        .having(func.bool_and(file.c.gone_at.is_not(None)))
    )
    return {(row.share, row.acquisition_folder) for row in connection.execute(query)} & set(folders)


def intend(connection: Connection, source: RemovableFile, *, epoch: int, aside: str, at: datetime) -> int:
    """Record that a file is about to be removed. Return the removal's id."""
    number = connection.execute(
        removal.insert().values(file_id=source.id, epoch=epoch, aside=aside, intended_at=at).returning(removal.c.id)
    ).scalar_one()
    return int(number)


def open_removals(connection: Connection, microscope: str) -> list[OpenRemoval]:
    """Return the removals that a crash left open."""
    query: Select[tuple[object, ...]] = (
        select(removal.c.id.label("removal_id"), removal.c.aside, *_FIELDS, exposure.c.acquisition_folder)
        .join(file, removal.c.file_id == file.c.id)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(file.c.microscope == microscope, removal.c.ended_at.is_(None))
        .order_by(removal.c.id)
    )
    return [OpenRemoval(id=row.removal_id, aside=row.aside, source=_source(row)) for row in connection.execute(query)]


def record_removed(connection: Connection, removal_id: int, source: RemovableFile, *, at: datetime) -> None:
    """Record that the source is gone; its copy is the only one now."""
    connection.execute(update(removal).where(removal.c.id == removal_id).values(ended_at=at, outcome="removed"))
    connection.execute(update(file).where(file.c.id == source.id).values(state="removed", removed_at=at, gone_at=at))
    facts = {"path": source.path, "size_bytes": source.size_bytes, "xxh3_128": source.xxh3_128}
    subject = Subject(microscope=source.microscope)
    record_event(connection, "source_removed", at=at, subject=subject, facts=facts)


def record_kept(connection: Connection, removal_id: int, *, problem: str, at: datetime) -> None:
    """Record that the source stays, and why."""
    connection.execute(
        update(removal).where(removal.c.id == removal_id).values(ended_at=at, outcome="kept", problem=problem)
    )
