"""Held movies, and a person's word that a short one is all that there will be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from cryodaq.domain.completeness import Acceptance
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import acceptance, exposure, file, sample


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMovie:
    """A movie on a share that waits for a person."""

    id: int
    microscope: str
    share: str
    path: str
    size_bytes: int
    mtime_ns: int
    frame_count: int | None
    """None where its format calls it unfinished."""
    problem: str | None
    seen_at: datetime
    sample_id: str | None
    sample_name: str | None
    experiment: str | None


def held_movies(connection: Connection, *, name: str | None = None) -> list[HeldMovie]:
    """Return what is held, oldest first; with a name, those whose path is or ends in it."""
    query = (
        select(
            *(file.c[column] for column in HeldMovie.__dataclass_fields__ if column in file.c),
            exposure.c.sample_id,
            sample.c.name.label("sample_name"),
            sample.c.experiment,
        )
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .outerjoin(sample, exposure.c.sample_id == sample.c.id)
        .where(file.c.state == "held", file.c.role == "movie", file.c.gone_at.is_(None))
        .order_by(file.c.id)
    )
    if name is not None:
        query = query.where((file.c.path == name) | file.c.path.endswith(f"/{name}", autoescape=True))
    return [HeldMovie(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name


def accept(connection: Connection, held: HeldMovie, *, frame_count: int, reason: str, by: str, at: datetime) -> None:
    """Record that a person calls a short movie complete, as it is now."""
    connection.execute(
        acceptance.insert().values(
            file_id=held.id,
            size_bytes=held.size_bytes,
            mtime_ns=held.mtime_ns,
            frame_count=frame_count,
            reason=reason,
            accepted_by=by,
            accepted_at=at,
        )
    )
    subject = Subject(microscope=held.microscope, experiment=held.experiment, sample_id=held.sample_id)
    facts = {"path": held.path, "frames": frame_count, "reason": reason, "by": by}
    record_event(connection, "short_movie_accepted", at=at, subject=subject, facts=facts)


def newest_acceptance(connection: Connection, file_id: int) -> Acceptance | None:
    """Return what a person said of a file last, or None."""
    query = select(acceptance).where(acceptance.c.file_id == file_id).order_by(acceptance.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    if row is None:
        return None
    return Acceptance(
        size_bytes=row.size_bytes, mtime_ns=row.mtime_ns, frame_count=row.frame_count, accepted_by=row.accepted_by
    )
