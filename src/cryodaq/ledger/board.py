"""What the facility board shows of each microscope: what is current, how far its movies are, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on

from cryodaq.ledger.events import Alarm, open_alarms
from cryodaq.ledger.tables import current_state, experiment, exposure, file, movie, sample, share_state
from cryodaq.ledger.versions import superseded

RATE_WINDOW = timedelta(hours=1)
_UNFINISHED = ("seen", "held", "complete", "copying", "copied")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleProgress:
    """How many of a sample's movies have come how far; each number contains the ones after it."""

    seen: int = 0
    copied: int = 0
    verified: int = 0
    registered: int = 0
    """Known to processing."""
    processed: int = 0
    """Published."""
    failed: int = 0
    kept: int = 0
    """Copied and registered only, because the operator or the imaging method says so."""
    waiting: int = 0
    """Processing waits for something that is named at the movie."""

    @property
    def to_copy(self) -> int:
        """Backlog of copying."""
        return max(0, self.seen - self.copied)

    @property
    def to_process(self) -> int:
        """Backlog of processing."""
        return max(0, self.registered - self.processed - self.failed - self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """An earlier sample whose files are still being brought over."""

    sample_id: str
    sample_name: str
    experiment: str
    files: int
    held: int
    """Of these, files that people must look at: they are short or damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareState:
    """One share of a microscope at its last scan."""

    share: str
    scanned_at: datetime | None
    free_bytes: int | None
    total_bytes: int | None
    unrecognised_images: int
    problem: str | None
    bytes_last_hour: int = 0
    """What the microscope wrote on it, by the files that were first seen in the last hour."""
    scan_s: float | None = None
    file_count: int | None = None

    @property
    def hours_left(self) -> float | None:
        """When it is full at the last hour's rate and nothing is removed; None while nothing is written."""
        if self.free_bytes is None or self.bytes_last_hour <= 0:
            return None
        return self.free_bytes / self.bytes_last_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentSample:
    """One sample in a list."""

    id: str
    name: str
    experiment: str
    microscope: str
    problem: str | None
    last_active_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroscopeState:
    """Everything that the board says of one microscope."""

    name: str
    assignment: str
    """domain.experiment.Assignment, `unreachable`, or `unknown` before the first answer."""
    experiment: str | None
    sample_id: str | None
    sample_name: str | None
    since: datetime | None
    """When the elogbook was switched, else when we first saw it so."""
    asked_at: datetime | None
    """When the elogbook answered last."""
    problem: str | None
    progress: SampleProgress
    draining: tuple[Draining, ...]
    unowned: int
    """Exposures that wait for a person to say whose they are."""
    movies_last_hour: int
    last_movie_at: datetime | None
    """When a movie was first seen, our clock."""
    shares: tuple[ShareState, ...]
    alarms: tuple[Alarm, ...]

    @property
    def subject_experiments(self) -> frozenset[str]:
        """Every experiment that is named here."""
        named = {self.experiment, *(entry.experiment for entry in self.draining)}
        named |= {alarm.subject.experiment for alarm in self.alarms}
        return frozenset(name for name in named if name)


def board(connection: Connection, microscopes: Sequence[str], *, now: datetime) -> list[MicroscopeState]:
    """Return the state of the named microscopes, in their order."""
    current = _current(connection, microscopes)
    sample_ids = [str(row["sample_id"]) for row in current.values() if row["sample_id"]]
    progress = sample_progress(connection, sample_ids)
    draining = _draining(connection, microscopes, current=sample_ids)
    unowned = _unowned(connection, microscopes)
    activity = {name: _activity(connection, name, now=now) for name in microscopes}
    shares = _shares(connection, microscopes, now=now)
    alarms = _alarms(connection)
    nothing: Mapping[str, object] = {}
    found = []
    for name in microscopes:
        row = current.get(name, nothing)
        found.append(
            MicroscopeState(
                name=name,
                assignment=str(row.get("assignment") or "unknown"),
                experiment=_text(row.get("experiment")),
                sample_id=_text(row.get("sample_id")),
                sample_name=_text(row.get("sample_name")),
                since=_time(row.get("switched_at")) or _time(row.get("first_asked_at")),
                asked_at=_time(row.get("last_asked_at")),
                problem=_text(row.get("problem")),
                progress=progress.get(str(row.get("sample_id")), SampleProgress()),
                draining=draining.get(name, ()),
                unowned=unowned.get(name, 0),
                movies_last_hour=activity[name][0],
                last_movie_at=activity[name][1],
                shares=shares.get(name, ()),
                alarms=alarms.get(name, ()),
            )
        )
    return found


def sample_progress(connection: Connection, sample_ids: Sequence[str]) -> dict[str, SampleProgress]:
    """Return the counts of movies of some samples; of a file that changed, only the newest version counts."""
    wanted = list(dict.fromkeys(sample_ids))
    if not wanted:
        return {}
    counts: dict[str, dict[str, int]] = {sample_id: {} for sample_id in wanted}
    for query in (_file_counts(wanted), _movie_counts(wanted)):
        for row in connection.execute(query).mappings():
            counts[str(row["sample_id"])] |= {key: int(row[key]) for key in row if key != "sample_id"}
    return {sample_id: SampleProgress(**values) for sample_id, values in counts.items()}


def recent_samples(
    connection: Connection, *, experiment: str | None = None, words: Sequence[str] = (), limit: int
) -> list[RecentSample]:
    """Return the samples that were in use last, of one experiment or of all microscopes.

    Each of `words` must be in the name of the sample, of the experiment or of the microscope.
    """
    columns = [sample.c[name] for name in RecentSample.__dataclass_fields__]
    query = select(*columns).order_by(sample.c.last_active_at.desc()).limit(limit)
    if experiment is not None:
        query = query.where(sample.c.experiment == experiment)
    for word in words:
        said = (sample.c.name, sample.c.experiment, sample.c.microscope)
        query = query.where(or_(*(column.icontains(word, autoescape=True) for column in said)))
    return [RecentSample(**row) for row in connection.execute(query).mappings()]


def _file_counts(sample_ids: list[str]) -> Select[Any]:  # Any: read by the columns' names
    return (
        select(
            exposure.c.sample_id,
            func.count().label("seen"),
            func.count(file.c.copied_at).label("copied"),
            func.count(file.c.verified_at).label("verified"),
        )
        .select_from(file.join(exposure, file.c.exposure_id == exposure.c.id))
        .where(
            exposure.c.sample_id.in_(sample_ids),
            file.c.role == "movie",
            or_(file.c.state != "vanished", file.c.copied_at.is_not(None)),
            ~superseded(file, of="exposure_id"),
        )
        .group_by(exposure.c.sample_id)
    )


def _movie_counts(sample_ids: list[str]) -> Select[Any]:  # Any: read by the columns' names
    return (
        select(
            movie.c.sample_id,
            func.count().label("registered"),
            func.count().filter(movie.c.state == "published").label("processed"),
            func.count().filter(movie.c.state == "failed").label("failed"),
            func.count().filter(movie.c.state == "kept").label("kept"),
            func.count().filter(movie.c.state == "waiting").label("waiting"),
        )
        .where(movie.c.sample_id.in_(sample_ids), ~superseded(movie, of="sample_id"))
        .group_by(movie.c.sample_id)
    )


def _current(connection: Connection, microscopes: Sequence[str]) -> dict[str, Mapping[str, object]]:
    query = (
        select(current_state)
        .where(current_state.c.microscope.in_(list(microscopes)))
        .ext(distinct_on(current_state.c.microscope))
        .order_by(current_state.c.microscope, current_state.c.last_asked_at.desc(), current_state.c.id.desc())
    )
    return {str(row["microscope"]): dict(row) for row in connection.execute(query).mappings()}


def _draining(
    connection: Connection, microscopes: Sequence[str], *, current: Sequence[str]
) -> dict[str, tuple[Draining, ...]]:
    files = func.count().filter(file.c.state != "held")
    query = (
        select(
            file.c.microscope,
            exposure.c.sample_id,
            sample.c.name,
            sample.c.experiment,
            files.label("files"),
            func.count().filter(file.c.state == "held").label("held"),
        )
        .select_from(file)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .join(sample, exposure.c.sample_id == sample.c.id)
        .where(
            file.c.microscope.in_(list(microscopes)),
            file.c.state.in_(_UNFINISHED),
            file.c.role != "living",
            exposure.c.sample_id.not_in(list(current)),
        )
        .group_by(file.c.microscope, exposure.c.sample_id, sample.c.name, sample.c.experiment)
        .order_by(files.desc())
    )
    found: dict[str, tuple[Draining, ...]] = {}
    for row in connection.execute(query):
        entry = Draining(
            sample_id=row.sample_id,
            sample_name=row.name,
            experiment=row.experiment,
            files=row.files,
            held=row.held,
        )
        found[row.microscope] = (*found.get(row.microscope, ()), entry)
    return found


def _unowned(connection: Connection, microscopes: Sequence[str]) -> dict[str, int]:
    query = (
        select(exposure.c.microscope, func.count().label("exposures"))
        .where(
            exposure.c.microscope.in_(list(microscopes)),
            exposure.c.sample_id.is_(None),
            exposure.c.decision == "quarantine",
        )
        .group_by(exposure.c.microscope)
    )
    return {row.microscope: int(row.exposures) for row in connection.execute(query)}


def _activity(connection: Connection, microscope: str, *, now: datetime) -> tuple[int, datetime | None]:
    """Return how many movies were first seen in the last hour, and when the newest was."""
    movies: ColumnElement[bool] = and_(file.c.microscope == microscope, file.c.role == "movie", file.c.version == 1)
    count = select(func.count()).where(movies, file.c.seen_at > now - RATE_WINDOW)
    newest = select(file.c.seen_at).where(movies).order_by(file.c.seen_at.desc()).limit(1)
    return int(connection.execute(count).scalar_one()), connection.execute(newest).scalar_one_or_none()


def _shares(connection: Connection, microscopes: Sequence[str], *, now: datetime) -> dict[str, tuple[ShareState, ...]]:
    query = select(share_state).where(share_state.c.microscope.in_(list(microscopes))).order_by(share_state.c.share)
    written = _written(connection, microscopes, since=now - RATE_WINDOW)
    found: dict[str, tuple[ShareState, ...]] = {}
    for row in connection.execute(query):
        entry = ShareState(
            share=row.share,
            scanned_at=row.scanned_at,
            free_bytes=row.free_bytes,
            total_bytes=row.total_bytes,
            unrecognised_images=row.unrecognised_images,
            problem=row.problem,
            bytes_last_hour=written.get((row.microscope, row.share), 0),
            scan_s=row.scan_s,
            file_count=row.file_count,
        )
        found[row.microscope] = (*found.get(row.microscope, ()), entry)
    return found


def _written(connection: Connection, microscopes: Sequence[str], *, since: datetime) -> dict[tuple[str, str], int]:
    """Return the bytes of the movies that were first seen on each share since a time; movies are nearly all."""
    query = (
        select(file.c.microscope, file.c.share, func.sum(file.c.size_bytes).label("size_bytes"))
        .where(file.c.microscope.in_(list(microscopes)), file.c.role == "movie", file.c.seen_at > since)
        .group_by(file.c.microscope, file.c.share)
    )
    return {(row.microscope, row.share): int(row.size_bytes) for row in connection.execute(query)}


def _alarms(connection: Connection) -> dict[str, tuple[Alarm, ...]]:
    """Return the open alarms by microscope; one that names only an experiment goes where that is at home."""
    homes = {row.name: row.microscope for row in connection.execute(select(experiment.c.name, experiment.c.microscope))}
    found: dict[str, tuple[Alarm, ...]] = {}
    for alarm in open_alarms(connection):
        home = alarm.subject.microscope or homes.get(alarm.subject.experiment or "")
        if home is not None:
            found[home] = (*found.get(home, ()), alarm)
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
