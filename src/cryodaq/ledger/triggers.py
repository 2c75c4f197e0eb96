"""Movies on their way to the scheduler: what waits for what, and the outbox of triggers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.names import run_id
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.healing import name_another_run
from cryodaq.ledger.samples import Branch
from cryodaq.ledger.tables import branch, exposure, file, gain_copy, gain_reference, movie, sample, trigger

LONGEST_PAUSE = timedelta(seconds=60)
"""Between two attempts to send the same trigger."""
UNDECIDED = ("registered", "waiting")
"""States of movies that are copied and not handed over: metadata, gain reference or parameters are to be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingMovie:
    """A copied movie that was not handed to the scheduler yet."""

    id: int
    sample_id: str
    experiment: str
    microscope: str
    run_name: str
    version: int
    path: str
    file_id: int
    exposure_id: int
    source_mtime_ns: int
    """The microscope's clock."""
    size_bytes: int
    frame_count: int | None
    """Frames that the file holds; None where that was not counted."""
    xxh3_128: str
    target: str
    """Absolute path of the copy."""
    copied_at: datetime
    metadata: Mapping[str, object] | None
    gain_target: str | None
    refused_gains: Collection[str]
    """Copies of gain references that its own frames contradicted."""
    problem: str | None
    registered_at: datetime
    moves: int
    """How often it was given to another sample."""

    @property
    def subject(self) -> Subject:
        """What its events are about."""
        return Subject(
            microscope=self.microscope, experiment=self.experiment, sample_id=self.sample_id, movie_id=self.id
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GainCandidate:
    """A gain reference that a movie could be corrected with."""

    name: str
    mtime_ns: int
    """The microscope's clock."""
    target: str | None
    """Absolute path of its copy with this sample; None when it must be fetched from the gain root first."""
    reference_id: int | None
    """Its row of the gain root; None for a file of the session itself."""
    problem: str | None = None
    """Why it could not be copied so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTrigger:
    """A trigger to send now."""

    id: int
    movie_id: int
    sample_id: str
    dag_id: str
    run_id: str
    conf: Mapping[str, object]
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSample:
    """Movies of one sample that wait for the same reason."""

    sample_id: str
    experiment: str
    sample_name: str
    movies: int
    problem: str


def waiting_samples(connection: Connection, microscope: str, *, since: datetime | None = None) -> list[WaitingSample]:
    """Return why movies of a microscope wait, by sample, the most movies first.

    Parameters
    ----------
    since
        Only movies that were copied before count.
    """
    query = (
        select(
            movie.c.sample_id,
            movie.c.experiment,
            sample.c.name.label("sample_name"),
            func.count().label("movies"),
            movie.c.problem,
        )
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(sample.c.microscope == microscope, movie.c.state == "waiting", movie.c.problem.is_not(None))
        .group_by(movie.c.sample_id, movie.c.experiment, sample.c.name, movie.c.problem)
        .order_by(func.count().desc(), movie.c.problem)
    )
    if since is not None:
        query = query.where(movie.c.registered_at < since)
    return [WaitingSample(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name


def waiting_movies(
    connection: Connection,
    microscope: str,
    *,
    states: Collection[str] = UNDECIDED,
    limit: int = 500,
) -> list[WaitingMovie]:
    """Return the microscope's movies that are copied and not yet triggered, oldest first.

    At most `limit` of each sample and state, so that those that wait for a person stand in nobody's way.
    """
    place = func.row_number().over(partition_by=(movie.c.sample_id, movie.c.state), order_by=movie.c.id)
    first = (
        select(movie.c.id, place.label("place"))
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(sample.c.microscope == microscope, movie.c.state.in_(sorted(states)))
        .subquery()
    )
    query = _movies().join(first, movie.c.id == first.c.id).where(first.c.place <= limit).order_by(movie.c.id)
    return [WaitingMovie(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name


def _movies() -> Select[tuple[object, ...]]:
    return (
        select(
            movie.c.id,
            movie.c.sample_id,
            movie.c.experiment,
            sample.c.microscope,
            movie.c.run_name,
            movie.c.version,
            movie.c.path,
            movie.c.file_id,
            movie.c.exposure_id,
            file.c.mtime_ns.label("source_mtime_ns"),
            file.c.size_bytes,
            file.c.frame_count,
            file.c.xxh3_128,
            file.c.target,
            file.c.copied_at,
            movie.c.metadata,
            movie.c.gain_target,
            movie.c.refused_gains,
            movie.c.problem,
            movie.c.registered_at,
            movie.c.moves,
        )
        .select_from(movie)
        .join(file, movie.c.file_id == file.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
    )


def find_movie(connection: Connection, movie_id: int) -> WaitingMovie:
    """Return one movie, whatever its state."""
    row = connection.execute(_movies().where(movie.c.id == movie_id)).one()
    return WaitingMovie(**row._mapping)  # noqa: SLF001  # public name


def copied_metadata_files(connection: Connection, exposure_id: int) -> list[str]:
    """Return the absolute paths of an exposure's copied metadata files."""
    query = select(file.c.target).where(
        file.c.exposure_id == exposure_id,
        file.c.role == "metadata",
        file.c.state.in_(("copied", "verified")),
    )
    return [str(target) for target in connection.execute(query.order_by(file.c.path)).scalars()]


def copied_file_called(connection: Connection, sample_id: str, name: str) -> str | None:
    """Return where the newest copied file of a sample with a base name lies; None where there is none."""
    query = (
        select(file.c.target)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(
            exposure.c.sample_id == sample_id,
            or_(file.c.path == name, file.c.path.endswith(f"/{name}", autoescape=True)),
            file.c.state.in_(("copied", "verified")),
        )
        .order_by(file.c.id.desc())
    )
    found = connection.execute(query.limit(1)).scalar_one_or_none()
    return None if found is None else str(found)


def save_metadata(connection: Connection, movie_id: int, metadata: Mapping[str, object]) -> None:
    """Keep what the acquisition program said about a movie."""
    connection.execute(update(movie).where(movie.c.id == movie_id).values(metadata=dict(metadata)))


def gain_candidates(connection: Connection, waiting: WaitingMovie) -> list[GainCandidate]:
    """Return the gains of the sample's own session and of the microscope's gain root, newest first."""
    own = (
        select(file.c.path, file.c.mtime_ns, file.c.target)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(
            exposure.c.sample_id == waiting.sample_id,
            file.c.role == "gain",
            file.c.state.in_(("copied", "verified")),
        )
    )
    found = [
        GainCandidate(name=row.path.rpartition("/")[2], mtime_ns=row.mtime_ns, target=row.target, reference_id=None)
        for row in connection.execute(own)
    ]
    copied = gain_copy.c.copied_at.is_not(None)
    root = (
        select(
            gain_reference.c.id,
            gain_reference.c.path,
            gain_reference.c.mtime_ns,
            case((copied, gain_copy.c.target)).label("target"),
            case((~copied, gain_copy.c.problem)).label("problem"),
        )
        .select_from(gain_reference)
        .outerjoin(
            gain_copy,
            and_(gain_copy.c.gain_id == gain_reference.c.id, gain_copy.c.sample_id == waiting.sample_id),
        )
        .where(gain_reference.c.microscope == waiting.microscope, gain_reference.c.settled_at.is_not(None))
    )
    found += [
        GainCandidate(
            name=row.path.rpartition("/")[2],
            mtime_ns=row.mtime_ns,
            target=row.target,
            reference_id=row.id,
            problem=row.problem,
        )
        for row in connection.execute(root)
    ]
    return sorted(found, key=lambda gain: gain.mtime_ns, reverse=True)


def has_unsettled_gain(connection: Connection, microscope: str) -> bool:
    """Whether a gain reference is still being written on the gain root: it may be the right one."""
    query = select(gain_reference.c.id).where(
        gain_reference.c.microscope == microscope, gain_reference.c.settled_at.is_(None)
    )
    return connection.execute(query.limit(1)).first() is not None


def want_gain(connection: Connection, gain_id: int, *, sample_id: str, target: str, at: datetime) -> None:
    """Ask the transfer to copy a gain reference to a sample."""
    connection.execute(
        insert(gain_copy)
        .values(gain_id=gain_id, sample_id=sample_id, target=target, wanted_at=at)
        .on_conflict_do_nothing()
    )


def bind_gain(connection: Connection, movie_id: int, target: str) -> None:
    """Bind the copy of a gain reference to a movie for good."""
    connection.execute(update(movie).where(movie.c.id == movie_id).values(gain_target=target))


def refuse_gain(connection: Connection, movie_id: int, target: str) -> None:
    """Record that a movie's own frames contradict a gain reference: run again, it gets another one."""
    known = func.array_position(movie.c.refused_gains, target).is_not(None)
    refused = func.array_append(movie.c.refused_gains, target)
    connection.execute(update(movie).where(movie.c.id == movie_id, ~known).values(refused_gains=refused))


def keep_waiting(connection: Connection, waiting: WaitingMovie, problem: str, *, at: datetime) -> None:
    """Record, once, why a movie is not processed yet."""
    if waiting.problem == problem:
        return
    connection.execute(update(movie).where(movie.c.id == waiting.id).values(state="waiting", problem=problem))
    record_event(connection, "movie_waits", at=at, subject=waiting.subject, facts={"problem": problem})


def keep_unprocessed(connection: Connection, waiting: WaitingMovie, reason: str, *, at: datetime) -> None:
    """Record that a movie is copied and registered only."""
    connection.execute(update(movie).where(movie.c.id == waiting.id).values(state="kept", problem=reason))
    record_event(connection, "movie_kept", at=at, subject=waiting.subject, facts={"reason": reason})


def queue_trigger(
    connection: Connection,
    waiting: WaitingMovie,
    *,
    branch_of: Branch,
    dag_id: str,
    parameters: Mapping[str, object],
    at: datetime,
) -> None:
    """Write a movie's trigger into the outbox; its run id is unique before it is ever sent.

    A movie that was given up in the branch and decided about anew goes once more, by a run of its own.
    """
    name = run_id(waiting.run_name, version=waiting.version, branch=branch_of.name, moves=waiting.moves)
    made = connection.execute(
        insert(trigger)
        .values(
            movie_id=waiting.id,
            branch_id=branch_of.id,
            dag_id=dag_id,
            run_id=name,
            conf={"movie_id": waiting.id, "branch_id": branch_of.id},
            parameters=dict(parameters),
            created_at=at,
            next_attempt_at=at,
        )
        .on_conflict_do_nothing(constraint="uq_trigger_movie")
        .returning(trigger.c.id)
    ).first()
    if made is None:
        name = _queue_once_more(connection, waiting, branch_of=branch_of, parameters=parameters, at=at)
    connection.execute(update(movie).where(movie.c.id == waiting.id).values(state="queued", problem=None))
    record_event(connection, "movie_queued", at=at, subject=waiting.subject, facts={"run_id": name})


def _queue_once_more(
    connection: Connection,
    waiting: WaitingMovie,
    *,
    branch_of: Branch,
    parameters: Mapping[str, object],
    at: datetime,
) -> str:
    """Return the id of the run that the movie's trigger asks for; a trigger that is settled asks for a new one."""
    mine = trigger.c.movie_id == waiting.id, trigger.c.branch_id == branch_of.id
    columns = (trigger.c.id, trigger.c.run_id, trigger.c.settled_at)
    row = connection.execute(select(*columns).where(*mine).with_for_update()).one()
    if row.settled_at is None:
        return str(row.run_id)
    connection.execute(update(trigger).where(trigger.c.id == row.id).values(parameters=dict(parameters)))
    return name_another_run(connection, row.id, not_before=at)


def next_trigger(connection: Connection, microscope: str, *, at: datetime) -> DueTrigger | None:
    """Lock and return the trigger that is to be sent now; None when there is none.

    Only for samples whose DAG the scheduler has read, and for movies of which nothing is undecided: one that is to get
    another gain reference waits for it in all its branches. What is collected now comes before what waits longer, and
    both before what is processed once more. The movie is locked as well, as stages lock it before its trigger: a run
    that is quicker than our note of it waits for the note.
    """
    query = (
        select(trigger, movie.c.sample_id)
        .join(movie, trigger.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .join(branch, trigger.c.branch_id == branch.c.id)
        .where(
            trigger.c.sent_at.is_(None),
            trigger.c.settled_at.is_(None),
            trigger.c.next_attempt_at <= at,
            sample.c.microscope == microscope,
            sample.c.dag_state == "parsed",
            movie.c.state.not_in(UNDECIDED),
        )
        .order_by((branch.c.name == sample.c.current_branch).desc(), trigger.c.id.desc())
        .limit(1)
        .with_for_update(of=[trigger, movie], skip_locked=True)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return DueTrigger(
        id=row.id,
        movie_id=row.movie_id,
        sample_id=row.sample_id,
        dag_id=row.dag_id,
        run_id=row.run_id,
        conf=row.conf,
        attempts=row.attempts,
    )


def in_flight(connection: Connection, microscope: str) -> int:
    """Return how many of a microscope's movies the scheduler was given and no outcome is known of."""
    query = (
        select(func.count())
        .select_from(trigger)
        .join(movie, trigger.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(trigger.c.sent_at.is_not(None), trigger.c.settled_at.is_(None), sample.c.microscope == microscope)
    )
    return int(connection.execute(query).scalar_one())


def samples_with_unsent_triggers(connection: Connection, microscope: str) -> list[str]:
    """Return the ids of samples whose triggers wait for a DAG that is not parsed (retired, new or broken)."""
    query = (
        select(movie.c.sample_id)
        .distinct()
        .select_from(trigger)
        .join(movie, trigger.c.movie_id == movie.c.id)
        .join(sample, movie.c.sample_id == sample.c.id)
        .where(
            trigger.c.sent_at.is_(None),
            trigger.c.settled_at.is_(None),
            sample.c.microscope == microscope,
            sample.c.dag_state != "parsed",
        )
    )
    return list(connection.execute(query).scalars())


def mark_sent(connection: Connection, due: DueTrigger, *, at: datetime) -> None:
    """Record that the scheduler has the run."""
    connection.execute(
        update(trigger).where(trigger.c.id == due.id).values(sent_at=at, attempts=trigger.c.attempts + 1, problem=None)
    )
    row = connection.execute(
        update(movie)
        .where(movie.c.id == due.movie_id)
        .values(
            triggered_at=func.coalesce(movie.c.triggered_at, at),
            state=_unless_further("triggered"),
        )
        .returning(movie.c.experiment, movie.c.sample_id)
    ).one()
    subject = Subject(experiment=row.experiment, sample_id=row.sample_id, movie_id=due.movie_id)
    record_event(connection, "movie_triggered", at=at, subject=subject, facts={"run_id": due.run_id})


def _unless_further(state: str) -> ColumnElement[str]:
    """Return the new state, except where the run was quicker than our note of it."""
    return case((or_(movie.c.state == "queued", movie.c.state == "waiting"), state), else_=movie.c.state)


def mark_unsent(connection: Connection, due: DueTrigger, problem: str, *, at: datetime) -> None:
    """Record why a trigger could not be sent, and when it is tried again (doubling, at most a minute)."""
    pause = min(LONGEST_PAUSE, timedelta(seconds=2.0 ** min(due.attempts, 6)))
    connection.execute(
        update(trigger)
        .where(trigger.c.id == due.id)
        .values(attempts=trigger.c.attempts + 1, problem=problem, next_attempt_at=at + pause)
    )


def refuse_trigger(connection: Connection, due: DueTrigger, problem: str, *, at: datetime) -> None:
    """Record that the scheduler refused for good; the movie shows why."""
    connection.execute(
        update(trigger)
        .where(trigger.c.id == due.id)
        .values(attempts=trigger.c.attempts + 1, problem=problem, settled_at=at, outcome="failed")
    )
    row = connection.execute(
        update(movie)
        .where(movie.c.id == due.movie_id)
        .values(
            state=case((movie.c.state == "published", movie.c.state), else_="failed"),
            problem=case((movie.c.state == "published", movie.c.problem), else_=problem),
        )
        .returning(movie.c.experiment, movie.c.sample_id)
    ).one()
    subject = Subject(experiment=row.experiment, sample_id=row.sample_id, movie_id=due.movie_id)
    record_event(connection, "trigger_refused", at=at, subject=subject, facts={"problem": problem})
