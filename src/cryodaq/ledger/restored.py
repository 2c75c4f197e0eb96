"""Rows of copies that were found on the storage when the ledger was lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.files import FileRecord, record_of
from cryodaq.ledger.tables import file, movie


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredCopy:
    """One copy with what can be known of its source."""

    share: str
    path: str
    version: int
    role: str
    exposure_id: int
    size_bytes: int
    mtime_ns: int
    inode: int | None
    """Of the source; None where it is not on the share."""
    xxh3_128: str
    target: str
    on_share: bool


def known_targets(connection: Connection, microscope: str) -> set[str]:
    """Return the places of all copies that the ledger knows."""
    query = select(file.c.target).where(file.c.microscope == microscope, file.c.target.is_not(None))
    return {str(target) for target in connection.execute(query).scalars()}


def restore_copies(
    connection: Connection, microscope: str, copies: Sequence[RestoredCopy], *, at: datetime
) -> list[FileRecord]:
    """Record copies as not verified; return the new rows. What the ledger knows already stays as it is."""
    if not copies:
        return []
    rows = [
        {name: getattr(one, name) for name in RestoredCopy.__dataclass_fields__ if name != "on_share"}
        | {
            "microscope": microscope,
            "state": "copied",
            "problem": None,
            "seen_at": at,
            "changed_at": at,
            "copied_at": at,
            "gone_at": None if one.on_share else at,
        }
        for one in copies
    ]
    statement = insert(file).on_conflict_do_nothing(constraint="uq_file_version").returning(file)
    return [record_of(row) for row in connection.execute(statement, rows)]


def keep_movies(connection: Connection, ids: Collection[int], *, why: str) -> None:
    """Record that movies are registered and not processed."""
    connection.execute(update(movie).where(movie.c.id == func.any(list(ids))).values(state="kept", problem=why))
