"""What each stage did to each movie: every attempt with its result or its problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select, update

from cryodaq.domain.failures import Cause
from cryodaq.domain.names import product_name
from cryodaq.errors import LedgerError
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.measurements import note_measurement
from cryodaq.ledger.tables import branch, experiment, file, movie, sample, stage_result, trigger

STAGES = ("align", "ctf", "pick", "publish")


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieToProcess:
    """Everything that a stage needs to know about one movie in one branch."""

    movie_id: int
    branch_id: int
    branch_name: str
    is_current: bool
    """Whether the branch is the sample's current one, which people and the elogbook are shown."""
    experiment: str
    microscope: str
    sample_id: str
    sample_folder: str
    run_name: str
    version: int
    state: str
    source: str
    """Absolute path of the verified copy."""
    source_xxh3_128: str
    source_size_bytes: int
    gain: str | None
    """Absolute path of the gain reference's copy; None when the movie needs none."""
    parameters: Mapping[str, object]
    """`domain.parameters.to_mapping` of the record decided at the trigger."""

    @property
    def product_name(self) -> str:
        """What its products are named: a changed source never touches those of its first version."""
        return product_name(self.run_name, self.version)

    @property
    def subject(self) -> Subject:
        """What its events are about."""
        return Subject(
            microscope=self.microscope,
            experiment=self.experiment,
            sample_id=self.sample_id,
            movie_id=self.movie_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one stage."""

    id: int
    number: int


def movie_to_process(connection: Connection, movie_id: int, branch_id: int) -> MovieToProcess | None:
    """Return a movie with its branch's decisions, or None when it was never triggered in that branch."""
    query = (
        select(
            movie.c.id.label("movie_id"),
            branch.c.id.label("branch_id"),
            branch.c.name.label("branch_name"),
            (branch.c.name == sample.c.current_branch).label("is_current"),
            movie.c.experiment,
            experiment.c.microscope,
            movie.c.sample_id,
            sample.c.folder.label("sample_folder"),
            movie.c.run_name,
            movie.c.version,
            movie.c.state,
            file.c.target.label("source"),
            file.c.xxh3_128.label("source_xxh3_128"),
            file.c.size_bytes.label("source_size_bytes"),
            movie.c.gain_target.label("gain"),
            trigger.c.parameters,
        )
        .select_from(movie)
        .join(file, movie.c.file_id == file.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .join(experiment, movie.c.experiment == experiment.c.name)
        .join(trigger, trigger.c.movie_id == movie.c.id)
        .join(branch, trigger.c.branch_id == branch.c.id)
        .where(movie.c.id == movie_id, branch.c.id == branch_id)
    )
    row = connection.execute(query).first()
    return None if row is None else MovieToProcess(**row._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def check_wanted(connection: Connection, target: MovieToProcess) -> None:
    """Hold a movie's row until the transaction ends. Raises `LedgerError` when it was given to another sample."""
    owner = connection.execute(
        select(movie.c.sample_id).where(movie.c.id == target.movie_id).with_for_update()
    ).scalar_one()
    if owner != target.sample_id:
        message = f"{target.run_name} was given to another sample meanwhile; it is processed there"
        raise LedgerError(message)


def begin_attempt(connection: Connection, target: MovieToProcess, stage: str, *, log: str, at: datetime) -> Attempt:
    """Record that a stage begins; attempts of one stage are counted from 1.

    Raises `LedgerError` when the movie was given to another sample meanwhile.
    """
    mine = and_(
        stage_result.c.movie_id == target.movie_id,
        stage_result.c.branch_id == target.branch_id,
        stage_result.c.stage == stage,
    )
    check_wanted(connection, target)
    number = 1 + int(
        connection.execute(select(func.coalesce(func.max(stage_result.c.attempt), 0)).where(mine)).scalar_one()
    )
    connection.execute(
        update(stage_result)
        .where(mine, stage_result.c.state == "running")
        .values(state="failed", ended_at=at, problem="the attempt was lost with its process", cause=Cause.LOST)
    )
    attempt_id = connection.execute(
        stage_result.insert()
        .values(
            movie_id=target.movie_id,
            branch_id=target.branch_id,
            stage=stage,
            attempt=number,
            state="running",
            started_at=at,
            log=log,
        )
        .returning(stage_result.c.id)
    ).scalar_one()
    connection.execute(
        update(movie)
        .where(movie.c.id == target.movie_id, movie.c.state != "published")
        .values(state="processing", problem=None)
    )
    _settle(connection, target, None, at=at)  # somebody had a failed stage done again
    record_event(connection, "stage_started", at=at, subject=target.subject, facts={"stage": stage, "attempt": number})
    return Attempt(id=int(attempt_id), number=number)


def succeed(
    connection: Connection,
    target: MovieToProcess,
    attempt: Attempt,
    *,
    stage: str,
    result: Mapping[str, object],
    at: datetime,
) -> None:
    """Record a stage's result. Raises `LedgerError` when the movie was given to another sample meanwhile."""
    check_wanted(connection, target)
    connection.execute(
        update(stage_result)
        .where(stage_result.c.id == attempt.id)
        .values(state="succeeded", ended_at=at, result=dict(result), problem=None, cause=None)
    )
    note_measurement(connection, target.movie_id, target.branch_id, stage=stage, result=result)
    if stage == STAGES[-1]:
        _settle(connection, target, "published", at=at)
    record_event(connection, "stage_succeeded", at=at, subject=target.subject, facts={"stage": stage})


def fail(
    connection: Connection,
    target: MovieToProcess,
    attempt: Attempt,
    *,
    stage: str,
    problem: str,
    cause: Cause,
    at: datetime,
) -> None:
    """Record why a stage failed; the movie shows it until another attempt begins.

    An attempt that was taken over meanwhile, because its worker was thought lost or because the movie was given to
    another sample, no longer speaks for the movie.
    """
    mine = stage_result.c.id == attempt.id
    ended = connection.execute(
        update(stage_result)
        .where(mine, stage_result.c.state == "running")
        .values(state="failed", ended_at=at, problem=problem, cause=cause)
    )
    if not ended.rowcount:
        return
    if cause is Cause.LASTING:
        _settle(connection, target, "failed", at=at)
    connection.execute(
        update(movie)
        .where(movie.c.id == target.movie_id, movie.c.state != "published")
        .values(state="failed", problem=f"{stage}: {problem}")
    )
    record_event(connection, "stage_failed", at=at, subject=target.subject, facts={"stage": stage, "problem": problem})


def _settle(connection: Connection, target: MovieToProcess, outcome: str | None, *, at: datetime) -> None:
    """Record that nothing more is to come of a movie's trigger, or (None) that there is again."""
    statement = update(trigger).where(trigger.c.movie_id == target.movie_id, trigger.c.branch_id == target.branch_id)
    if outcome is None:
        statement = statement.where(trigger.c.outcome == "failed")
    connection.execute(statement.values(outcome=outcome, settled_at=None if outcome is None else at, problem=None))


def latest_results(connection: Connection, movie_id: int, branch_id: int) -> dict[str, Mapping[str, object]]:
    """Return the newest successful result of each stage of a movie."""
    query = (
        select(stage_result.c.stage, stage_result.c.result)
        .where(
            stage_result.c.movie_id == movie_id,
            stage_result.c.branch_id == branch_id,
            stage_result.c.state == "succeeded",
        )
        .order_by(stage_result.c.attempt)
    )
    return {row.stage: row.result for row in connection.execute(query)}
