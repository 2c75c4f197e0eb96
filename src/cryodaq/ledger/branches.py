"""Branches of a sample's parameters beside each other: how far they are, how they compare, which is current."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.events import record_event
from cryodaq.ledger.measurements import QUANTITIES
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ledger.tables import (
    branch,
    export_row,
    export_state,
    measurement,
    movie,
    sample,
    stage_result,
    trigger,
)
from cryodaq.ledger.triggers import UNDECIDED
from cryodaq.ledger.versions import superseded

AT_ONCE = 500
"""Triggers written in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchState:
    """One branch of a sample, and how far it is."""

    id: int
    name: str
    settings: Mapping[str, object]
    software_version: str
    created_at: datetime
    is_current: bool
    movies: int
    """That were or will be processed in it."""
    published: int
    failed: int
    in_flight: int
    """Given to the scheduler, without an outcome."""
    undecided: int
    """Not given to it yet, because they wait for something of their own, such as a gain reference."""

    @property
    def waiting(self) -> int:
        """Movies that wait behind live ones."""
        return self.movies - self.published - self.failed - self.in_flight


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieAgain:
    """A movie that could be processed once more."""

    id: int
    run_name: str
    version: int
    moves: int
    metadata: Mapping[str, object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity of the movies that both branches measured."""

    key: str
    movies: int
    median_first: float
    median_second: float
    smaller: int
    """Movies in which the second branch has less."""


def branch_states(connection: Connection, sample_id: str) -> list[BranchState]:
    """Return a sample's branches, oldest first."""
    done = trigger.c.settled_at.is_not(None)
    query = (
        select(
            branch.c.id,
            branch.c.name,
            branch.c.settings,
            branch.c.software_version,
            branch.c.created_at,
            (branch.c.name == sample.c.current_branch).label("is_current"),
            func.count(trigger.c.id).label("movies"),
            func.count(trigger.c.id).filter(done, trigger.c.outcome == "published").label("published"),
            func.count(trigger.c.id).filter(done, trigger.c.outcome != "published").label("failed"),
            func.count(trigger.c.id).filter(~done, trigger.c.sent_at.is_not(None)).label("in_flight"),
            func.count(trigger.c.id).filter(~done, movie.c.state.in_(UNDECIDED)).label("undecided"),
        )
        .select_from(branch)
        .join(sample, branch.c.sample_id == sample.c.id)
        .outerjoin(trigger, trigger.c.branch_id == branch.c.id)
        .outerjoin(movie, trigger.c.movie_id == movie.c.id)
        .where(branch.c.sample_id == sample_id)
        .group_by(branch.c.id, sample.c.current_branch)
        .order_by(branch.c.id)
    )
    return [BranchState(**row) for row in connection.execute(query).mappings()]


def movies_to_process_again(connection: Connection, sample_id: str) -> list[MovieAgain]:
    """Return the movies of a sample that were published or failed; of a changed source the newest version."""
    columns = [movie.c[name] for name in MovieAgain.__dataclass_fields__]
    query = select(*columns).where(
        movie.c.sample_id == sample_id, movie.c.state.in_(("published", "failed")), ~superseded(movie, of="sample_id")
    )
    return [MovieAgain(**row) for row in connection.execute(query.order_by(movie.c.id)).mappings()]


def queue_again(
    connection: Connection,
    branch_id: int,
    *,
    dag_id: str,
    runs: Sequence[tuple[int, str, Mapping[str, object]]],
    at: datetime,
) -> None:
    """Write triggers of movies into the outbox: (movie id, run id, parameters). What is published stays so."""
    rows = [
        {
            "movie_id": movie_id,
            "branch_id": branch_id,
            "dag_id": dag_id,
            "run_id": run_id,
            "conf": {"movie_id": movie_id, "branch_id": branch_id},
            "parameters": dict(parameters),
            "created_at": at,
            "next_attempt_at": at,
        }
        for movie_id, run_id, parameters in runs
    ]
    for first in range(0, len(rows), AT_ONCE):
        statement = insert(trigger).on_conflict_do_nothing(constraint="uq_trigger_movie")
        connection.execute(statement, rows[first : first + AT_ONCE])


def set_current(connection: Connection, found: SampleRecord, name: str, *, asked_by: str, at: datetime) -> None:
    """Let new movies be processed in a branch, and pages show it."""
    connection.execute(update(sample).where(sample.c.id == found.id).values(current_branch=name))
    facts = {"branch": name, "by": asked_by}
    record_event(connection, "branch_current", at=at, subject=found.subject, facts=facts)


def published_in(connection: Connection, branch_id: int) -> list[int]:
    """Return the movies whose results in a branch are out."""
    query = select(trigger.c.movie_id).where(trigger.c.branch_id == branch_id, trigger.c.outcome == "published")
    return [int(number) for number in connection.execute(query.order_by(trigger.c.movie_id)).scalars()]


def forget_branch(
    connection: Connection, found: SampleRecord, state: BranchState, *, asked_by: str, at: datetime
) -> None:
    """Delete a branch's rows: triggers that wait, results, measurements, exports.

    Movies that were published in it alone are failed again, as before it.
    """
    _fail_again(connection, state.id)
    for table in (measurement, export_row, export_state, stage_result, trigger):
        connection.execute(delete(table).where(table.c.branch_id == state.id))
    connection.execute(delete(branch).where(branch.c.id == state.id))
    facts = {"branch": state.name, "by": asked_by}
    record_event(connection, "branch_deleted", at=at, subject=found.subject, facts=facts)


def _fail_again(connection: Connection, branch_id: int) -> None:
    """Give the movies that only one branch published the state and the problem that they have without it."""
    elsewhere = trigger.alias("elsewhere")
    mine = select(trigger.c.movie_id).where(trigger.c.branch_id == branch_id, trigger.c.outcome == "published")
    kept = select(elsewhere.c.id).where(
        elsewhere.c.movie_id == movie.c.id, elsewhere.c.branch_id != branch_id, elsewhere.c.outcome == "published"
    )
    failed = stage_result.alias("failed")
    problem = (
        select(failed.c.stage + ": " + failed.c.problem)
        .where(failed.c.movie_id == movie.c.id, failed.c.branch_id != branch_id, failed.c.problem.is_not(None))
        .order_by(failed.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(
        update(movie)
        .where(movie.c.id.in_(mine), movie.c.state == "published", ~kept.exists())
        .values(state="failed", problem=problem, published_at=None)
    )


def compare(connection: Connection, first_id: int, second_id: int) -> list[Comparison]:
    """Return how two branches measured the movies that both have; a quantity that none has is left out."""
    first, second = measurement.alias("first"), measurement.alias("second")
    made = []
    for key in QUANTITIES:
        one, two = first.c[key], second.c[key]
        query = (
            select(
                func.count().label("movies"),
                func.percentile_cont(0.5).within_group(one).label("median_first"),
                func.percentile_cont(0.5).within_group(two).label("median_second"),
                func.count().filter(two < one).label("smaller"),
            )
            .select_from(first)
            .join(second, and_(second.c.movie_id == first.c.movie_id, second.c.branch_id == second_id))
            .where(first.c.branch_id == first_id, one.is_not(None), two.is_not(None))
        )
        row = connection.execute(query).mappings().one()
        if row["movies"]:
            made.append(Comparison(key=key, **row))
    return made
