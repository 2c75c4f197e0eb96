"""Exposures and their owners: which files belong together, and to which sample."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, bindparam, case, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.ownership import Decision, Ownership
from cryodaq.ledger.tables import exposure, file


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureRecord:
    """Files that were recorded together."""

    id: int
    microscope: str
    share: str
    key: str
    acquisition_folder: str
    sample_id: str | None
    decision: Decision | None
    """None while nobody knows whose it is."""
    seen_from: datetime
    """Begin of the scan before the one that found it."""
    seen_until: datetime
    """End of the scan that found it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExposure:
    """What a scan says of an exposure."""

    key: str
    acquisition_folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnownedFolder:
    """Exposures of one acquisition folder that wait for a person."""

    microscope: str
    share: str
    acquisition_folder: str
    exposures: int
    movies: int
    size_bytes: int
    seen_from: datetime
    seen_until: datetime


def register_exposures(
    connection: Connection,
    microscope: str,
    *,
    share: str,
    found: Collection[NewExposure],
    seen_from: datetime,
    seen_until: datetime,
) -> dict[str, ExposureRecord]:
    """Return the exposures of some keys, made where they are new.

    A key whose files have all gone from the share stands for nothing any more: the same name later is another
    exposure, with an owner of its own.
    """
    known = _present(connection, microscope, [new.key for new in found])
    missing = {new.key: new for new in found if new.key not in known}
    if missing:
        occurrences = _occurrences(connection, microscope, list(missing))
        rows = [
            {
                "microscope": microscope,
                "share": share,
                "key": new.key,
                "occurrence": occurrences.get(new.key, 0) + 1,
                "acquisition_folder": new.acquisition_folder,
                "seen_from": seen_from,
                "seen_until": seen_until,
            }
            for new in missing.values()
        ]
        made = connection.execute(insert(exposure).returning(exposure), rows)
        known |= {row.key: _record(row) for row in made}
    return known


def _present(connection: Connection, microscope: str, keys: Sequence[str]) -> dict[str, ExposureRecord]:
    """Return the newest exposure of each key that still has files on the share, or never had any."""
    query = (
        select(exposure)
        .where(exposure.c.microscope == microscope, exposure.c.key == func.any(list(keys)))
        .order_by(exposure.c.key, exposure.c.occurrence)
    )
    newest = {row.key: _record(row) for row in connection.execute(query)}
    if not newest:
        return {}
    # Two plain look-ups: one statement with both conditions reads the whole table of files each time.
    ids = [one.id for one in newest.values()]
    counted = (
        select(file.c.exposure_id, func.bool_or(file.c.gone_at.is_(None)).label("present"))
        .where(file.c.exposure_id == func.any(ids))
        .group_by(file.c.exposure_id)
    )
    gone = {row.exposure_id for row in connection.execute(counted) if not row.present}
    return {key: one for key, one in newest.items() if one.id not in gone}


def _occurrences(connection: Connection, microscope: str, keys: list[str]) -> dict[str, int]:
    query = (
        select(exposure.c.key, func.max(exposure.c.occurrence).label("last"))
        .where(exposure.c.microscope == microscope, exposure.c.key == func.any(keys))
        .group_by(exposure.c.key)
    )
    return {row.key: int(row.last) for row in connection.execute(query)}


def exposures_by_id(connection: Connection, ids: Collection[int]) -> dict[int, ExposureRecord]:
    """Return exposures by their ids."""
    query = select(exposure).where(exposure.c.id == func.any(list(ids)))
    return {row.id: _record(row) for row in connection.execute(query)}


def undecided(connection: Connection, microscope: str) -> list[ExposureRecord]:
    """Return the exposures whose owner is not decided yet."""
    query = select(exposure).where(exposure.c.microscope == microscope, exposure.c.decision.is_(None))
    return [_record(row) for row in connection.execute(query.order_by(exposure.c.id))]


def folder_owners(connection: Connection, microscope: str, folders: Collection[str]) -> Mapping[str, frozenset[str]]:
    """Return, for each acquisition folder, the samples that own exposures in it."""
    query = (
        select(exposure.c.acquisition_folder, exposure.c.sample_id)
        .distinct()
        .where(
            exposure.c.microscope == microscope,
            exposure.c.acquisition_folder == func.any(list(folders)),
            exposure.c.sample_id.is_not(None),
        )
    )
    owners: dict[str, set[str]] = {folder: set() for folder in folders}
    for row in connection.execute(query):
        owners[row.acquisition_folder].add(str(row.sample_id))
    return {folder: frozenset(found) for folder, found in owners.items()}


def owners_below(connection: Connection, microscope: str, folders: Collection[str]) -> Mapping[str, frozenset[str]]:
    """Return, for each acquisition folder that lies in one of some top folders of a share, the samples that own it."""
    top = func.split_part(exposure.c.acquisition_folder, "/", 1)
    query = (
        select(exposure.c.acquisition_folder, exposure.c.sample_id)
        .distinct()
        .where(exposure.c.microscope == microscope, top.in_(sorted(folders)), exposure.c.sample_id.is_not(None))
    )
    owners: dict[str, set[str]] = {}
    for row in connection.execute(query):
        owners.setdefault(str(row.acquisition_folder), set()).add(str(row.sample_id))
    return {folder: frozenset(found) for folder, found in owners.items()}


def decide(connection: Connection, decisions: Mapping[int, Ownership], *, at: datetime) -> None:
    """Record the owners of exposures that had none; what was decided before stays."""
    if not decisions:
        return
    connection.execute(
        update(exposure)
        .where(exposure.c.id == bindparam("exposure"), exposure.c.decision.is_(None))
        .values(sample_id=bindparam("owner"), decision=bindparam("how"), decided_at=at),
        [
            {"exposure": number, "owner": owned.sample_id, "how": owned.decision.value}
            for number, owned in decisions.items()
        ],
    )


def assign(connection: Connection, ids: Collection[int], *, sample_id: str, at: datetime) -> None:
    """Record that a person said whose some exposures are."""
    connection.execute(
        update(exposure)
        .where(exposure.c.id == func.any(list(ids)))
        .values(sample_id=sample_id, decision=Decision.OPERATOR.value, decided_at=at)
    )


def leave_baseline(connection: Connection, ids: Collection[int], *, at: datetime) -> None:
    """Record that files of the baseline changed: people say whose their exposures are."""
    connection.execute(
        update(exposure)
        .where(exposure.c.id == func.any(list(ids)), exposure.c.decision == Decision.BASELINE.value)
        .values(decision=Decision.QUARANTINE.value, sample_id=None, decided_at=at)
    )


def unowned_folders(connection: Connection, microscope: str | None = None) -> list[UnownedFolder]:
    """Return what waits in quarantine, by acquisition folder."""
    is_movie = file.c.role == "movie"
    query = (
        select(
            exposure.c.microscope,
            exposure.c.share,
            exposure.c.acquisition_folder,
            func.count(exposure.c.id.distinct()).label("exposures"),
            func.count(case((is_movie, exposure.c.id)).distinct()).label("movies"),
            func.coalesce(func.sum(file.c.size_bytes), 0).label("size_bytes"),
            func.min(exposure.c.seen_from).label("seen_from"),
            func.max(exposure.c.seen_until).label("seen_until"),
        )
        .select_from(exposure.join(file, file.c.exposure_id == exposure.c.id))
        .where(
            exposure.c.decision == Decision.QUARANTINE.value,
            exposure.c.sample_id.is_(None),
            file.c.state != "vanished",
        )
        .group_by(exposure.c.microscope, exposure.c.share, exposure.c.acquisition_folder)
        .order_by(exposure.c.microscope, func.min(exposure.c.seen_from))
    )
    if microscope is not None:
        query = query.where(exposure.c.microscope == microscope)
    return [
        UnownedFolder(**{**row._mapping, "size_bytes": int(row.size_bytes)})  # noqa: SLF001  # public name
        for row in connection.execute(query)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFolder:
    """An acquisition folder with movies of a sample."""

    folder: str
    first_at: datetime
    last_at: datetime
    """When its first and its latest movie were seen, our clock."""
    shared: bool
    """Another sample had movies in it before."""


def session_folders(connection: Connection, sample_id: str) -> list[SessionFolder]:
    """Return the acquisition folders with movies of a sample, the one that began last at the end."""
    mine = (
        select(
            exposure.c.microscope,
            exposure.c.acquisition_folder.label("folder"),
            func.min(exposure.c.seen_until).label("first_at"),
            func.max(exposure.c.seen_until).label("last_at"),
        )
        .join(file, file.c.exposure_id == exposure.c.id)
        .where(exposure.c.sample_id == sample_id, file.c.role == "movie")
        .group_by(exposure.c.microscope, exposure.c.acquisition_folder)
        .subquery()
    )
    other = exposure.alias()
    shared = exists().where(
        other.c.microscope == mine.c.microscope,
        other.c.acquisition_folder == mine.c.folder,
        other.c.sample_id != sample_id,
        other.c.seen_until < mine.c.first_at,
    )
    query = select(mine.c.folder, mine.c.first_at, mine.c.last_at, shared.label("shared")).order_by(mine.c.first_at)
    return [SessionFolder(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name


def unowned(connection: Connection, microscope: str, *, acquisition_folder: str | None = None) -> list[ExposureRecord]:
    """Return the exposures in quarantine, of one acquisition folder or of all."""
    query = select(exposure).where(
        exposure.c.microscope == microscope,
        exposure.c.decision == Decision.QUARANTINE.value,
        exposure.c.sample_id.is_(None),
    )
    if acquisition_folder is not None:
        query = query.where(exposure.c.acquisition_folder == acquisition_folder)
    return [_record(row) for row in connection.execute(query.order_by(exposure.c.id))]


def _record(row: Row[tuple[object, ...]]) -> ExposureRecord:
    return ExposureRecord(
        id=row.id,
        microscope=row.microscope,
        share=row.share,
        key=row.key,
        acquisition_folder=row.acquisition_folder,
        sample_id=row.sample_id,
        decision=None if row.decision is None else Decision(row.decision),
        seen_from=row.seen_from,
        seen_until=row.seen_until,
    )
