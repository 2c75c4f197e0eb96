"""Why a microscope's data is late: what waits in each step, since when, and what the ledger says is in the way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from cryodaq.ledger.tables import (
    current_state,
    delivery,
    exposure,
    file,
    lease,
    movie,
    sample,
    trigger,
)

LISTED = 25
_STEPS = ("seen", "held", "complete", "copying", "copied")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesInStep:
    """Files of a microscope that are in one state on their way to a verified copy."""

    state: str
    """seen, held, complete, copying, or copied (which is not verified yet)."""
    files: int
    size_bytes: int
    since: datetime
    """When the one that has waited longest was last seen to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Things of one sample for which the ledger gives the same reason."""

    sample_id: str
    sample_name: str
    experiment: str
    problem: str
    count: int
    example_id: int | None
    """One of the movies; None where files are meant."""
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """What was decided and has not been handed over."""

    count: int
    since: datetime | None
    problem: str | None
    """What the receiver said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferer:
    """Who copies a microscope's files."""

    holder: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A time in which the elogbook gave the same answer."""

    assignment: str
    experiment: str | None
    sample_id: str | None
    sample_name: str | None
    first_asked_at: datetime
    last_asked_at: datetime
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """Everything that is in the way on one microscope."""

    steps: tuple[FilesInStep, ...]
    held: tuple[Reason, ...]
    waiting: tuple[Reason, ...]
    failed: tuple[Reason, ...]
    triggers: Outbox
    deliveries: Outbox
    transferer: Transferer | None
    periods: tuple[Period, ...]


def reasons(connection: Connection, microscope: str) -> Reasons:
    """Return what waits on a microscope, and why."""
    return Reasons(
        steps=_steps(connection, microscope),
        held=_held(connection, microscope),
        waiting=_movies(connection, microscope, "waiting"),
        failed=_movies(connection, microscope, "failed"),
        triggers=_unsent(connection, microscope),
        deliveries=_undelivered(connection, microscope),
        transferer=_transferer(connection, microscope),
        periods=periods(connection, microscope),
    )


def failures(connection: Connection, microscope: str, *, used_since: datetime) -> tuple[Reason, ...]:
    """Return why movies failed, of samples that were in use since a time."""
    return _movies(connection, microscope, "failed", used_since=used_since)


def periods(connection: Connection, microscope: str, *, limit: int = LISTED) -> tuple[Period, ...]:
    """Return what the elogbook said was current, newest first."""
    columns = [current_state.c[name] for name in Period.__dataclass_fields__]
    query = (
        select(*columns)
        .where(current_state.c.microscope == microscope)
        .order_by(current_state.c.last_asked_at.desc(), current_state.c.id.desc())
        .limit(limit)
    )
    return tuple(Period(**row) for row in connection.execute(query).mappings())


def _steps(connection: Connection, microscope: str) -> tuple[FilesInStep, ...]:
    query = (
        select(
            file.c.state,
            func.count().label("files"),
            func.coalesce(func.sum(file.c.size_bytes), 0).label("size_bytes"),
            func.min(file.c.changed_at).label("since"),
        )
        .where(file.c.microscope == microscope, file.c.state.in_(_STEPS), file.c.role != "living")
        .group_by(file.c.state)
    )
    found = {
        row.state: FilesInStep(state=row.state, files=row.files, size_bytes=int(row.size_bytes), since=row.since)
        for row in connection.execute(query)
    }
    return tuple(found[state] for state in _STEPS if state in found)


def _held(connection: Connection, microscope: str) -> tuple[Reason, ...]:
    problem = func.coalesce(file.c.problem, "held")
    query = (
        select(
            exposure.c.sample_id,
            sample.c.name.label("sample_name"),
            sample.c.experiment,
            problem.label("problem"),
            func.count().label("count"),
            func.max(file.c.path).label("example"),
        )
        .select_from(file)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .join(sample, exposure.c.sample_id == sample.c.id)
        .where(file.c.microscope == microscope, file.c.state == "held")
        .group_by(exposure.c.sample_id, sample.c.name, sample.c.experiment, problem)
        .order_by(func.count().desc())
        .limit(LISTED)
    )
    return tuple(Reason(**row, example_id=None) for row in connection.execute(query).mappings())


def _movies(
    connection: Connection, microscope: str, state: str, *, used_since: datetime | None = None
) -> tuple[Reason, ...]:
    problem = func.coalesce(movie.c.problem, "")
    groups = (
        select(
            movie.c.sample_id,
            sample.c.name.label("sample_name"),
            sample.c.experiment,
            problem.label("problem"),
            func.count().label("count"),
            func.max(movie.c.id).label("example_id"),
        )
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(
            sample.c.microscope == microscope,
            movie.c.state == state,
            *([] if used_since is None else [sample.c.last_active_at >= used_since]),
        )
        .group_by(movie.c.sample_id, sample.c.name, sample.c.experiment, problem)
        .order_by(func.count().desc(), func.max(movie.c.id).desc())
        .limit(LISTED)
        .subquery()
    )
    query = (
        select(groups, movie.c.run_name.label("example"))
        .join(movie, movie.c.id == groups.c.example_id)
        .order_by(groups.c.count.desc(), groups.c.example_id.desc())
    )
    return tuple(Reason(**row) for row in connection.execute(query).mappings())


def _unsent(connection: Connection, microscope: str) -> Outbox:
    query = (
        select(
            func.count().label("count"),
            func.min(trigger.c.created_at).label("since"),
            func.max(trigger.c.problem).label("problem"),
        )
        .join(movie, trigger.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(trigger.c.sent_at.is_(None), sample.c.microscope == microscope)
    )
    return Outbox(**connection.execute(query).mappings().one())


def _undelivered(connection: Connection, microscope: str) -> Outbox:
    homes = select(sample.c.experiment).where(sample.c.microscope == microscope).distinct()
    query = select(
        func.count().label("count"),
        func.min(delivery.c.created_at).label("since"),
        func.max(delivery.c.problem).label("problem"),
    ).where(delivery.c.delivered_at.is_(None), delivery.c.experiment.in_(homes))
    return Outbox(**connection.execute(query).mappings().one())


def _transferer(connection: Connection, microscope: str) -> Transferer | None:
    row = connection.execute(select(lease.c.holder, lease.c.expires_at).where(lease.c.microscope == microscope)).first()
    return None if row is None else Transferer(holder=row.holder, expires_at=row.expires_at)
