"""Work of a microscope that does not get on: what, how much, since when, and where to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, Select, func, select

from cryodaq.ledger.events import Severity
from cryodaq.ledger.tables import delivery, experiment, file, movie, sample, stage_result, trigger

UNTAKEN = timedelta(minutes=15)
"""Runs that the scheduler has and of which no task began: longer than any start of a worker takes."""
RUNNING = timedelta(hours=2)
"""Longer than any stage may run (`orchestration.samples`)."""
BEHIND = timedelta(minutes=30)
"""A movie that was copied so long ago and waits for its turn."""
UNSENT = timedelta(minutes=10)
"""A trigger that could not be sent for so long."""
UNVERIFIED = timedelta(hours=1)
"""Copies are verified within ten minutes where the storage keeps up."""
UNDELIVERED = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckState:
    """One kind of work that does not get on."""

    kind: str
    severity: Severity
    count: int
    since: datetime
    sentence: str


def stuck_states(connection: Connection, microscope: str, *, at: datetime) -> list[StuckState]:
    """Return what is stuck on a microscope, each as one sentence for people."""
    return [
        *_not_begun(connection, microscope, at),
        *_running_long(connection, microscope, at),
        *_not_sent(connection, microscope, at),
        *_not_verified(connection, microscope, at),
        *_not_delivered(connection, microscope, at),
    ]


def _first(connection: Connection, query: Select[int, datetime]) -> tuple[int, datetime] | None:
    count, since = connection.execute(query).one()
    return (int(count), since) if count else None


def _open_triggers(microscope: str, *, since: Column[datetime]) -> Select[int, datetime]:
    """Count a microscope's triggers without an outcome, and find the first by a time of theirs."""
    return (
        select(func.count(), func.min(since))
        .join(movie, trigger.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(sample.c.microscope == microscope, trigger.c.settled_at.is_(None))
    )


def _for_how_long(since: datetime, at: datetime) -> str:
    minutes = int((at - since) / timedelta(minutes=1))
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"


def _amount(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _not_begun(connection: Connection, microscope: str, at: datetime) -> Iterator[StuckState]:
    """Runs are there and nobody takes their tasks: while others are worked on that is a queue, else a dead end."""
    begun = select(stage_result.c.id).where(
        stage_result.c.movie_id == trigger.c.movie_id, stage_result.c.branch_id == trigger.c.branch_id
    )
    query = _open_triggers(microscope, since=trigger.c.sent_at)
    found = _first(connection, query.where(trigger.c.sent_at < at - UNTAKEN, ~begun.exists()))
    latest = connection.execute(select(func.max(stage_result.c.started_at))).scalar_one_or_none()
    if found is None or (latest is not None and latest > at - UNTAKEN):
        return
    count, since = found
    yield StuckState(
        kind="not-begun",
        severity="error",
        count=count,
        since=since,
        sentence=f"{microscope}: {_amount(count, 'movie')} handed over up to {_for_how_long(since, at)} ago, and no "
        "task of any movie begins; look for a worker of their queue, and at the pool compute in Airflow",
    )


def _running_long(connection: Connection, microscope: str, at: datetime) -> Iterator[StuckState]:
    query = (
        select(stage_result.c.stage, stage_result.c.started_at, movie.c.run_name)
        .join(movie, stage_result.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(
            sample.c.microscope == microscope,
            stage_result.c.state == "running",
            stage_result.c.started_at < at - RUNNING,
            movie.c.state == "processing",
        )
        .order_by(stage_result.c.started_at)
    )
    rows = connection.execute(query).all()
    if rows:
        first = rows[0]
        yield StuckState(
            kind="running",
            severity="error",
            count=len(rows),
            since=first.started_at,
            sentence=f"{microscope}: {first.stage} of {first.run_name} began {_for_how_long(first.started_at, at)} ago "
            f"and has not ended ({_amount(len(rows), 'stage')} like this); look at its node and its log",
        )


def _not_sent(connection: Connection, microscope: str, at: datetime) -> Iterator[StuckState]:
    """Movies that cannot be handed over are a fault; those that only wait for their turn say that compute is behind."""
    mine = _open_triggers(microscope, since=trigger.c.created_at).where(trigger.c.sent_at.is_(None))
    refused = mine.where(trigger.c.created_at < at - UNSENT, trigger.c.problem.is_not(None))
    if (found := _first(connection, refused)) is not None:
        count, since = found
        why = connection.execute(
            refused.with_only_columns(trigger.c.problem).order_by(trigger.c.created_at).limit(1)
        ).scalar_one()
        yield StuckState(
            kind="not-sent",
            severity="error",
            count=count,
            since=since,
            sentence=f"{microscope}: {_amount(count, 'movie')} cannot be handed over for up to "
            f"{_for_how_long(since, at)}: {why}",
        )
    behind = mine.where(trigger.c.created_at < at - BEHIND, trigger.c.problem.is_(None), trigger.c.reruns == 0)
    if (found := _first(connection, behind)) is not None:
        count, since = found
        yield StuckState(
            kind="behind",
            severity="notice",
            count=count,
            since=since,
            sentence=f"{microscope}: processing is behind: {_amount(count, 'movie')} copied up to "
            f"{_for_how_long(since, at)} ago wait for their turn; the newest are processed first",
        )


def _not_verified(connection: Connection, microscope: str, at: datetime) -> Iterator[StuckState]:
    query = select(func.count(), func.min(file.c.copied_at)).where(
        file.c.microscope == microscope, file.c.state == "copied", file.c.copied_at < at - UNVERIFIED
    )
    if (found := _first(connection, query)) is not None:
        count, since = found
        yield StuckState(
            kind="not-verified",
            severity="warning",
            count=count,
            since=since,
            sentence=f"{microscope}: {_amount(count, 'copy').replace('copys', 'copies')} made up to "
            f"{_for_how_long(since, at)} ago were not read again yet; the storage may be too slow",
        )


def _not_delivered(connection: Connection, microscope: str, at: datetime) -> Iterator[StuckState]:
    query = (
        select(func.count(), func.min(delivery.c.created_at))
        .join(experiment, delivery.c.experiment == experiment.c.name)
        .where(
            experiment.c.microscope == microscope,
            delivery.c.delivered_at.is_(None),
            delivery.c.created_at < at - UNDELIVERED,
        )
    )
    if (found := _first(connection, query)) is not None:
        count, since = found
        yield StuckState(
            kind="not-delivered",
            severity="warning",
            count=count,
            since=since,
            sentence=f"{microscope}: the elogbook has not taken {_amount(count, 'message')} for up to "
            f"{_for_how_long(since, at)}; nothing is lost, they are sent until it answers",
        )
