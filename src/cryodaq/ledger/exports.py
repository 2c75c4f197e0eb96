"""What exports are built from, how far they were written, and the marks of a movie's publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    FromClause,
    Select,
    Text,
    bindparam,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from cryodaq.ledger.events import record_event
from cryodaq.ledger.results import MovieToProcess
from cryodaq.ledger.tables import export_row, export_state, file, movie, stage_result, trigger
from cryodaq.ledger.versions import superseded

_BRANCH = bindparam("branch", type_=BigInteger)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """A movie whose stages succeeded in one branch; the values are as the stages stored them."""

    movie_id: int
    version: int
    run_name: str
    registered_at: datetime
    source: str
    """Absolute path of the movie's copy."""
    gain: str | None
    """Absolute path of the gain reference that it was bound to."""
    metadata: Mapping[str, Any] | None  # Any: JSON of domain.acquisition.AcquisitionMetadata
    parameters: Mapping[str, Any]  # Any: JSON of domain.parameters.ImagingParameters
    align: Mapping[str, Any]  # Any: JSON of domain.results.AlignmentResult, without single frames
    ctf: Mapping[str, Any]  # Any: JSON of domain.results.CtfResult
    pick: Mapping[str, Any]  # Any: JSON of domain.results.PickResult, or {"skipped": why}
    digest: str | None
    """Of its lines in the files; None where it has none yet."""
    has_motion: bool
    """Whether the files name its motion STAR."""
    sample_id: str
    beam_shift_group: str | None
    """Empty where it is not told apart from others; None where nobody looked yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportState:
    """How far a branch's files were written."""

    optics: Sequence[Mapping[str, Any] | None]  # Any: JSON of publish.star.Optics
    """Optics groups in the order of their numbers; None where one is no longer used."""
    with_motion: bool
    files: Mapping[str, Mapping[str, Any]]  # Any: JSON
    """By name: `bytes` that count, and the digest of the `head`; empty where all have to be made anew."""


def lock_exports(connection: Connection, branch_id: int) -> None:
    """Wait until no other transaction writes the exports of this branch; held until this one ends."""
    key = func.hashtextextended(literal(f"cryodaq exports of branch {branch_id}"), 0)
    connection.execute(select(func.pg_advisory_xact_lock(key)))


def export_state_of(connection: Connection, branch_id: int) -> ExportState | None:
    """Return how far a branch's files were written; None where they never were."""
    query = select(export_state.c.optics, export_state.c.with_motion, export_state.c.files)
    row = connection.execute(query.where(export_state.c.branch_id == branch_id)).first()
    return None if row is None else ExportState(**row._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def save_export_state(connection: Connection, branch_id: int, state: ExportState) -> None:
    """Record how far a branch's files were written, in the transaction that wrote them."""
    values = {"optics": list(state.optics), "with_motion": state.with_motion, "files": dict(state.files)}
    statement = insert(export_state).values(branch_id=branch_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["branch_id"], set_=values))


def forget_export_state(connection: Connection, branch_id: int) -> None:
    """Let the next publication make a branch's files anew; optics groups keep their numbers."""
    connection.execute(update(export_state).where(export_state.c.branch_id == branch_id).values(files={}))


def save_export_rows(connection: Connection, branch_id: int, rows: Sequence[tuple[int, str, bool]]) -> None:
    """Record which movies have lines: (movie id, digest of its lines, whether they name its motion STAR)."""
    if not rows:
        return
    statement = insert(export_row)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["branch_id", "movie_id"],
            set_={"digest": statement.excluded.digest, "has_motion": statement.excluded.has_motion},
        ),
        [
            {"branch_id": branch_id, "movie_id": movie_id, "digest": digest, "has_motion": has_motion}
            for movie_id, digest, has_motion in rows
        ],
    )


def export_source(connection: Connection, branch_id: int, movie_id: int) -> ExportSource | None:
    """Return one movie; None where a stage has no result, or a newer version of its source took its place."""
    row = connection.execute(_one_source(), {"branch": branch_id, "only": movie_id}).first()
    return None if row is None else ExportSource(**row._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def exported_sources(connection: Connection, branch_id: int) -> list[ExportSource]:
    """Return the published movies of a branch, by movie; of a changed source the newest version."""
    rows = connection.execute(_published_sources(), {"branch": branch_id})
    return [ExportSource(**row._mapping) for row in rows]  # noqa: SLF001  # SQLAlchemy's public name


@cache
def _one_source() -> Select[Any]:  # Any: many columns
    """Return the query for the movie `only` in `branch`; built once, because building it costs more than asking."""
    only = bindparam("only", type_=BigInteger)
    return _sources(only=only).where(movie.c.id == only)


@cache
def _published_sources() -> Select[Any]:  # Any: many columns
    published = (
        select(stage_result.c.id)
        .where(
            stage_result.c.movie_id == movie.c.id,
            stage_result.c.branch_id == _BRANCH,
            stage_result.c.stage == "publish",
            stage_result.c.state == "succeeded",
        )
        .exists()
    )
    return _sources().where(or_(published, export_row.c.movie_id.is_not(None))).order_by(movie.c.id)


def _sources(*, only: BindParameter[int] | None = None) -> Select[Any]:  # Any: many columns
    align, ctf, pick = (_newest(stage, only=only) for stage in ("align", "ctf", "pick"))
    return (
        select(
            movie.c.id.label("movie_id"),
            movie.c.version,
            movie.c.run_name,
            movie.c.registered_at,
            file.c.target.label("source"),
            movie.c.gain_target.label("gain"),
            movie.c.metadata,
            trigger.c.parameters,
            align.c.result.op("#-")(literal(["motion", "displacement_px_xy"], ARRAY(Text))).label("align"),
            ctf.c.result.label("ctf"),
            pick.c.result.label("pick"),
            export_row.c.digest,
            func.coalesce(export_row.c.has_motion, False).label("has_motion"),  # SQL's false
            movie.c.sample_id,
            movie.c.beam_shift_group,
        )
        .select_from(movie)
        .join(file, file.c.id == movie.c.file_id)
        .join(align, align.c.movie_id == movie.c.id)
        .join(ctf, ctf.c.movie_id == movie.c.id)
        .join(pick, pick.c.movie_id == movie.c.id)
        .join(trigger, (trigger.c.movie_id == movie.c.id) & (trigger.c.branch_id == _BRANCH))
        .outerjoin(export_row, (export_row.c.movie_id == movie.c.id) & (export_row.c.branch_id == _BRANCH))
        .where(~superseded(movie, of="sample_id"))
    )


def mark_published(
    connection: Connection, published: MovieToProcess, *, at: datetime, problem: str | None = None
) -> bool:
    """Record that a movie's results are out, and what they lack. Return whether that is new."""
    changed = connection.execute(
        update(movie)
        .where(movie.c.id == published.movie_id, movie.c.state != "published")
        .values(state="published", published_at=func.coalesce(movie.c.published_at, at), problem=problem)
        .returning(movie.c.id)
    ).first()
    if changed is None:
        return False
    facts = {"run_name": published.run_name}
    record_event(connection, "movie_published", at=at, subject=published.subject, facts=facts)
    return True


def _newest(stage: str, *, only: BindParameter[int] | None) -> FromClause:
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
    query = select(stage_result.c.movie_id, stage_result.c.result).where(
        stage_result.c.branch_id == _BRANCH,
        stage_result.c.stage == stage,
        stage_result.c.state == "succeeded",
        ~again,
    )
    return (query if only is None else query.where(stage_result.c.movie_id == only)).subquery(stage)
