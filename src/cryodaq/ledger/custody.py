"""Whose copies are where, and how well proved: what manifests, verification and certificates are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from cryodaq.errors import LedgerError
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.samples import SampleRecord, find_sample
from cryodaq.ledger.tables import exposure, file, sample, share_state


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFile:
    """One version of one file of a sample."""

    id: int
    share: str
    path: str
    version: int
    role: str
    state: str
    size_bytes: int
    xxh3_128: str | None
    target: str | None
    problem: str | None
    verified_at: datetime | None
    gone_at: datetime | None
    """When it was no longer on the share."""


_FIELDS = tuple(file.c[name] for name in HeldFile.__dataclass_fields__)


def files_of_sample(connection: Connection, sample_id: str) -> list[HeldFile]:
    """Return every version of every file of a sample, by path."""
    query = (
        select(*_FIELDS)
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(exposure.c.sample_id == sample_id)
        .order_by(file.c.path, file.c.share, file.c.version)
    )
    return [HeldFile(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name


def find_sample_called(connection: Connection, experiment: str, name: str) -> SampleRecord | None:
    """Return the sample of an experiment with a name or id, the one current last where several had the name."""
    query = (
        select(sample.c.id)
        .where(sample.c.experiment == experiment, (sample.c.name == name) | (sample.c.id == name))
        .order_by(sample.c.last_active_at.desc())
    )
    number = connection.execute(query.limit(1)).scalar_one_or_none()
    return None if number is None else find_sample(connection, str(number))


def old_copies(
    connection: Connection, *, verified_before: datetime, up_to_bytes: int, limit: int = 1000
) -> list[tuple[str, HeldFile]]:
    """Return some copies that were verified before a moment, drawn by chance, each after its microscope.

    Parameters
    ----------
    up_to_bytes
        Of all of them together.
    """
    query = (
        select(*_FIELDS, file.c.microscope)
        .where(file.c.state.in_(("verified", "removed")), file.c.verified_at < verified_before)
        .order_by(func.random())
        .limit(limit)
    )
    found: list[tuple[str, HeldFile]] = []
    for row in connection.execute(query):
        facts = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name
        microscope = str(facts.pop("microscope"))
        up_to_bytes -= row.size_bytes
        if up_to_bytes < 0:
            break
        found.append((microscope, HeldFile(**facts)))
    return found


def samples_called(connection: Connection, experiment: str, name: str | None = None) -> list[SampleRecord]:
    """Return the samples of an experiment, or the one with a name or id. Raises `LedgerError` for none."""
    query = select(sample.c.id).where(sample.c.experiment == experiment).order_by(sample.c.first_current_at)
    if name is not None:
        query = query.where((sample.c.name == name) | (sample.c.id == name))
    found = [find_sample(connection, str(number)) for number in connection.execute(query).scalars().all()]
    if not found:
        what = f"no sample {name} of {experiment}" if name else f"no sample of {experiment}"
        message = f"{what} was ever current on a microscope; names are as the elogbook writes them"
        raise LedgerError(message)
    return [one for one in found if one is not None]


def last_proof_of(connection: Connection, microscope: str) -> dict[str, datetime]:
    """Return, for each sample all of whose copies are verified, when the last one was."""
    unproved = func.bool_or(file.c.state.in_(("seen", "complete", "copying", "copied")) & (file.c.role != "living"))
    query = (
        select(exposure.c.sample_id, func.max(file.c.verified_at).label("proved_at"), unproved.label("unproved"))
        .join(exposure, file.c.exposure_id == exposure.c.id)
        .where(file.c.microscope == microscope, exposure.c.sample_id.is_not(None))
        .group_by(exposure.c.sample_id)
    )
    return {
        str(row.sample_id): row.proved_at
        for row in connection.execute(query)
        if not row.unproved and row.proved_at is not None
    }


def withdraw_proof(connection: Connection, damaged: Sequence[HeldFile], *, microscope: str, at: datetime) -> None:
    """Record that copies read back wrong: nothing of theirs is removed, and the transfer copies them again."""
    for one in damaged:
        connection.execute(
            update(file)
            .where(file.c.id == one.id, file.c.state == "verified", file.c.xxh3_128 == one.xxh3_128)
            .values(state="copied", verified_at=None, problem=one.problem)
        )
    facts = {"files": len(damaged), "first": damaged[0].path} if damaged else {}
    record_event(connection, "proof_withdrawn", at=at, subject=Subject(microscope=microscope), facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How far a microscope's files have come."""

    files: int
    """On the share, or copied before they left it."""
    size_bytes: int
    copied: int
    copied_bytes: int
    verified: int
    held: int
    """A person must look at them."""
    waiting: int
    """On the share and not verified yet; what is held does not count."""
    scan_began_at: datetime | None
    """Of the last scan that came to its end."""

    @property
    def left_bytes(self) -> int:
        """What is still to be copied."""
        return self.size_bytes - self.copied_bytes


def backlog(connection: Connection, microscope: str) -> Backlog:
    """Count a microscope's files by how far they are."""
    has_copy, size = file.c.state.in_(("copied", "verified", "removed")), func.coalesce(func.sum(file.c.size_bytes), 0)
    row = connection.execute(
        select(
            func.count().label("files"),
            size.label("size_bytes"),
            func.count().filter(has_copy).label("copied"),
            func.coalesce(func.sum(file.c.size_bytes).filter(has_copy), 0).label("copied_bytes"),
            func.count().filter(file.c.state.in_(("verified", "removed"))).label("verified"),
            func.count().filter(file.c.state == "held").label("held"),
            func.count().filter(file.c.state.in_(("seen", "complete", "copying", "copied"))).label("waiting"),
        ).where(file.c.microscope == microscope, file.c.state != "vanished")
    ).one()
    scanned = select(func.min(share_state.c.scan_began_at)).where(share_state.c.microscope == microscope)
    counts = {name: int(value) for name, value in row._mapping.items()}  # noqa: SLF001  # public name
    return Backlog(**counts, scan_began_at=connection.execute(scanned).scalar_one())
