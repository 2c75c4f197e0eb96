"""Whose copies are where, and how well proved: what manifests, verification and certificates are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from cryodaq.errors import LedgerError
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.samples import SampleRecord, find_sample
from cryodaq.ledger.tables import exposure, file, sample


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
