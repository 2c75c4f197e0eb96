"""What lay on a microscope's shares before cryodaq worked there: known, listed, and left alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from cryodaq.domain.ownership import Decision
from cryodaq.ledger.files import UNCOPIED, FileRecord
from cryodaq.ledger.tables import exposure, file, sample

BASELINE = "baseline"
"""The state of such a file; a change of it makes it one that nobody owns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineFolder:
    """What lay in a session folder."""

    share: str
    folder: str
    files: int
    movies: int
    size_bytes: int
    with_copy: int
    """Files whose copies by another system were found equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What would be copied of one owner, if the microscope were not in shadow mode."""

    experiment: str | None
    sample_name: str | None
    folder: str | None
    """Where it would go; None: quarantine."""
    files: int
    movies: int
    size_bytes: int
    held: int


def take_as_baseline(connection: Connection, microscope: str, *, at: datetime) -> int:
    """Call everything on the shares that is not copied yet a baseline; return how many files those are."""
    on_share = (file.c.microscope == microscope) & file.c.gone_at.is_(None) & file.c.state.in_(sorted(UNCOPIED))
    taken = connection.execute(
        update(file).where(on_share).values(state=BASELINE, problem=None).returning(file.c.exposure_id)
    ).scalars()
    numbers = list(taken)
    copied = select(file.c.id).where(file.c.exposure_id == exposure.c.id, file.c.copied_at.is_not(None)).exists()
    connection.execute(
        update(exposure)
        .where(exposure.c.id == func.any(list(set(numbers))), ~copied)
        .values(decision=Decision.BASELINE.value, sample_id=None, decided_at=at)
    )
    return len(numbers)


def baseline_folders(connection: Connection, microscope: str) -> list[BaselineFolder]:
    """Return what lay on the shares before, by session folder."""
    query = (
        select(
            exposure.c.share,
            exposure.c.acquisition_folder.label("folder"),
            func.count().label("files"),
            func.count().filter(file.c.role == "movie").label("movies"),
            func.coalesce(func.sum(file.c.size_bytes), 0).label("size_bytes"),
            func.count().filter(file.c.state != BASELINE).label("with_copy"),
        )
        .join(file, file.c.exposure_id == exposure.c.id)
        .where(
            exposure.c.microscope == microscope,
            exposure.c.decision == Decision.BASELINE.value,
            file.c.gone_at.is_(None),
        )
        .group_by(exposure.c.share, exposure.c.acquisition_folder)
        .order_by(exposure.c.share, exposure.c.acquisition_folder)
    )
    return [
        BaselineFolder(**{**row._mapping, "size_bytes": int(row.size_bytes)})  # noqa: SLF001  # public name
        for row in connection.execute(query)
    ]


def baseline_files(connection: Connection, microscope: str, *, folder: str | None = None) -> list[FileRecord]:
    """Return the files of the baseline without a known copy, of one session folder or of all."""
    query = (
        select(*(file.c[name] for name in FileRecord.__dataclass_fields__))
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(file.c.microscope == microscope, file.c.state == BASELINE, file.c.gone_at.is_(None))
        .order_by(file.c.path)
    )
    if folder is not None:
        query = query.where(exposure.c.acquisition_folder == folder)
    return [FileRecord(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name


def record_foreign_copy(connection: Connection, found: FileRecord, *, target: str, xxh3_128: str, at: datetime) -> None:
    """Record that another system's copy of a file was read and is equal: it counts as verified."""
    values = {"state": "verified", "target": target, "xxh3_128": xxh3_128, "copied_at": at, "verified_at": at}
    connection.execute(update(file).where(file.c.id == found.id, file.c.state == BASELINE).values(**values))


def own_baseline(connection: Connection, exposures: Collection[int], *, sample_id: str, at: datetime) -> None:
    """Record whose files of the baseline are, as a person says; they are not processed."""
    connection.execute(
        update(exposure)
        .where(exposure.c.id == func.any(list(exposures)), exposure.c.decision == Decision.BASELINE.value)
        .values(sample_id=sample_id, decided_at=at)
    )


def intended(connection: Connection, microscope: str) -> list[Intended]:
    """Return what is on the shares and not copied, by owner."""
    waiting = file.c.state.in_(("seen", "complete", "copying"))
    query = (
        select(
            sample.c.experiment,
            sample.c.name.label("sample_name"),
            sample.c.folder,
            func.count().filter(waiting).label("files"),
            func.count().filter(waiting, file.c.role == "movie").label("movies"),
            func.coalesce(func.sum(file.c.size_bytes).filter(waiting), 0).label("size_bytes"),
            func.count().filter(file.c.state == "held").label("held"),
        )
        .select_from(file)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .outerjoin(sample, exposure.c.sample_id == sample.c.id)
        .where(file.c.microscope == microscope, file.c.gone_at.is_(None), waiting | (file.c.state == "held"))
        .group_by(sample.c.experiment, sample.c.name, sample.c.folder)
        .order_by(sample.c.experiment, sample.c.name)
    )
    return [
        Intended(**{**row._mapping, "size_bytes": int(row.size_bytes)})  # noqa: SLF001  # public name
        for row in connection.execute(query)
    ]
