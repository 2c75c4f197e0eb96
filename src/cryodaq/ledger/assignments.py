"""What staff give from quarantine to a sample: on record before anything is touched, and open until it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.tables import assignment


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What leaves quarantine."""

    id: int
    microscope: str
    to_sample: str
    asked_by: str
    exposures: tuple[int, ...]


_FIELDS = tuple(assignment.c[name] for name in Assignment.__dataclass_fields__)


def write_assignment(
    connection: Connection, microscope: str, *, to_sample: str, asked_by: str, exposures: Sequence[int], at: datetime
) -> Assignment:
    """Record what a person decided."""
    values = {"to_sample": to_sample, "asked_by": asked_by, "exposures": list(exposures), "planned_at": at}
    statement = insert(assignment).values(microscope=microscope, **values).returning(*_FIELDS)
    return _assignment(connection.execute(statement).one())


def open_assignments(connection: Connection, microscope: str) -> list[Assignment]:
    """Return what was begun and is not done, the oldest first."""
    query = select(*_FIELDS).where(assignment.c.microscope == microscope, assignment.c.done_at.is_(None))
    return [_assignment(row) for row in connection.execute(query.order_by(assignment.c.id))]


def lock_open(connection: Connection, number: int) -> bool:
    """Return whether an assignment is open still; nobody else carries it out until the transaction ends."""
    query = select(assignment.c.id).where(assignment.c.id == number, assignment.c.done_at.is_(None))
    return connection.execute(query.with_for_update()).first() is not None


def end_assignment(connection: Connection, number: int, *, at: datetime) -> None:
    """Record that an assignment is done."""
    connection.execute(update(assignment).where(assignment.c.id == number).values(done_at=at))


def _assignment(row: Row[tuple[Any, ...]]) -> Assignment:  # Any: columns of several types
    values = row._mapping  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping
    return Assignment(**{**values, "exposures": tuple(values["exposures"])})
