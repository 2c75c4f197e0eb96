"""What the demo measured against the simulated microscope's truth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from cryodaq.ledger.results import latest_results
from cryodaq.ledger.tables import file, movie, stage_result, trigger

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cryodaq.simulator.truth import Truth

TOLERATED_DEFOCUS = 0.02
TOLERATED_DRIFT_PX = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How many of the collected movies have come how far."""

    collected: int = 0
    copied: int = 0
    aligned: int = 0
    ctf: int = 0
    picked: int = 0
    published: int = 0


def progress_of(connection: Connection, truths: Sequence[Truth], *, share: Path) -> Progress:
    """Count how far the collected movies are, whichever sample they belong to."""
    collected = movie.join(file, movie.c.file_id == file.c.id)
    ours = and_(file.c.share == str(share), file.c.path.in_([truth.movie for truth in truths]))
    copied, published = connection.execute(
        select(func.count(), func.count(movie.c.published_at)).select_from(collected).where(ours)
    ).one()
    stages = connection.execute(
        select(stage_result.c.stage, func.count(stage_result.c.movie_id.distinct()))
        .select_from(collected.join(stage_result, stage_result.c.movie_id == movie.c.id))
        .where(ours, stage_result.c.state == "succeeded")
        .group_by(stage_result.c.stage)
    ).all()
    done = {stage: int(count) for stage, count in stages}
    return Progress(
        collected=len(truths),
        copied=int(copied),
        aligned=done.get("align", 0),
        ctf=done.get("ctf", 0),
        picked=done.get("pick", 0),
        published=int(published),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MoviesByProof:
    """A microscope's movies by how well their copies are proved."""

    all: int
    copied: int
    """Not read again from storage yet."""
    removed: int
    """From the share."""


def movies_by_proof(connection: Connection, microscope: str) -> MoviesByProof:
    """Count a microscope's movies."""
    columns = (func.count().filter(file.c.state == state).label(state) for state in ("copied", "removed"))
    query = select(func.count().label("all"), *columns).where(file.c.microscope == microscope, file.c.role == "movie")
    return MoviesByProof(**connection.execute(query).one()._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def drift_error_px(measured: Sequence[Sequence[float]], true: Sequence[Sequence[float]]) -> float | None:
    """Return the 2-D RMS over frames of the displacement relative to frame 0, px; None for different lengths."""
    if not measured or len(measured) != len(true):
        return None
    squares = [
        (m[0] - measured[0][0] - t[0] + true[0][0]) ** 2 + (m[1] - measured[0][1] - t[1] + true[0][1]) ** 2
        for m, t in zip(measured, true, strict=True)
    ]
    return math.sqrt(sum(squares) / len(squares))


def summarise(connection: Connection, truths: Sequence[Truth], *, shares: Sequence[Path]) -> dict[str, Any]:
    """Return one entry for each movie that was collected: when each stage was done, and how well.

    Any: the summary is JSON.
    """
    movies = [_entry(connection, truth, [str(share) for share in shares]) for truth in truths]
    within = [m for m in movies if m.get("defocus_error_fraction") is not None]
    drifted = [m for m in movies if m.get("drift_error_px") is not None]
    return {
        "movies": movies,
        "collected": len(movies),
        "published": sum(m["published_at"] is not None for m in movies),
        "missing": [m["movie"] for m in movies if m["published_at"] is None],
        "defocus_within_2_percent": sum(m["defocus_error_fraction"] <= TOLERATED_DEFOCUS for m in within),
        "defocus_judged": len(within),
        "drift_within_half_px": sum(m["drift_error_px"] <= TOLERATED_DRIFT_PX for m in drifted),
        "drift_judged": len(drifted),
    }


def write_summary(path: Path, summary: Mapping[str, object]) -> None:
    """Write the summary as JSON, at once."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(summary, indent=1, ensure_ascii=False))
    part.replace(path)


def _entry(connection: Connection, truth: Truth, shares: list[str]) -> dict[str, Any]:
    query = (
        select(
            movie.c.id,
            movie.c.run_name,
            movie.c.sample_id,
            movie.c.state,
            movie.c.problem,
            movie.c.published_at,
            file.c.seen_at,
            file.c.complete_at,
            file.c.copied_at,
            file.c.verified_at,
            trigger.c.sent_at,
            trigger.c.branch_id,
        )
        .select_from(file)
        .join(movie, movie.c.file_id == file.c.id)
        .outerjoin(trigger, trigger.c.movie_id == movie.c.id)
        .where(file.c.share.in_(shares), file.c.path == truth.movie)
    )
    row = connection.execute(query).first()
    entry: dict[str, Any] = {"movie": truth.movie, "collected_at": truth.acquired_at, "published_at": None}
    if row is None:
        return {**entry, "state": "not registered"}
    times = {name: _text(row._mapping[name]) for name in ("seen_at", "complete_at", "copied_at", "verified_at")}  # noqa: SLF001  # SQLAlchemy's public name
    entry |= times | {
        "run": row.run_name,
        "sample_id": row.sample_id,
        "state": row.state,
        "problem": row.problem,
        "triggered_at": _text(row.sent_at),
        "published_at": _text(row.published_at),
        "stages": _stage_times(connection, row.id),
    }
    results = latest_results(connection, row.id, row.branch_id) if row.branch_id else {}
    return entry | _accuracy(results, truth)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _stage_times(connection: Connection, movie_id: int) -> dict[str, dict[str, str | None]]:
    query = select(stage_result).where(stage_result.c.movie_id == movie_id).order_by(stage_result.c.attempt)
    return {
        row.stage: {"state": row.state, "started_at": _text(row.started_at), "ended_at": _text(row.ended_at)}
        for row in connection.execute(query)
    }


def _accuracy(results: Mapping[str, Mapping[str, Any]], truth: Truth) -> dict[str, Any]:
    """Compare results with the truth. Any: stored JSON."""
    found: dict[str, Any] = {}
    if "align" in results:
        motion = results["align"]["motion"]
        found["drift_error_px"] = drift_error_px(motion["displacement_px_xy"], truth.displacement_px_xy or ())
        found["motion_total_ang"] = motion["total_ang"]
    if "ctf" in results:
        fit = results["ctf"]["aligned"]
        measured = (fit["defocus_u_ang"] + fit["defocus_v_ang"]) / 2
        found |= {"defocus_ang": measured, "fit_resolution_ang": fit["fit_resolution_ang"], "ctf_fitted": fit["fitted"]}
        if truth.defocus_u_ang is not None and truth.defocus_v_ang is not None:
            true = (truth.defocus_u_ang + truth.defocus_v_ang) / 2
            found |= {"true_defocus_ang": true, "defocus_error_fraction": abs(measured - true) / true}
    if "pick" in results:
        found["particles"] = results["pick"].get("count")
    return found
