"""Removals of source files: the intention is on record before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, Select, select, update

from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import exposure, file, removal


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRemoval:
    """A removal that was begun and whose end is not on record."""

    id: int
    aside: str
    """Name on the share, relative to its root, while the file is aside."""
    source: RemovableFile


_FIELDS = tuple(file.c[name] for name in RemovableFile.__dataclass_fields__)


def _source(row: Row[tuple[object, ...]]) -> RemovableFile:
    values = row._mapping  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping
    return RemovableFile(**{name: values[name] for name in RemovableFile.__dataclass_fields__})


def removable_files(
    connection: Connection, microscope: str, *, verified_before: datetime, larger_than_bytes: float
) -> list[RemovableFile]:
    """Return the newest versions on the shares that were verified long enough ago, the oldest first.

    What nobody owns is not among them: whether it is whole, and worth keeping, a person must say first.
    """
    query = (
        select(*_FIELDS)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(
            exposure.c.sample_id.is_not(None),
            file.c.microscope == microscope,
            file.c.state == "verified",
            file.c.gone_at.is_(None),
            file.c.verified_at <= verified_before,
            file.c.size_bytes > larger_than_bytes,
            file.c.role != "living",
        )
        .order_by(file.c.verified_at, file.c.id)
    )
    return [_source(row) for row in connection.execute(query)]


def intend(connection: Connection, source: RemovableFile, *, epoch: int, aside: str, at: datetime) -> int:
    """Record that a file is about to be removed. Return the removal's id."""
    number = connection.execute(
        removal.insert().values(file_id=source.id, epoch=epoch, aside=aside, intended_at=at).returning(removal.c.id)
    ).scalar_one()
    return int(number)


def open_removals(connection: Connection, microscope: str) -> list[OpenRemoval]:
    """Return the removals that a crash left open."""
    query: Select[tuple[object, ...]] = (
        select(removal.c.id.label("removal_id"), removal.c.aside, *_FIELDS)
        .join(file, removal.c.file_id == file.c.id)
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


def doubt_copies(connection: Connection, sources: Sequence[RemovableFile], *, problem: str) -> None:
    """Take the proof away from copies that read back wrong: the transfer verifies and copies them again."""
    connection.execute(
        update(file)
        .where(file.c.id.in_([source.id for source in sources]), file.c.state == "verified")
        .values(state="copied", verified_at=None, problem=problem)
    )
