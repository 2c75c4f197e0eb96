"""The limits that say which of a sample's micrographs are in, kept for everybody who looks at or exports the sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.events import record_event
from cryodaq.ledger.measurements import QUANTITIES
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ledger.tables import sample_limits

Limits = Mapping[str, tuple[float | None, float | None]]
"""By quantity: smallest and largest value that is in, in the column's unit; None for no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLimits:
    """A sample's limits."""

    limits: Limits
    kept_by: str
    kept_at: datetime


def find_limits(connection: Connection, sample_id: str) -> KeptLimits | None:
    """Return the limits that are kept for a sample, or None."""
    row = connection.execute(select(sample_limits).where(sample_limits.c.sample_id == sample_id)).first()
    if row is None:
        return None
    limits = {key: (_real(low), _real(high)) for key, (low, high) in row.limits.items() if key in QUANTITIES}
    return KeptLimits(limits=limits, kept_by=row.kept_by, kept_at=row.kept_at)


def keep_limits(connection: Connection, found: SampleRecord, limits: Limits, *, kept_by: str, at: datetime) -> None:
    """Keep limits for a sample in the place of those before; none at all are forgotten."""
    if limits:
        values = {"limits": {key: list(pair) for key, pair in limits.items()}, "kept_by": kept_by, "kept_at": at}
        connection.execute(
            insert(sample_limits)
            .values(sample_id=found.id, **values)
            .on_conflict_do_update(index_elements=[sample_limits.c.sample_id], set_=values)
        )
    else:
        connection.execute(delete(sample_limits).where(sample_limits.c.sample_id == found.id))
    facts = {"limits": {key: list(pair) for key, pair in limits.items()}, "by": kept_by}
    record_event(connection, "limits_kept", at=at, subject=found.subject, facts=facts)


def _real(limit: float | None) -> float | None:
    """Return a limit as what it was: the database writes 1e40 out, which comes back as a whole number."""
    return None if limit is None else float(limit)
