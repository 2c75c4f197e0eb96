"""What collaborators were told of their experiments, and what is new since then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Label, and_, func, select
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.digest import ExperimentNews, SampleNews
from cryodaq.ledger.message_tables import digest
from cryodaq.ledger.tables import branch, measurement, movie, sample, stage_result


def news_of_experiments(connection: Connection, *, since: datetime) -> list[ExperimentNews]:
    """Return the experiments that have micrographs, published since then, which no digest told of."""
    newest = func.max(movie.c.published_at)
    query = (
        select(movie.c.experiment, digest.c.told_at, digest.c.last_published_at.label("known"), newest.label("newest"))
        .outerjoin(digest, digest.c.experiment == movie.c.experiment)
        .where(movie.c.published_at >= since, movie.c.state == "published")
        .group_by(movie.c.experiment, digest.c.told_at, digest.c.last_published_at)
        .having((digest.c.last_published_at.is_(None)) | (newest > digest.c.last_published_at))
        .order_by(movie.c.experiment)
    )
    found = []
    for row in connection.execute(query).all():
        picture, sample_id = _newest_picture(connection, row.experiment)
        news = ExperimentNews(
            experiment=row.experiment,
            told_at=row.told_at,
            last_published_at=row.newest,
            samples=_samples(connection, row.experiment, since=row.known),
            picture=picture,
            sample_id=sample_id,
        )
        found.append(news)
    return found


def _samples(connection: Connection, experiment: str, *, since: datetime | None) -> tuple[SampleNews, ...]:
    def median(name: str) -> Label[float]:
        return func.percentile_cont(0.5).within_group(measurement.c[name]).label(name)

    is_published = movie.c.state == "published"
    is_new = is_published if since is None else and_(is_published, movie.c.published_at > since)
    measured = and_(measurement.c.movie_id == movie.c.id, measurement.c.branch_id == branch.c.id, is_published)
    names = ("fit_resolution_ang", "defocus_ang", "motion_total_ang", "particle_count")
    query = (
        select(
            sample.c.name,
            func.count().filter(movie.c.state != "kept").label("movies"),
            func.count().filter(is_published).label("published"),
            func.count().filter(movie.c.state == "failed").label("failed"),
            func.count().filter(is_new).label("new"),
            *(median(name) for name in names),
        )
        .join(movie, movie.c.sample_id == sample.c.id)
        .join(branch, and_(branch.c.sample_id == sample.c.id, branch.c.name == sample.c.current_branch))
        .outerjoin(measurement, measured)
        .where(sample.c.experiment == experiment)
        .group_by(sample.c.id)
        .order_by(sample.c.first_current_at)
    )
    return tuple(SampleNews(**row._mapping) for row in connection.execute(query))  # noqa: SLF001  # public name


def _newest_picture(connection: Connection, experiment: str) -> tuple[str | None, str]:
    query = (
        select(stage_result.c.result["preview"].astext, movie.c.sample_id)
        .join(movie, movie.c.id == stage_result.c.movie_id)
        .where(
            movie.c.experiment == experiment,
            movie.c.state == "published",
            stage_result.c.stage == "publish",
            stage_result.c.state == "succeeded",
        )
        .order_by(movie.c.published_at.desc(), stage_result.c.id.desc())
        .limit(1)
    )
    found = connection.execute(query).one()
    return found[0], found[1]


def note_digest(connection: Connection, news: ExperimentNews, *, at: datetime) -> None:
    """Record that a digest was made."""
    values = {"told_at": at, "last_published_at": news.last_published_at}
    connection.execute(
        insert(digest)
        .values(experiment=news.experiment, **values)
        .on_conflict_do_update(index_elements=[digest.c.experiment], set_=values)
    )


def invited(connection: Connection, experiment: str) -> list[str]:
    """Return the people who were let into the experiment's room."""
    found = connection.scalar(select(digest.c.invited).where(digest.c.experiment == experiment))
    return list(found or [])


def note_invited(connection: Connection, experiment: str, people: Sequence[str]) -> None:
    """Record who is in the experiment's room."""
    connection.execute(digest.update().where(digest.c.experiment == experiment).values(invited=list(people)))
