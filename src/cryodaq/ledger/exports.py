"""What exports are built from, and the marks of a movie's publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from cryodaq.ledger.events import record_event
from cryodaq.ledger.results import MovieToProcess
from cryodaq.ledger.tables import movie, stage_result, trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrographRow:
    """A movie whose alignment and CTF succeeded in one branch; the values are as the stages stored them."""

    movie_id: int
    align: Mapping[str, Any]  # Any: JSON of domain.results.AlignmentResult
    ctf: Mapping[str, Any]  # Any: JSON of domain.results.CtfResult.aligned
    parameters: Mapping[str, Any]  # Any: JSON of domain.parameters.ImagingParameters


def lock_exports(connection: Connection, branch_id: int) -> None:
    """Wait until no other transaction writes the exports of this branch; held until this one ends."""
    key = func.hashtextextended(literal(f"cryodaq exports of branch {branch_id}"), 0)
    connection.execute(select(func.pg_advisory_xact_lock(key)))


def micrographs_with_ctf(connection: Connection, branch_id: int) -> list[MicrographRow]:
    """Return the micrographs of a branch whose CTF was found, by movie; of a changed source the newest version."""
    align = _newest(branch_id, "align")
    ctf = _newest(branch_id, "ctf")
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
    motion = align.c.result["motion"]
    query = (
        select(
            movie.c.id,
            func.jsonb_build_object(
                *("micrograph", align.c.result["micrograph"]),
                *("micrograph_dose_weighted", align.c.result["micrograph_dose_weighted"]),
                *("pixel_size_ang", align.c.result["pixel_size_ang"]),
                *("total_ang", motion["total_ang"]),
                *("early_ang", motion["early_ang"]),
                *("late_ang", motion["late_ang"]),
            ).label("align"),
            ctf.c.result["aligned"].label("ctf"),
            trigger.c.parameters,
        )
        .join(align, align.c.movie_id == movie.c.id)
        .join(ctf, ctf.c.movie_id == movie.c.id)
        .join(trigger, (trigger.c.movie_id == movie.c.id) & (trigger.c.branch_id == branch_id))
        .where(ctf.c.result["aligned"]["fitted"].as_boolean(), ~superseded)
        .order_by(movie.c.id)
    )
    return [
        MicrographRow(movie_id=row.id, align=row.align, ctf=row.ctf, parameters=row.parameters)
        for row in connection.execute(query)
    ]


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


def _newest(branch_id: int, stage: str) -> Any:  # Any: a subquery, read by its columns' names
    return (
        select(stage_result.c.movie_id, stage_result.c.result)
        .where(
            stage_result.c.branch_id == branch_id,
            stage_result.c.stage == stage,
            stage_result.c.state == "succeeded",
        )
        .ext(distinct_on(stage_result.c.movie_id))
        .order_by(stage_result.c.movie_id, stage_result.c.attempt.desc())
        .subquery(stage)
    )
