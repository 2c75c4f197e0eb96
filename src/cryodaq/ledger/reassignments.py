"""What staff give from one sample to another: the plan, and every row that goes along with an exposure.

A plan is written before anything is touched. Copies and rows move in one transaction under the microscope's lease;
exports follow. Whatever crashes in between, the open plan says what to go on with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.ownership import Decision
from cryodaq.ledger.tables import (
    delivery,
    export_row,
    exposure,
    file,
    gain_copy,
    measurement,
    movie,
    reassignment,
    stage_result,
    trigger,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be given to another sample."""

    id: int
    microscope: str
    from_sample: str
    to_sample: str
    asked: Mapping[str, object]
    asked_by: str
    exposures: tuple[int, ...]
    state: str
    """planned, moved (files and rows; exports follow) or done."""
    facts: Mapping[str, Any]  # Any: counts, as JSON
    planned_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledMovie:
    """A movie that goes along."""

    id: int
    experiment: str
    run_name: str
    path: str
    version: int
    state: str
    file_id: int
    gain_target: str | None
    moves: int
    """How often it went along already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """One attempt of a stage as it is stored."""

    id: int
    result: Mapping[str, Any] | None  # Any: JSON of the stage
    log: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFolder:
    """One of the microscope's session folders, as far as its exposures are filed with a sample."""

    name: str
    exposures: int
    seen_from: datetime
    seen_until: datetime


def session_folders(connection: Connection, sample_id: str) -> list[SessionFolder]:
    """Return the session folders that a sample's exposures lie in, the newest first."""
    newest = func.max(exposure.c.seen_until)
    query = (
        select(
            exposure.c.acquisition_folder.label("name"),
            func.count().label("exposures"),
            func.min(exposure.c.seen_from).label("seen_from"),
            newest.label("seen_until"),
        )
        .where(exposure.c.sample_id == sample_id, exposure.c.acquisition_folder.is_not(None))
        .group_by(exposure.c.acquisition_folder)
        .order_by(newest.desc())
    )
    return [SessionFolder(**row) for row in connection.execute(query).mappings()]


def filed_exposures(
    connection: Connection, microscope: str, *, folder: str | None, since: datetime | None
) -> dict[str, list[int]]:
    """Return, for each owner, the exposures of a session folder, or first seen since a time, or both."""
    query = select(exposure.c.sample_id, exposure.c.id).where(
        exposure.c.microscope == microscope,
        exposure.c.sample_id.is_not(None),
        exposure.c.decision != Decision.BASELINE.value,
    )
    if folder is not None:
        query = query.where(exposure.c.acquisition_folder == folder)
    if since is not None:
        query = query.where(exposure.c.seen_until >= since)
    found: dict[str, list[int]] = {}
    for row in connection.execute(query.order_by(exposure.c.id)):
        found.setdefault(str(row.sample_id), []).append(int(row.id))
    return found


def occupied(connection: Connection, targets: Collection[str], *, except_exposures: Collection[int]) -> list[str]:
    """Return the places that other exposures' copies have already."""
    query = select(file.c.target).where(
        file.c.target == func.any(list(targets)), file.c.exposure_id != func.all(list(except_exposures))
    )
    return sorted(connection.execute(query).scalars())


def write_plan(
    connection: Connection,
    microscope: str,
    *,
    from_sample: str,
    to_sample: str,
    asked: Mapping[str, object],
    asked_by: str,
    exposures: Sequence[int],
    at: datetime,
) -> Plan:
    """Record what a person decided."""
    row = connection.execute(
        insert(reassignment)
        .values(
            microscope=microscope,
            from_sample=from_sample,
            to_sample=to_sample,
            asked=dict(asked),
            asked_by=asked_by,
            exposures=list(exposures),
            state="planned",
            planned_at=at,
        )
        .returning(reassignment)
    ).one()
    return _plan(row)


def open_plans(connection: Connection, microscope: str) -> list[Plan]:
    """Return what was begun and is not done, the oldest first."""
    query = select(reassignment).where(reassignment.c.microscope == microscope, reassignment.c.state != "done")
    return [_plan(row) for row in connection.execute(query.order_by(reassignment.c.id))]


def givers_since(connection: Connection, microscope: str, *, since: datetime) -> list[str]:
    """Return the samples that gave something away since a time, by id."""
    query = select(reassignment.c.from_sample).distinct()
    query = query.where(reassignment.c.microscope == microscope, reassignment.c.planned_at >= since)
    return sorted(connection.execute(query).scalars())


def lock_plan(connection: Connection, plan_id: int) -> Plan:
    """Return a plan as it is now; nobody else carries it out until the transaction ends."""
    query = select(reassignment).where(reassignment.c.id == plan_id).with_for_update()
    return _plan(connection.execute(query).one())


def set_state(
    connection: Connection, plan_id: int, state: str, *, at: datetime, facts: Mapping[str, object] | None = None
) -> None:
    """Record how far a plan is."""
    values: dict[str, object] = {"state": state, f"{state}_at": at}
    if facts is not None:
        values["facts"] = dict(facts)
    connection.execute(update(reassignment).where(reassignment.c.id == plan_id).values(**values))


def _plan(row: Row[tuple[Any, ...]]) -> Plan:  # Any: columns of several types
    values = row._mapping  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping
    fields = {name: values[name] for name in Plan.__dataclass_fields__}
    return Plan(**{**fields, "exposures": tuple(fields["exposures"])})


def lock_movies(connection: Connection, exposures: Collection[int]) -> list[FiledMovie]:
    """Return the movies of some exposures, earlier versions first; no stage begins or ends until this is over."""
    columns = tuple(movie.c[name] for name in FiledMovie.__dataclass_fields__)
    query = select(*columns).where(movie.c.exposure_id == func.any(list(exposures)))
    rows = connection.execute(query.order_by(movie.c.path, movie.c.version, movie.c.id).with_for_update()).all()
    numbers = [row.id for row in rows]
    connection.execute(
        select(stage_result.c.id).where(stage_result.c.movie_id == func.any(numbers)).with_for_update()
    ).all()
    return [FiledMovie(**row._mapping) for row in rows]  # noqa: SLF001  # public name


def published_movies(connection: Connection, exposures: Collection[int]) -> list[int]:
    """Return the movies of some exposures whose results are out."""
    query = select(movie.c.id).where(movie.c.exposure_id == func.any(list(exposures)), movie.c.state == "published")
    return list(connection.execute(query.order_by(movie.c.id)).scalars())


def give_movie(connection: Connection, movie_id: int, *, owner: Mapping[str, object], state: str) -> None:
    """Give a movie its new sample, experiment and names, and count the move."""
    anew = {"triggered_at": None, "published_at": None, "gain_target": None, "problem": None}
    values = {**owner, "state": state, "moves": movie.c.moves + 1, "beam_shift_group": None} | (
        {} if state == "published" else anew
    )
    connection.execute(update(movie).where(movie.c.id == movie_id).values(**values))
    connection.execute(delete(export_row).where(export_row.c.movie_id == movie_id))


def forget_processing(connection: Connection, movie_id: int, *, except_branch: int | None = None) -> None:
    """Take back triggers and results, of all branches or all but one; a run under way finds that it is not wanted."""
    for table in (measurement, stage_result, trigger):
        statement = delete(table).where(table.c.movie_id == movie_id)
        if except_branch is not None:
            statement = statement.where(table.c.branch_id != except_branch)
        connection.execute(statement)


def give_results(
    connection: Connection,
    movie_id: int,
    *,
    from_branch: int,
    to_branch: int,
    run: tuple[str, str],
    rewrite: Callable[[StoredResult], StoredResult],
) -> None:
    """Give a movie's trigger (`run` is its DAG's and its own id) and results to another sample's branch."""
    dag_id, run_id = run
    mine = (trigger.c.movie_id == movie_id) & (trigger.c.branch_id == from_branch)
    conf = {"movie_id": movie_id, "branch_id": to_branch}
    connection.execute(update(trigger).where(mine).values(branch_id=to_branch, dag_id=dag_id, run_id=run_id, conf=conf))
    measured = (measurement.c.movie_id == movie_id) & (measurement.c.branch_id == from_branch)
    connection.execute(update(measurement).where(measured).values(branch_id=to_branch))
    query = select(stage_result.c.id, stage_result.c.result, stage_result.c.log).where(
        stage_result.c.movie_id == movie_id, stage_result.c.branch_id == from_branch
    )
    for row in connection.execute(query).all():
        changed = rewrite(StoredResult(id=row.id, result=row.result, log=row.log))
        connection.execute(
            update(stage_result)
            .where(stage_result.c.id == row.id)
            .values(branch_id=to_branch, result=changed.result, log=changed.log)
        )


def forget_deliveries(connection: Connection, movie_id: int, *, plan_id: int) -> bool:
    """Take back what the elogbook was not told yet of a movie. Return whether its run was told of.

    What was told keeps its row under another key, so that the same can be told again of the new place.
    """
    prefix = f"movie-{movie_id}:"
    mine = delivery.c.key.startswith(prefix, autoescape=True)
    connection.execute(delete(delivery).where(mine, delivery.c.delivered_at.is_(None)))
    told = connection.execute(
        update(delivery)
        .where(mine)
        .values(key=func.concat(delivery.c.key, literal(f":before-{plan_id}")))
        .returning(delivery.c.call)
    ).scalars()
    return "start_run" in set(told)


def gain_of_copy(connection: Connection, sample_id: str, target: str) -> int | None:
    """Return the gain reference whose copy with a sample lies at a place, or None."""
    query = select(gain_copy.c.gain_id).where(gain_copy.c.sample_id == sample_id, gain_copy.c.target == target)
    return connection.execute(query).scalar_one_or_none()


def place_of_gain(connection: Connection, gain_id: int, sample_id: str) -> str | None:
    """Return where a gain reference's copy with a sample lies or will lie, or None."""
    query = select(gain_copy.c.target).where(gain_copy.c.gain_id == gain_id, gain_copy.c.sample_id == sample_id)
    return connection.execute(query).scalar_one_or_none()


def set_gain(connection: Connection, movie_id: int, target: str) -> None:
    """Record where the gain reference lies that a movie was corrected with."""
    connection.execute(update(movie).where(movie.c.id == movie_id).values(gain_target=target))
