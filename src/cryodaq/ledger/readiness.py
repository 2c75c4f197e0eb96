"""What a new session on a microscope would find: its gain references, and what its last exposures were like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from sqlalchemy import Connection, func, select

from cryodaq.ledger.tables import alarm, gain_copy, gain_reference, movie, sample, stage_result

RECENT_SAMPLES, RECENT_MOVIES = 3, 20
"""How far back it is looked how gain references fitted."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestExposure:
    """What the acquisition program wrote of the exposure that came last from a microscope."""

    registered_at: datetime
    metadata: Mapping[str, object]


def latest_exposure(connection: Connection, microscope: str) -> LatestExposure | None:
    """Return the last exposure of the samples that were in use last; None where none of them says anything."""
    row = connection.execute(
        select(movie.c.registered_at, movie.c.metadata)
        .where(movie.c.sample_id.in_(_recent_samples(connection, microscope)), movie.c.metadata.is_not(None))
        .order_by(movie.c.id.desc())
        .limit(1)
    ).first()
    return None if row is None else LatestExposure(registered_at=row.registered_at, metadata=row.metadata)


def _recent_samples(connection: Connection, microscope: str) -> list[str]:
    newest = (
        select(sample.c.id)
        .where(sample.c.microscope == microscope)
        .order_by(sample.c.last_active_at.desc())
        .limit(RECENT_SAMPLES)
    )
    return list(connection.execute(newest).scalars())


@dataclass(frozen=True, slots=True, kw_only=True)
class GainUse:
    """How the gain references of a microscope's last movies fitted, by the imaging itself."""

    orientations: Mapping[str, int]
    """Movies by how the gain had to be turned; without those of which that could not be told."""
    gain_name: str | None
    """Base name of what the newest of these movies was corrected with."""
    misfits: int
    """Movies that wait because no gain reference has the size of their frames."""
    residual: str | None
    """What the watch over the pattern that gains leave behind says; None: nothing is wrong."""


def gain_use(connection: Connection, microscope: str) -> GainUse:
    """Return how gain references fitted the movies of the samples that were in use last."""
    samples = _recent_samples(connection, microscope)
    mine = movie.c.sample_id.in_(samples)
    corrected = (
        select(movie.c.id, movie.c.gain_target)
        .where(mine, movie.c.gain_target.is_not(None), movie.c.state == "published")
        .order_by(movie.c.id.desc())
        .limit(RECENT_MOVIES)
    )
    gains = {row.id: str(row.gain_target) for row in connection.execute(corrected)}
    turned = select(stage_result.c.movie_id, stage_result.c.result["gain_orientation"].astext.label("turned")).where(
        stage_result.c.movie_id.in_(gains), stage_result.c.stage == "align", stage_result.c.state == "succeeded"
    )
    found = {row.movie_id: str(row.turned) for row in connection.execute(turned) if row.turned is not None}
    misfits = select(func.count()).where(mine, movie.c.state == "waiting", movie.c.problem.contains("none fits:"))
    residual = (
        select(alarm.c.text)
        .where(alarm.c.cleared_at.is_(None), alarm.c.key.in_([f"gain:{one}" for one in samples]))
        .order_by(alarm.c.raised_at.desc())
        .limit(1)
    )
    return GainUse(
        orientations=Counter(found.values()),
        gain_name=PurePosixPath(gains[max(gains)]).name if gains else None,
        misfits=connection.execute(misfits).scalar_one(),
        residual=connection.execute(residual).scalar_one_or_none(),
    )
