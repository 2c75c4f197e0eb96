"""Leases: which process may change the facts of a microscope now.

Taking a lease raises its epoch, so whoever had it before is fenced: each of its transactions begins with `fence`,
which locks the lease's row until the transaction ends and fails when the epoch is another. A process that wakes
after an hour therefore changes nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.errors import LeaseLostError
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import lease

TTL = timedelta(seconds=30)
"""Without renewal for so long, a holder is shown as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to change what belongs to a name, until somebody else takes it."""

    name: str
    """A microscope, or `<microscope>/clear` for the removal on its shares."""
    epoch: int
    token: str
    """Eight hexadecimal digits; part of the names of unfinished files."""


def clearing(microscope: str) -> str:
    """Return the name of the lease for removing files from a microscope's shares."""
    return f"{microscope}/clear"


def acquire(connection: Connection, name: str, *, holder: str, at: datetime, ttl: timedelta = TTL) -> Lease:
    """Take the lease, from whoever had it.

    Waiting for a holder to expire would make every restart a gap; fencing makes taking over harmless.
    """
    token = secrets.token_hex(4)
    values = {"token": token, "holder": holder, "expires_at": at + ttl}
    previous = connection.execute(select(lease).where(lease.c.microscope == name).with_for_update()).first()
    epoch = connection.execute(
        insert(lease)
        .values(microscope=name, epoch=1, **values)
        .on_conflict_do_update(index_elements=[lease.c.microscope], set_={**values, "epoch": lease.c.epoch + 1})
        .returning(lease.c.epoch)
    ).scalar_one()
    if previous is not None and previous.expires_at > at:
        facts = {"from": previous.holder, "to": holder, "epoch": epoch}
        record_event(connection, "lease_taken_over", at=at, subject=Subject(microscope=name), facts=facts)
    return Lease(name=name, epoch=int(epoch), token=token)


def fence(connection: Connection, held: Lease) -> None:
    """Hold the lease's row until the transaction ends. Raises `LeaseLostError` when somebody else took it."""
    epoch = connection.execute(
        select(lease.c.epoch).where(lease.c.microscope == held.name).with_for_update()
    ).scalar_one_or_none()
    if epoch != held.epoch:
        raise LeaseLostError(held.name, epoch=held.epoch)


def renew(connection: Connection, held: Lease, *, at: datetime, ttl: timedelta = TTL) -> None:
    """Show that the holder is alive. Raises `LeaseLostError` when somebody else took the lease."""
    fence(connection, held)
    connection.execute(update(lease).where(lease.c.microscope == held.name).values(expires_at=at + ttl))


def release(connection: Connection, held: Lease, *, at: datetime) -> None:
    """Show that the holder ended in order; losing the lease before is no matter any more."""
    connection.execute(
        update(lease).where(lease.c.microscope == held.name, lease.c.epoch == held.epoch).values(expires_at=at)
    )
