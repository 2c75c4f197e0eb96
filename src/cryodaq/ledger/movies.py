"""Movies: one row for each copied version of each movie, with the name that it has everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select, update

from cryodaq.domain.names import disambiguated, run_name
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.files import FileRecord
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ledger.tables import exposure, file, movie, sample


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieRecord:
    """One movie that was copied."""

    id: int
    sample_id: str
    experiment: str
    run_name: str
    path: str
    """Below raw, the microscope's own hierarchy."""
    version: int
    state: str
    problem: str | None
    target: str
    """Absolute path of the copy."""
    file_state: str
    size_bytes: int
    xxh3_128: str
    registered_at: datetime
    triggered_at: datetime | None
    published_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a file is, and why it waits."""

    microscope: str
    share: str
    path: str
    version: int
    role: str
    file_state: str
    file_problem: str | None
    decision: str | None
    sample_id: str | None
    sample_name: str | None
    experiment: str | None
    target: str | None
    seen_at: datetime
    complete_at: datetime | None
    copied_at: datetime | None
    verified_at: datetime | None
    removed_at: datetime | None
    movie_id: int | None
    movie_state: str | None
    movie_problem: str | None
    triggered_at: datetime | None
    published_at: datetime | None


def register_movie(connection: Connection, source: FileRecord, owner: SampleRecord, *, at: datetime) -> int:
    """Make the row of a copied movie, in the transaction that records the copy. Return its id.

    The run is named after the file; the second file of the experiment with that name gets `~2`. A changed source
    keeps the name and has the next version. A file that has its movie already (copied again) keeps it.
    """
    known = connection.execute(select(movie.c.id).where(movie.c.file_id == source.id)).scalar_one_or_none()
    if known is not None:
        return int(known)
    lock_names(connection, owner.experiment)
    name, version = name_for(connection, owner, path=source.path, version=source.version)
    movie_id = connection.execute(
        movie.insert()
        .values(
            sample_id=owner.id,
            path=source.path,
            version=version,
            experiment=owner.experiment,
            run_name=name,
            file_id=source.id,
            exposure_id=source.exposure_id,
            state="registered",
            registered_at=at,
        )
        .returning(movie.c.id)
    ).scalar_one()
    subject = Subject(
        microscope=owner.microscope, experiment=owner.experiment, sample_id=owner.id, movie_id=int(movie_id)
    )
    facts = {"run_name": name, "version": version, "size_bytes": source.size_bytes}
    record_event(connection, "movie_copied", at=at, subject=subject, facts=facts)
    return int(movie_id)


def lock_names(connection: Connection, experiment: str) -> None:
    """Wait until no other transaction gives out run names of an experiment; held until this one ends."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"runs of {experiment}"))))


def name_for(connection: Connection, owner: SampleRecord, *, path: str, version: int) -> tuple[str, int]:
    """Return the run name and version of a movie that comes to a sample."""
    earlier = connection.execute(
        select(movie.c.run_name, movie.c.version)
        .where(movie.c.sample_id == owner.id, movie.c.path == path)
        .order_by(movie.c.version.desc())
        .limit(1)
    ).first()
    if earlier is not None:
        return str(earlier.run_name), max(version, int(earlier.version) + 1)
    base = run_name(PurePosixPath(path))
    taken = set(
        connection.execute(
            select(movie.c.run_name)
            .distinct()
            .where(movie.c.experiment == owner.experiment, movie.c.run_name.startswith(base, autoescape=True))
        ).scalars()
    )
    n = 1
    while disambiguated(base, n) in taken:
        n += 1
    return disambiguated(base, n), version


def mark_damaged(connection: Connection, file_id: int, *, problem: str, at: datetime) -> None:
    """Say at a movie that its copy was damaged: what was computed from it may be wrong."""
    row = connection.execute(
        update(movie).where(movie.c.file_id == file_id).values(problem=problem).returning(movie)
    ).first()
    if row is not None:
        subject = Subject(experiment=row.experiment, sample_id=row.sample_id, movie_id=row.id)
        record_event(connection, "movie_damaged", at=at, subject=subject, facts={"problem": problem})


def movies_of_sample(connection: Connection, sample_id: str) -> list[MovieRecord]:
    """Return a sample's movies in the order in which they were copied."""
    query = _movies().where(movie.c.sample_id == sample_id).order_by(movie.c.id)
    return [_record(row) for row in connection.execute(query)]


def _movies() -> Select[tuple[object, ...]]:
    return select(
        movie,
        file.c.target,
        file.c.state.label("file_state"),
        file.c.size_bytes,
        file.c.xxh3_128,
    ).join(file, movie.c.file_id == file.c.id)


def _record(row: Row[tuple[object, ...]]) -> MovieRecord:
    values = row._mapping  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping
    return MovieRecord(**{name: values[name] for name in MovieRecord.__dataclass_fields__})


def where(connection: Connection, name: str, *, limit: int = 50) -> list[Whereabouts]:
    """Return the files whose run name, path, or end of path is `name`, else those that have it in their path.

    Movies come first, then the newest.
    """
    exact = or_(
        movie.c.run_name == name,
        file.c.path == name,
        file.c.path.endswith(f"/{name}", autoescape=True),
        exposure.c.key == name,
        exposure.c.key.endswith(f"/{name}", autoescape=True),
    )
    found = _whereabouts(connection, exact, limit=limit)
    return found or _whereabouts(connection, file.c.path.contains(name, autoescape=True), limit=limit)


def _whereabouts(connection: Connection, condition: ColumnElement[bool], *, limit: int) -> list[Whereabouts]:
    columns = {
        "microscope": file.c.microscope,
        "share": file.c.share,
        "path": file.c.path,
        "version": file.c.version,
        "role": file.c.role,
        "file_state": file.c.state,
        "file_problem": file.c.problem,
        "decision": exposure.c.decision,
        "sample_id": exposure.c.sample_id,
        "sample_name": sample.c.name,
        "experiment": sample.c.experiment,
        "target": file.c.target,
        "movie_id": movie.c.id,
        "movie_state": movie.c.state,
        "movie_problem": movie.c.problem,
        "triggered_at": movie.c.triggered_at,
        "published_at": movie.c.published_at,
    }
    columns |= {key: file.c[key] for key in ("seen_at", "complete_at", "copied_at", "verified_at", "removed_at")}
    query = (
        select(*(column.label(key) for key, column in columns.items()))
        .select_from(file)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .outerjoin(sample, exposure.c.sample_id == sample.c.id)
        .outerjoin(movie, movie.c.file_id == file.c.id)
        .where(condition)
        .order_by(file.c.role != "movie", file.c.id.desc())
        .limit(limit)
    )
    return [Whereabouts(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name
