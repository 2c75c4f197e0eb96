"""Triggers whose run the scheduler lost or ended without a result, and copied movies without a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from cryodaq.domain.failures import Cause
from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.names import run_id
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import branch, exposure, file, movie, sample, stage_result, trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsettledTrigger:
    """A trigger that the scheduler took and that has no outcome."""

    id: int
    dag_id: str
    run_id: str
    sent_at: datetime
    reruns: int
    movie_id: int
    branch_id: int


def unsettled_triggers(connection: Connection, microscope: str, *, sent_before: datetime) -> list[UnsettledTrigger]:
    """Return a microscope's triggers that the scheduler took before a moment and of which nothing came yet."""
    query = (
        select(
            trigger.c.id,
            trigger.c.dag_id,
            trigger.c.run_id,
            trigger.c.sent_at,
            trigger.c.reruns,
            trigger.c.movie_id,
            trigger.c.branch_id,
        )
        .join(movie, trigger.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(trigger.c.sent_at < sent_before, trigger.c.settled_at.is_(None), sample.c.microscope == microscope)
        .order_by(trigger.c.id)
    )
    return [UnsettledTrigger(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name


def claim(connection: Connection, found: UnsettledTrigger) -> bool:
    """Lock a trigger for a decision; False when it was settled or sent anew meanwhile, or another one decides."""
    query = (
        select(trigger.c.id)
        .where(
            trigger.c.id == found.id,
            trigger.c.settled_at.is_(None),
            trigger.c.sent_at == found.sent_at,
            trigger.c.run_id == found.run_id,
        )
        .with_for_update(skip_locked=True)
    )
    return connection.execute(query).first() is not None


def newest_cause(connection: Connection, found: UnsettledTrigger) -> Cause:
    """Return why the movie's newest attempt failed; one without a word was lost with its process."""
    query = (
        select(stage_result.c.cause)
        .where(stage_result.c.movie_id == found.movie_id, stage_result.c.branch_id == found.branch_id)
        .order_by(stage_result.c.id.desc())
        .limit(1)
    )
    cause = connection.execute(query).scalar_one_or_none()
    return Cause(cause) if cause else Cause.LOST


def send_again(connection: Connection, found: UnsettledTrigger, *, at: datetime) -> None:
    """Have the same run sent once more: the scheduler does not know it."""
    connection.execute(update(trigger).where(trigger.c.id == found.id).values(sent_at=None, next_attempt_at=at))
    _back_to_the_queue(connection, found, "run_lost", at=at)


def run_anew(connection: Connection, found: UnsettledTrigger, *, not_before: datetime, at: datetime) -> str:
    """Have the movie processed by another run, because its run ended without a result; return the new run's id."""
    new = name_another_run(connection, found.id, not_before=not_before)
    _back_to_the_queue(connection, found, "run_failed", at=at)
    return new


def name_another_run(connection: Connection, trigger_id: int, *, not_before: datetime) -> str:
    """Have a trigger, settled or not, ask for another run than before; return the new run's id."""
    query = (
        select(movie.c.run_name, movie.c.version, movie.c.moves, branch.c.name, trigger.c.reruns)
        .select_from(trigger)
        .join(movie, movie.c.id == trigger.c.movie_id)
        .join(branch, branch.c.id == trigger.c.branch_id)
        .where(trigger.c.id == trigger_id)
    )
    row = connection.execute(query).one()
    reruns = row.reruns + 1
    new = run_id(row.run_name, version=row.version, branch=row.name, moves=row.moves, rerun=reruns)
    fresh = {"sent_at": None, "settled_at": None, "outcome": None, "problem": None, "next_attempt_at": not_before}
    connection.execute(update(trigger).where(trigger.c.id == trigger_id).values(run_id=new, reruns=reruns, **fresh))
    return new


def give_up(connection: Connection, found: UnsettledTrigger, *, at: datetime) -> None:
    """Record that the movie is not handed over again until a person asks for it."""
    connection.execute(update(trigger).where(trigger.c.id == found.id).values(settled_at=at, outcome="failed"))
    problem = func.coalesce(movie.c.problem, "its process died each time; see the stage's log and the node's memory")
    connection.execute(
        update(movie)
        .where(movie.c.id == found.movie_id, movie.c.state != "published")
        .values(state="failed", problem=problem)
    )
    _tell(connection, found, "movie_given_up", at=at)


def _back_to_the_queue(connection: Connection, found: UnsettledTrigger, kind: str, *, at: datetime) -> None:
    connection.execute(
        update(movie).where(movie.c.id == found.movie_id, movie.c.state != "published").values(state="queued")
    )
    _tell(connection, found, kind, at=at)


def _tell(connection: Connection, found: UnsettledTrigger, kind: str, *, at: datetime) -> None:
    query = (
        select(movie.c.sample_id, movie.c.experiment, sample.c.microscope)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(movie.c.id == found.movie_id)
    )
    row = connection.execute(query).one()
    subject = Subject(
        microscope=row.microscope, experiment=row.experiment, sample_id=row.sample_id, movie_id=found.movie_id
    )
    record_event(connection, kind, at=at, subject=subject, facts={"run_id": found.run_id, "reruns": found.reruns})


def copied_without_movie(connection: Connection, microscope: str, *, copied_before: datetime) -> list[tuple[int, str]]:
    """Return movie files that have an owner and a copy but no movie row, with the sample's id."""
    query = (
        select(file.c.id, exposure.c.sample_id)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .outerjoin(movie, movie.c.file_id == file.c.id)
        .where(
            file.c.microscope == microscope,
            file.c.role == FileRole.MOVIE,
            file.c.state.in_(("copied", "verified")),
            file.c.copied_at < copied_before,
            exposure.c.sample_id.is_not(None),
            exposure.c.decision != "baseline",
            movie.c.id.is_(None),
        )
        .order_by(file.c.id)
        .limit(500)
    )
    return [(int(row.id), str(row.sample_id)) for row in connection.execute(query)]
