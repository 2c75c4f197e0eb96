"""Held movies, and a person's word that a short one is all that there will be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, func, select

from cryodaq.domain.completeness import Acceptance
from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.ownership import Decision
from cryodaq.domain.parameters import read_operator_settings
from cryodaq.errors import ParameterError
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import acceptance, exposure, file, sample


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMovie:
    """A movie on a share that waits for a person."""

    id: int
    microscope: str
    share: str
    path: str
    size_bytes: int
    mtime_ns: int
    frame_count: int | None
    """None where its format calls it unfinished."""
    problem: str | None
    seen_at: datetime
    sample_id: str | None
    sample_name: str | None
    experiment: str | None


def held_movies(connection: Connection, *, name: str | None = None) -> list[HeldMovie]:
    """Return what is held, oldest first; with a name, those whose path is or ends in it.

    Copies that turned out to be short are among them (`short_copies`): their sources stay until somebody decides.
    """
    query = (
        select(
            *(file.c[column] for column in HeldMovie.__dataclass_fields__ if column in file.c),
            exposure.c.sample_id,
            sample.c.name.label("sample_name"),
            sample.c.experiment,
        )
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .outerjoin(sample, exposure.c.sample_id == sample.c.id)
        .where(file.c.role == "movie", file.c.gone_at.is_(None))
        .order_by(file.c.id)
    )
    if name is not None:
        query = query.where((file.c.path == name) | file.c.path.endswith(f"/{name}", autoescape=True))
    short = short_copies(connection)
    rows = connection.execute(query.where((file.c.state == "held") | file.c.id.in_(short)))
    found = [HeldMovie(**row._mapping) for row in rows]  # noqa: SLF001  # public name
    return [replace(one, problem=short.get(one.id, one.problem)) for one in found]


def short_copies(
    connection: Connection, ids: Collection[int] | None = None, *, microscope: str | None = None
) -> dict[int, str]:
    """Return why copied movies are short, by file, whose sources are on the share and which nobody accepted.

    A movie that nobody owned was copied before anything said how many frames it must have; the sample that people gave
    it to says so.

    Parameters
    ----------
    ids, microscope
        Which files to look among; None: all.
    """
    accepted = (
        select(acceptance.c.id)
        .where(
            acceptance.c.file_id == file.c.id,
            acceptance.c.size_bytes == file.c.size_bytes,
            acceptance.c.mtime_ns == file.c.mtime_ns,
            acceptance.c.frame_count == file.c.frame_count,
        )
        .exists()
    )
    query = (
        select(file.c.id, file.c.frame_count, sample.c.params)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .join(sample, exposure.c.sample_id == sample.c.id)
        .where(
            exposure.c.decision == Decision.OPERATOR.value,
            file.c.role == "movie",
            file.c.state.in_(("copied", "verified")),
            file.c.gone_at.is_(None),
            file.c.frame_count.is_not(None),
            ~accepted,
        )
    )
    if ids is not None:
        query = query.where(file.c.id == func.any(list(ids)))
    if microscope is not None:
        query = query.where(file.c.microscope == microscope)
    rows = [(row.id, row.frame_count, _frames_of(row.params)) for row in connection.execute(query)]
    return {
        number: f"it is short: it has {found} frames where {wanted} are expected; its source stays until it is accepted"
        for number, found, wanted in rows
        if wanted is not None and found < wanted
    }


def _frames_of(params: Mapping[str, ParameterValue]) -> int | None:
    try:
        return read_operator_settings(params).frame_count
    except ParameterError:
        return None  # its alarm is raised where the elogbook is followed


def accept(connection: Connection, held: HeldMovie, *, frame_count: int, reason: str, by: str, at: datetime) -> None:
    """Record that a person calls a short movie complete, as it is now."""
    connection.execute(
        acceptance.insert().values(
            file_id=held.id,
            size_bytes=held.size_bytes,
            mtime_ns=held.mtime_ns,
            frame_count=frame_count,
            reason=reason,
            accepted_by=by,
            accepted_at=at,
        )
    )
    subject = Subject(microscope=held.microscope, experiment=held.experiment, sample_id=held.sample_id)
    facts = {"path": held.path, "frames": frame_count, "reason": reason, "by": by}
    record_event(connection, "short_movie_accepted", at=at, subject=subject, facts=facts)


def newest_acceptance(connection: Connection, file_id: int) -> Acceptance | None:
    """Return what a person said of a file last, or None."""
    query = select(acceptance).where(acceptance.c.file_id == file_id).order_by(acceptance.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    if row is None:
        return None
    return Acceptance(
        size_bytes=row.size_bytes, mtime_ns=row.mtime_ns, frame_count=row.frame_count, accepted_by=row.accepted_by
    )
