"""Movies: one row for each copied version of each movie, with the name that it has everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.names import disambiguated, run_name
from cryodaq.ledger.events import NewEvent, Subject, record_event, record_events
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


def register_movies(
    connection: Connection, copied: Sequence[tuple[FileRecord, SampleRecord]], *, at: datetime
) -> list[int]:
    """Make the rows of copied movies with their owners, in the transaction that records the copies. Return their ids.

    A run is named after its file; the second file of the experiment with that name gets `~2`. A changed source keeps
    the name and has the next version. A file that has its movie already (copied again) keeps it.
    """
    if not copied:
        return []
    for experiment in sorted({owner.experiment for _, owner in copied}):
        lock_names(connection, experiment)
    query = select(movie.c.file_id, movie.c.id).where(movie.c.file_id == func.any([one.id for one, _ in copied]))
    known = {int(row.file_id): int(row.id) for row in connection.execute(query)}
    fresh = {source.id: (source, owner) for source, owner in copied if source.id not in known}
    if fresh:
        names = _Names(connection, [(owner, source.path) for source, owner in fresh.values()])
        rows = [_new_row(names, source, owner, at=at) for source, owner in fresh.values()]
        made = connection.execute(insert(movie).returning(movie.c.file_id, movie.c.id), rows)
        known |= {int(row.file_id): int(row.id) for row in made}
        record_events(connection, [_copied_event(known, fresh, row, at=at) for row in rows])
    return [known[source.id] for source, _ in copied]


def _new_row(names: _Names, source: FileRecord, owner: SampleRecord, *, at: datetime) -> dict[str, Any]:
    name, version = names.give(owner, path=source.path, version=source.version)
    return {
        "sample_id": owner.id,
        "path": source.path,
        "version": version,
        "experiment": owner.experiment,
        "run_name": name,
        "file_id": source.id,
        "exposure_id": source.exposure_id,
        "state": "registered",
        "registered_at": at,
    }


def _copied_event(
    ids: Mapping[int, int],
    copied: Mapping[int, tuple[FileRecord, SampleRecord]],
    row: Mapping[str, Any],  # Any: columns of several types
    *,
    at: datetime,
) -> NewEvent:
    source, owner = copied[row["file_id"]]
    return NewEvent(
        kind="movie_copied",
        at=at,
        subject=Subject(
            microscope=owner.microscope, experiment=owner.experiment, sample_id=owner.id, movie_id=ids[source.id]
        ),
        facts={"run_name": row["run_name"], "version": row["version"], "size_bytes": source.size_bytes},
    )


def lock_names(connection: Connection, experiment: str) -> None:
    """Wait until no other transaction gives out run names of an experiment; held until this one ends."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"runs of {experiment}"))))


def name_for(connection: Connection, owner: SampleRecord, *, path: str, version: int) -> tuple[str, int]:
    """Return the run name and version of a movie that comes to a sample."""
    return _Names(connection, [(owner, path)]).give(owner, path=path, version=version)


class _Names:
    """Gives out names to movies that come together, while nobody else does."""

    def __init__(self, connection: Connection, wanted: Sequence[tuple[SampleRecord, str]]) -> None:
        self._connection = connection
        self._earlier: dict[tuple[str, str], tuple[str, int]] = {}
        """Name and newest version of the movies that samples have, by sample and path."""
        self._taken: set[tuple[str, str]] = set()
        """Experiments with the names that their movies have, as far as they are looked up."""
        paths: dict[str, set[str]] = {}
        bases: dict[str, set[str]] = {}
        for owner, path in wanted:
            paths.setdefault(owner.id, set()).add(path)
            bases.setdefault(owner.experiment, set()).add(run_name(PurePosixPath(path)))
        known = [
            and_(movie.c.sample_id == sample_id, movie.c.path == func.any(sorted(found)))
            for sample_id, found in paths.items()
        ]
        known += [
            and_(movie.c.experiment == experiment, movie.c.run_name == func.any(sorted(found)))
            for experiment, found in bases.items()
        ]
        columns = (movie.c.sample_id, movie.c.path, movie.c.version, movie.c.experiment, movie.c.run_name)
        for row in connection.execute(select(*columns).where(or_(*known)).order_by(movie.c.version)):
            self._earlier[row.sample_id, row.path] = (row.run_name, row.version)
            self._taken.add((row.experiment, row.run_name))

    def give(self, owner: SampleRecord, *, path: str, version: int) -> tuple[str, int]:
        """Return the run name and version of one movie; the next one of that name gets another."""
        earlier = self._earlier.get((owner.id, path))
        if earlier is None:
            given = self._free_name(owner.experiment, run_name(PurePosixPath(path))), version
        else:
            given = earlier[0], max(version, earlier[1] + 1)
        self._earlier[owner.id, path] = given
        self._taken.add((owner.experiment, given[0]))
        return given

    def _free_name(self, experiment: str, base: str) -> str:
        if (experiment, base) not in self._taken:
            return base
        similar = movie.c.experiment == experiment, movie.c.run_name.startswith(base, autoescape=True)
        found = self._connection.execute(select(movie.c.run_name).distinct().where(*similar)).scalars()
        taken = {(experiment, str(name)) for name in found} | self._taken
        return next(name for n in count(1) if (experiment, name := disambiguated(base, n)) not in taken)


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
