"""A sample's movies and one movie's whole history, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from cryodaq.ledger.tables import branch, delivery, exposure, file, movie, stage_result, trigger

MOVIE_STATES: Mapping[str, tuple[str, ...]] = {
    "all": (),
    "running": ("registered", "queued", "triggered", "processing"),
    "waiting": ("waiting",),
    "failed": ("failed",),
    "published": ("published",),
}
"""What a person can look for, and the states of movies that it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Numbers by which people judge a micrograph; None while its stage has not succeeded."""

    pixel_size_ang: float | None = None
    motion_total_ang: float | None = None
    motion_early_ang: float | None = None
    motion_late_ang: float | None = None
    displacement_px_xy: tuple[tuple[float, float], ...] = ()
    frame_count: int | None = None
    hot_pixels: int | None = None
    mean_counts_per_px_frame: float | None = None
    ctf_fitted: bool | None = None
    """False: there was no CTF to fit, and the defocus is absent."""
    defocus_u_ang: float | None = None
    defocus_v_ang: float | None = None
    defocus_angle_deg: float | None = None
    phase_shift_deg: float | None = None
    ctf_score: float | None = None
    fit_resolution_ang: float | None = None
    unaligned_fit_resolution_ang: float | None = None
    particle_count: int | None = None
    masked_fraction: float | None = None
    picks_per_um2: float | None = None
    ice_ring_ratio: float | None = None
    relative_ice_thickness: float | None = None
    """In mean free paths; only differences between micrographs mean something."""
    gain_orientation: str | None = None
    """How the gain reference had to be turned to fit the movie."""
    gain_orientation_certain: bool = False
    """Whether the movie shows that; without an orientation, that its camera has applied the reference already."""

    @property
    def defocus_mean_ang(self) -> float | None:
        """Mean of U and V, Å."""
        if self.defocus_u_ang is None or self.defocus_v_ang is None:
            return None
        return (self.defocus_u_ang + self.defocus_v_ang) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Where a movie's pictures lie, and the number of the publication that made them."""

    publication: int
    preview: str
    thumbnail: str
    others: Mapping[str, str]
    """Absolute paths: micrograph, spectrum, spectrum_unaligned (pictures), curves, motion_track, pick_overlay (JSON).

    What a stage did not leave is absent.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieRow:
    """One movie in a list."""

    id: int
    sample_id: str
    experiment: str
    run_name: str
    path: str
    version: int
    state: str
    problem: str | None
    seen_at: datetime
    registered_at: datetime
    published_at: datetime | None
    running_stage: str | None
    measured: Measurements
    pictures: Pictures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivingFile:
    """A movie's file that is not copied yet."""

    path: str
    state: str
    problem: str | None
    size_bytes: int
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One file of an exposure."""

    path: str
    role: str
    version: int
    state: str
    size_bytes: int
    xxh3_128: str | None
    target: str | None
    problem: str | None
    seen_at: datetime
    copied_at: datetime | None
    verified_at: datetime | None
    removed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt of one stage."""

    branch: str
    stage: str
    attempt: int
    state: str
    started_at: datetime
    ended_at: datetime | None
    problem: str | None
    log: str | None
    """Absolute path of what the stage said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """The run that the scheduler was or will be asked for."""

    branch: str
    dag_id: str
    run_id: str
    sent_at: datetime | None
    problem: str | None
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieHistory:
    """Everything that is known of one movie."""

    row: MovieRow
    gain: str | None
    metadata: Mapping[str, object]
    files: tuple[FileRow, ...]
    attempts: tuple[AttemptRow, ...]
    runs: tuple[RunRow, ...]
    undelivered: int
    """Calls that the elogbook has not accepted yet."""
    delivery_problem: str | None


def movies_by_id(connection: Connection, movie_ids: Sequence[int], *, branch_name: str) -> dict[int, MovieRow]:
    """Return movies by their ids."""
    if not movie_ids:
        return {}
    rows = connection.execute(_movies().where(movie.c.id.in_(list(movie_ids)))).mappings().all()
    results = _stage_results(connection, list(movie_ids), branch_name)
    return {int(row["id"]): _movie_row(row, results.get(int(row["id"]), {})) for row in rows}


def newest_published(connection: Connection, sample_id: str) -> int | None:
    """Return the sample's newest movie with results, or None."""
    same = (movie.c.sample_id == sample_id) & (movie.c.state == "published")
    return connection.execute(select(func.max(movie.c.id)).where(same)).scalar_one_or_none()


def arriving_files(connection: Connection, sample_id: str, *, limit: int = 6) -> tuple[ArrivingFile, ...]:
    """Return a sample's movie files that are not copied yet: those with a problem first, then the newest."""
    query = (
        select(file.c.path, file.c.state, file.c.problem, file.c.size_bytes, file.c.seen_at)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(
            exposure.c.sample_id == sample_id,
            file.c.role == "movie",
            file.c.state.in_(("seen", "held", "complete", "copying")),
        )
        .order_by(file.c.problem.is_(None), file.c.seen_at.desc())
        .limit(limit)
    )
    return tuple(ArrivingFile(**row) for row in connection.execute(query).mappings())


def find_movie(connection: Connection, movie_id: int, *, branch_name: str) -> MovieRow | None:
    """Return one movie, or None."""
    row = connection.execute(_movies().where(movie.c.id == movie_id)).mappings().first()
    if row is None:
        return None
    return _movie_row(row, _stage_results(connection, [movie_id], branch_name).get(movie_id, {}))


def experiment_of_movie(connection: Connection, movie_id: int) -> str | None:
    """Return the experiment that a movie belongs to, or None when there is no such movie."""
    return connection.execute(select(movie.c.experiment).where(movie.c.id == movie_id)).scalar_one_or_none()


def sample_of_movie(connection: Connection, movie_id: int) -> str | None:
    """Return the id of the sample that a movie belongs to, or None when there is no such movie."""
    return connection.execute(select(movie.c.sample_id).where(movie.c.id == movie_id)).scalar_one_or_none()


def neighbours(connection: Connection, found: MovieRow) -> tuple[int | None, int | None]:
    """Return the ids of the sample's movies before and after this one."""
    same = movie.c.sample_id == found.sample_id
    before = select(func.max(movie.c.id)).where(same, movie.c.id < found.id)
    after = select(func.min(movie.c.id)).where(same, movie.c.id > found.id)
    return connection.execute(before).scalar_one_or_none(), connection.execute(after).scalar_one_or_none()


def movie_history(connection: Connection, movie_id: int, *, branch_name: str) -> MovieHistory | None:
    """Return everything that is known of a movie, or None when there is no such movie."""
    row = find_movie(connection, movie_id, branch_name=branch_name)
    if row is None:
        return None
    extra = connection.execute(
        select(movie.c.exposure_id, movie.c.gain_target, movie.c.metadata).where(movie.c.id == movie_id)
    ).one()
    waiting = connection.execute(
        select(func.count().label("calls"), func.max(delivery.c.problem).label("problem")).where(
            delivery.c.experiment == row.experiment,
            delivery.c.run_name == row.run_name,
            delivery.c.delivered_at.is_(None),
        )
    ).one()
    return MovieHistory(
        row=row,
        gain=extra.gain_target,
        metadata=extra.metadata or {},
        files=_files(connection, extra.exposure_id),
        attempts=_attempts(connection, movie_id),
        runs=_runs(connection, movie_id),
        undelivered=int(waiting.calls),
        delivery_problem=waiting.problem,
    )


def measurements(results: Mapping[str, Mapping[str, Any]]) -> Measurements:  # Any: JSON that the stages left
    """Read what the stages of a movie measured, from the records of `domain.results` as plain values."""
    align, ctf, pick = (results.get(stage, {}) for stage in ("align", "ctf", "pick"))
    motion, fit, before = align.get("motion") or {}, ctf.get("aligned") or {}, ctf.get("unaligned") or {}
    fitted = fit.get("fitted")
    good: Mapping[str, Any] = fit if fitted else {}
    return Measurements(
        pixel_size_ang=align.get("pixel_size_ang"),
        motion_total_ang=motion.get("total_ang"),
        motion_early_ang=motion.get("early_ang"),
        motion_late_ang=motion.get("late_ang"),
        displacement_px_xy=tuple((x, y) for x, y in motion.get("displacement_px_xy", ())),
        frame_count=align.get("frame_count"),
        hot_pixels=align.get("hot_pixels"),
        mean_counts_per_px_frame=align.get("mean_counts_per_px_frame"),
        ctf_fitted=fitted,
        defocus_u_ang=good.get("defocus_u_ang"),
        defocus_v_ang=good.get("defocus_v_ang"),
        defocus_angle_deg=good.get("defocus_angle_deg"),
        phase_shift_deg=good.get("phase_shift_deg"),
        ctf_score=good.get("score"),
        fit_resolution_ang=good.get("fit_resolution_ang"),
        unaligned_fit_resolution_ang=before.get("fit_resolution_ang") if before.get("fitted") else None,
        particle_count=pick.get("count"),
        masked_fraction=pick.get("masked_fraction"),
        picks_per_um2=pick.get("picks_per_um2"),
        ice_ring_ratio=fit.get("ice_ring_ratio"),
        relative_ice_thickness=align.get("relative_ice_thickness"),
        gain_orientation=align.get("gain_orientation"),
        gain_orientation_certain=align.get("gain_orientation_certain", False),
    )


def _movies() -> Select[Any]:  # Any: read by the columns' names
    return select(
        movie.c.id,
        movie.c.sample_id,
        movie.c.experiment,
        movie.c.run_name,
        movie.c.path,
        movie.c.version,
        movie.c.state,
        movie.c.problem,
        file.c.seen_at,
        movie.c.registered_at,
        movie.c.published_at,
    ).join(file, movie.c.file_id == file.c.id)


def _movie_row(row: Mapping[Any, Any], stages: Mapping[str, Mapping[str, Any]]) -> MovieRow:  # Any: one row
    results = _results(stages)
    running = [stage for stage, found in stages.items() if found["state"] == "running"]
    published = stages.get("publish")
    pictures = None
    if published is not None and "publish" in results:
        pictures = Pictures(
            publication=int(published["id"]),
            preview=results["publish"]["preview"],
            thumbnail=results["publish"]["thumbnail"],
            others=_others(results),
        )
    failed = next((found for found in stages.values() if found["state"] == "failed"), None)
    shown = dict(row)
    if row["state"] == "published" and failed is not None and "publish" not in results:  # only in another branch
        shown |= {"state": "failed", "problem": f"{failed['stage']}: {failed['problem']}"}
    return MovieRow(
        **shown,
        running_stage=running[0] if running else None,
        measured=measurements(results),
        pictures=pictures,
    )


def _others(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:  # Any: JSON
    ctf, publish = results.get("ctf", {}), results["publish"]
    found = {
        "micrograph": publish.get("micrograph_picture"),
        "motion_track": publish.get("motion_track"),
        "pick_overlay": publish.get("pick_overlay"),
        "spectrum": ctf.get("spectrum"),
        "spectrum_unaligned": ctf.get("spectrum_unaligned"),
        "curves": ctf.get("curves"),
    }
    return {name: str(path) for name, path in found.items() if path}


def _results(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:  # Any: JSON
    return {stage: found["result"] for stage, found in stages.items() if found["state"] == "succeeded"}


def _stage_results(
    connection: Connection, movie_ids: Sequence[int], branch_name: str
) -> dict[int, dict[str, Mapping[str, Any]]]:  # Any: one row
    """Return, for each movie and stage, the attempt that counts: the newest that succeeded, else the newest."""
    if not movie_ids:
        return {}
    query = (
        select(
            stage_result.c.id,
            stage_result.c.movie_id,
            stage_result.c.stage,
            stage_result.c.state,
            stage_result.c.problem,
            stage_result.c.result,
        )
        .join(branch, stage_result.c.branch_id == branch.c.id)
        .where(
            stage_result.c.movie_id.in_(list(movie_ids)),
            branch.c.name == branch_name,
        )
        .ext(distinct_on(stage_result.c.movie_id, stage_result.c.stage))
        .order_by(
            stage_result.c.movie_id,
            stage_result.c.stage,
            (stage_result.c.state == "succeeded").desc(),
            stage_result.c.attempt.desc(),
        )
    )
    found: dict[int, dict[str, Mapping[str, Any]]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(int(row["movie_id"]), {})[str(row["stage"])] = dict(row)
    return found


def _files(connection: Connection, exposure_id: int) -> tuple[FileRow, ...]:
    columns = [file.c[name] for name in FileRow.__dataclass_fields__]
    query = select(*columns).where(file.c.exposure_id == exposure_id).order_by(file.c.path, file.c.version)
    return tuple(FileRow(**row) for row in connection.execute(query).mappings())


def _attempts(connection: Connection, movie_id: int) -> tuple[AttemptRow, ...]:
    query = (
        select(
            branch.c.name.label("branch"),
            stage_result.c.stage,
            stage_result.c.attempt,
            stage_result.c.state,
            stage_result.c.started_at,
            stage_result.c.ended_at,
            stage_result.c.problem,
            stage_result.c.log,
        )
        .join(branch, stage_result.c.branch_id == branch.c.id)
        .where(stage_result.c.movie_id == movie_id)
        .order_by(stage_result.c.id)
    )
    return tuple(AttemptRow(**row) for row in connection.execute(query).mappings())


def _runs(connection: Connection, movie_id: int) -> tuple[RunRow, ...]:
    query = (
        select(
            branch.c.name.label("branch"),
            trigger.c.dag_id,
            trigger.c.run_id,
            trigger.c.sent_at,
            trigger.c.problem,
            trigger.c.parameters,
        )
        .join(branch, trigger.c.branch_id == branch.c.id)
        .where(trigger.c.movie_id == movie_id)
        .order_by(trigger.c.id)
    )
    return tuple(RunRow(**row) for row in connection.execute(query).mappings())
