"""Numbers of the whole facility for its monitoring: how much is in which state, how long stages take, what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from cryodaq.ledger.tables import (
    alarm,
    current_state,
    delivery,
    file,
    movie,
    sample,
    share_state,
    stage_result,
    trigger,
)

RECENT_STAGES = 2000
"""Stage results, the newest ones, that times and failures are taken from: cheap however long the history is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesGauge:
    """Files of one microscope in one state."""

    microscope: str
    state: str
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageGauge:
    """One stage among the newest results."""

    microscope: str
    stage: str
    succeeded: int
    failed: int
    median_s: float
    p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """The facility at one moment; keys are names of microscopes, then of what is counted."""

    files: tuple[FilesGauge, ...]
    movies: tuple[tuple[str, str, int], ...]
    """Microscope, state, count."""
    backlog: tuple[tuple[str, str, int], ...]
    """Microscope, `waiting` or `in flight`, movies on their way to or at the scheduler."""
    stages: tuple[StageGauge, ...]
    alarms: tuple[tuple[str, str, int], ...]
    """Microscope or empty, severity, count."""
    shares: tuple[tuple[str, str, int, int], ...]
    """Microscope, share, free and total bytes."""
    polled_at: tuple[tuple[str, datetime], ...]
    """Microscope, when the elogbook was last asked."""
    undelivered: int
    """Messages that the elogbook has not taken yet."""


def read_gauges(connection: Connection) -> Gauges:
    """Return the facility's numbers."""
    files = select(
        file.c.microscope, file.c.state, func.count().label("number"), func.sum(file.c.size_bytes).label("size_bytes")
    ).group_by(file.c.microscope, file.c.state)
    movies = (
        select(sample.c.microscope, movie.c.state, func.count())
        .join(sample, movie.c.sample_id == sample.c.id)
        .group_by(sample.c.microscope, movie.c.state)
    )
    alarms = (
        select(func.coalesce(alarm.c.microscope, ""), alarm.c.severity, func.count())
        .where(alarm.c.cleared_at.is_(None))
        .group_by(alarm.c.microscope, alarm.c.severity)
    )
    shares = select(
        share_state.c.microscope, share_state.c.share, share_state.c.free_bytes, share_state.c.total_bytes
    ).where(share_state.c.total_bytes.is_not(None))
    polled = select(current_state.c.microscope, func.max(current_state.c.last_asked_at)).group_by(
        current_state.c.microscope
    )
    waiting = select(func.count()).select_from(delivery).where(delivery.c.delivered_at.is_(None))
    return Gauges(
        files=tuple(
            FilesGauge(microscope=row.microscope, state=row.state, count=row.number, size_bytes=int(row.size_bytes))
            for row in connection.execute(files)
        ),
        movies=tuple((row[0], row[1], row[2]) for row in connection.execute(movies)),
        backlog=_backlog(connection),
        stages=_stages(connection),
        alarms=tuple((row[0], row[1], row[2]) for row in connection.execute(alarms)),
        shares=tuple((row[0], row[1], row[2] or 0, row[3]) for row in connection.execute(shares)),
        polled_at=tuple((row[0], row[1]) for row in connection.execute(polled)),
        undelivered=int(connection.execute(waiting).scalar_one()),
    )


def _backlog(connection: Connection) -> tuple[tuple[str, str, int], ...]:
    is_sent = trigger.c.sent_at.is_not(None).label("is_sent")
    query = (
        select(sample.c.microscope, is_sent, func.count())
        .select_from(trigger)
        .join(movie, trigger.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(trigger.c.settled_at.is_(None))
        .group_by(sample.c.microscope, is_sent)
    )
    return tuple((row[0], "in flight" if row[1] else "waiting", row[2]) for row in connection.execute(query))


def _stages(connection: Connection) -> tuple[StageGauge, ...]:
    newest = (
        select(stage_result)
        .where(stage_result.c.ended_at.is_not(None))
        .order_by(stage_result.c.id.desc())
        .limit(RECENT_STAGES)
        .subquery()
    )
    seconds = func.extract("epoch", newest.c.ended_at - newest.c.started_at)
    succeeded = newest.c.state == "succeeded"
    query = (
        select(
            sample.c.microscope,
            newest.c.stage,
            func.count().filter(succeeded).label("succeeded"),
            func.count().filter(~succeeded).label("failed"),
            func.percentile_cont(0.5).within_group(seconds).label("median_s"),
            func.percentile_cont(0.95).within_group(seconds).label("p95_s"),
        )
        .select_from(newest)
        .join(movie, newest.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .group_by(sample.c.microscope, newest.c.stage)
    )
    return tuple(
        StageGauge(
            microscope=row.microscope,
            stage=row.stage,
            succeeded=row.succeeded,
            failed=row.failed,
            median_s=float(row.median_s),
            p95_s=float(row.p95_s),
        )
        for row in connection.execute(query)
    )
