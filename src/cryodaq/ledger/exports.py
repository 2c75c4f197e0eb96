"""What exports are built from, and the marks of a movie's publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, FromClause, Text, column, func, literal, select, true, update
from sqlalchemy.dialects.postgresql import JSONB

from cryodaq.ledger.events import record_event
from cryodaq.ledger.results import MovieToProcess
from cryodaq.ledger.tables import movie, stage_result, trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrographRow:
    """A movie whose alignment and CTF succeeded in one branch; the values are as the stages stored them."""

    movie_id: int
    micrograph: str
    micrograph_dose_weighted: str
    pixel_size_ang: float
    motion: Mapping[str, Any]  # Any: JSON of domain.results.MotionStatistics
    ctf: Mapping[str, Any]  # Any: JSON of domain.results.CtfFit
    parameters: Mapping[str, Any]  # Any: JSON of domain.parameters.ImagingParameters


def lock_exports(connection: Connection, branch_id: int) -> None:
    """Wait until no other transaction writes the exports of this branch; held until this one ends."""
    key = func.hashtextextended(literal(f"cryodaq exports of branch {branch_id}"), 0)
    connection.execute(select(func.pg_advisory_xact_lock(key)))


def micrographs_with_ctf(connection: Connection, branch_id: int) -> list[MicrographRow]:
    """Return the micrographs of a branch whose CTF was found, by movie; of a changed source the newest version."""
    align, ctf = _newest(branch_id, "align"), _newest(branch_id, "ctf")
    later = movie.alias("later")
    superseded = (
        select(later.c.id)
        .where(
            later.c.sample_id == movie.c.sample_id,
            later.c.path == movie.c.path,
            later.c.version > 1,
            later.c.version == movie.c.version + 1,
        )
        .exists()
    )
    aligned = _fields(
        align.c.result, micrograph=Text, micrograph_dose_weighted=Text, pixel_size_ang=Double, motion=JSONB
    )
    fitted = _fields(ctf.c.result, aligned=JSONB)
    query = (
        select(
            movie.c.id,
            aligned.c.micrograph,
            aligned.c.micrograph_dose_weighted,
            aligned.c.pixel_size_ang,
            aligned.c.motion,
            fitted.c.aligned.label("ctf"),
            trigger.c.parameters,
        )
        .select_from(movie)
        .join(align, align.c.movie_id == movie.c.id)
        .join(ctf, ctf.c.movie_id == movie.c.id)
        .join(trigger, (trigger.c.movie_id == movie.c.id) & (trigger.c.branch_id == branch_id))
        .join(aligned, true())
        .join(fitted, true())
        .where(~superseded)
        .order_by(movie.c.id)
    )
    return [
        MicrographRow(
            movie_id=row.id,
            micrograph=row.micrograph,
            micrograph_dose_weighted=row.micrograph_dose_weighted,
            pixel_size_ang=row.pixel_size_ang,
            motion=row.motion,
            ctf=row.ctf,
            parameters=row.parameters,
        )
        for row in connection.execute(query)
        if row.ctf["fitted"]
    ]


def _fields(result: ColumnElement[Any], **types: Any) -> FromClause:  # Any: SQLAlchemy's types of columns
    """Return some keys of a JSON object as columns, unpacking the object once instead of once a key."""
    columns = [column(name, kind) for name, kind in types.items()]
    return func.jsonb_to_record(result).table_valued(*columns).render_derived(with_types=True).lateral()


def mark_published(connection: Connection, published: MovieToProcess, *, at: datetime) -> bool:
    """Record that a movie's results are out. Return whether that is new."""
    changed = connection.execute(
        update(movie)
        .where(movie.c.id == published.movie_id, movie.c.state != "published")
        .values(state="published", published_at=func.coalesce(movie.c.published_at, at), problem=None)
        .returning(movie.c.id)
    ).first()
    if changed is None:
        return False
    facts = {"run_name": published.run_name}
    record_event(connection, "movie_published", at=at, subject=published.subject, facts=facts)
    return True


def _newest(branch_id: int, stage: str) -> FromClause:
    """Return the newest success of a stage of each movie, as a subquery with `movie_id` and `result`."""
    newer = stage_result.alias("newer")
    again = (
        select(newer.c.id)
        .where(
            newer.c.movie_id == stage_result.c.movie_id,
            newer.c.branch_id == stage_result.c.branch_id,
            newer.c.stage == stage_result.c.stage,
            newer.c.state == "succeeded",
            newer.c.attempt > stage_result.c.attempt,
        )
        .exists()
    )
    return (
        select(stage_result.c.movie_id, stage_result.c.result)
        .where(
            stage_result.c.branch_id == branch_id,
            stage_result.c.stage == stage,
            stage_result.c.state == "succeeded",
            ~again,
        )
        .subquery(stage)
    )
