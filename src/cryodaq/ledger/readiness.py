"""What a new session on a microscope would find: its gain references and the last one that was used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from cryodaq.ledger.tables import gain_copy, gain_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class GainState:
    """One gain reference on the microscope's gain root."""

    path: str
    size_bytes: int
    seen_at: datetime
    settled: bool
    """Whether two looks agreed, so that it may be used."""


def newest_gain(connection: Connection, microscope: str) -> GainState | None:
    """Return the gain reference that new movies would be corrected with, or None when there is none."""
    row = connection.execute(
        select(gain_reference)
        .where(gain_reference.c.microscope == microscope)
        .order_by(gain_reference.c.mtime_ns.desc(), gain_reference.c.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    return GainState(path=row.path, size_bytes=row.size_bytes, seen_at=row.seen_at, settled=row.settled_at is not None)


def last_used_gain_bytes(connection: Connection, microscope: str) -> int | None:
    """Return the size of the gain reference that was copied for movies last, or None before the first."""
    return connection.execute(
        select(gain_reference.c.size_bytes)
        .join(gain_copy, gain_copy.c.gain_id == gain_reference.c.id)
        .where(gain_reference.c.microscope == microscope, gain_copy.c.copied_at.is_not(None))
        .order_by(gain_copy.c.copied_at.desc())
        .limit(1)
    ).scalar_one_or_none()
