"""Each and every image: what became of every exposure of a sample."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, select, true

from cryodaq.ledger.tables import delivery, exposure, file, movie


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureFate:
    """One exposure of a sample, and one movie of it where there is any: the newest version of each path."""

    key: str
    """Folder and stem that its files share."""
    microscope: str
    in_metadata: bool
    """Whether a metadata file speaks of it."""
    movie_path: str | None
    """Below the share's root; None where no movie of it was ever seen."""
    file_state: str | None
    file_problem: str | None
    run_name: str | None
    movie_state: str | None
    movie_problem: str | None
    in_elogbook: bool
    """Whether the elogbook took its run."""


def exposure_fates(connection: Connection, sample_id: str) -> list[ExposureFate]:
    """Return what became of every exposure of a sample that has metadata or a movie, by key."""
    other = file.alias("other")
    in_metadata = select(other.c.id).where(other.c.exposure_id == exposure.c.id, other.c.role == "metadata").exists()
    later = file.alias("later")
    replaced = (
        select(later.c.id)
        .where(
            later.c.exposure_id == file.c.exposure_id,
            later.c.path == file.c.path,
            later.c.version > file.c.version,
        )
        .exists()
    )
    told = (
        select(delivery.c.id)
        .where(
            delivery.c.experiment == movie.c.experiment,
            delivery.c.run_name == movie.c.run_name,
            delivery.c.call == "start_run",
            delivery.c.delivered_at.is_not(None),
        )
        .exists()
    )
    query = (
        select(
            exposure.c.key,
            exposure.c.microscope,
            in_metadata.label("in_metadata"),
            file.c.path.label("movie_path"),
            file.c.state.label("file_state"),
            file.c.problem.label("file_problem"),
            movie.c.run_name,
            movie.c.state.label("movie_state"),
            movie.c.problem.label("movie_problem"),
            func.coalesce(told, ~true()).label("in_elogbook"),
        )
        .select_from(exposure)
        .outerjoin(file, and_(file.c.exposure_id == exposure.c.id, file.c.role == "movie", ~replaced))
        .outerjoin(movie, movie.c.file_id == file.c.id)
        .where(exposure.c.sample_id == sample_id, in_metadata | file.c.id.is_not(None))
        .order_by(exposure.c.key, file.c.path)
    )
    return [ExposureFate(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name
