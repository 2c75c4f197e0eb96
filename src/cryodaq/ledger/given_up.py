"""Movies that failed and are not tried again by themselves: which, at what, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, true, update

from cryodaq.domain.failures import Cause
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import branch, movie, sample, stage_result, trigger

_REFUSED = movie.c.gain_target == func.any(movie.c.refused_gains)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUpMovie:
    """A movie that is left to a person."""

    id: int
    run_name: str
    microscope: str
    experiment: str
    sample_id: str
    sample_name: str
    stage: str | None
    """At which it failed last; None where the scheduler refused it."""
    cause: Cause
    problem: str
    current_branch: str
    branch: str
    """In which it failed last."""


def given_up_movies(
    connection: Connection,
    *,
    experiment: str | None = None,
    sample_name: str | None = None,
    microscope: str | None = None,
) -> list[GivenUpMovie]:
    """Return the movies that nobody tries again, oldest first; None for a filter means all.

    Parameters
    ----------
    sample_name
        Name or id.
    """
    newest = (
        select(stage_result.c.stage, stage_result.c.cause)
        .where(stage_result.c.movie_id == movie.c.id, stage_result.c.branch_id == trigger.c.branch_id)
        .order_by(stage_result.c.id.desc())
        .limit(1)
        .lateral()
    )
    later = trigger.alias()
    newest_trigger = select(func.max(later.c.id)).where(later.c.movie_id == movie.c.id).scalar_subquery()
    unsettled = select(later.c.id).where(later.c.movie_id == movie.c.id, later.c.settled_at.is_(None)).exists()
    query = (
        select(
            movie.c.id,
            movie.c.run_name,
            sample.c.microscope,
            movie.c.experiment,
            movie.c.sample_id,
            sample.c.name.label("sample_name"),
            newest.c.stage,
            func.coalesce(newest.c.cause, Cause.LOST.value).label("cause"),
            func.coalesce(movie.c.problem, "").label("problem"),
            sample.c.current_branch,
            branch.c.name.label("branch"),
        )
        .select_from(movie)
        .join(sample, movie.c.sample_id == sample.c.id)
        .join(trigger, and_(trigger.c.movie_id == movie.c.id, trigger.c.id == newest_trigger))
        .join(branch, trigger.c.branch_id == branch.c.id)
        .outerjoin(newest, true())
        .where(movie.c.state == "failed", ~unsettled)
        .order_by(movie.c.id)
    )
    if experiment is not None:
        query = query.where(movie.c.experiment == experiment)
    if sample_name is not None:
        query = query.where(or_(sample.c.name == sample_name, sample.c.id == sample_name))
    if microscope is not None:
        query = query.where(sample.c.microscope == microscope)
    return [GivenUpMovie(**{**row, "cause": Cause(row["cause"])}) for row in connection.execute(query).mappings()]


def admit_again(connection: Connection, found: GivenUpMovie, *, asked_by: str, at: datetime) -> bool:
    """Have a movie that failed in another branch decided about anew, with the parameters of the current one.

    False when somebody else was quicker.
    """
    if not decide_anew(connection, found.id):
        return False
    subject = Subject(
        microscope=found.microscope, experiment=found.experiment, sample_id=found.sample_id, movie_id=found.id
    )
    facts = {"branch": found.current_branch, "by": asked_by}
    record_event(connection, "run_asked_for", at=at, subject=subject, facts=facts)
    return True


def decide_anew(connection: Connection, movie_id: int, *, only_with_refused_gain: bool = False) -> bool:
    """Have a failed movie wait for a decision again, without the gain reference that its frames contradicted.

    False where it has not failed, or, if only such are meant, where its gain reference was not contradicted.
    """
    meant = [movie.c.id == movie_id, *([_REFUSED] if only_with_refused_gain else [])]
    return _decide_anew(connection, meant) > 0


def decide_branch_anew(connection: Connection, branch_id: int) -> None:
    """Have failed movies of a branch wait for another gain reference, where their frames contradicted theirs."""
    mine = select(trigger.c.movie_id).where(trigger.c.branch_id == branch_id)
    _decide_anew(connection, [movie.c.id.in_(mine), _REFUSED])


def _decide_anew(connection: Connection, meant: Sequence[ColumnElement[bool]]) -> int:
    values = {"state": "registered", "problem": None, "gain_target": case((~_REFUSED, movie.c.gain_target))}
    return connection.execute(update(movie).where(*meant, movie.c.state == "failed").values(**values)).rowcount
