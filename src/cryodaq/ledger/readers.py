"""Who reads an experiment's files: what was set last, what is just being set, and what must be compared again.

Setting access takes as long as walking all files does, and files may come to the experiment meanwhile with the
readers of a moment ago. Each such event raises a number; whoever ends finds it changed and knows of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from cryodaq.ledger.tables import experiment, sample

AT_ONCE = 5
"""Experiments compared in one pass."""
Person = Mapping[str, object]
"""A collaborator whose access was set, as JSON: `uid`, `is_group`, `posix_id`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedAccess:
    """The collaborators whose access was set last."""

    collaborators: tuple[Person, ...]
    complete: bool
    """False: nobody knows which files have it; those are among them who were to lose it."""
    changes: int
    """How often access was begun to be set, or put in doubt."""


def applied_access(connection: Connection, experiment_name: str, *, lock: bool = False) -> AppliedAccess:
    """Return whose access was set last, nobody's before the first time.

    Parameters
    ----------
    lock
        Nobody else changes it until the transaction ends.
    """
    columns = (experiment.c.collaborators, experiment.c.access_applied_at, experiment.c.access_changes)
    query = select(*columns).where(experiment.c.name == experiment_name)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    if row is None:
        return AppliedAccess(collaborators=(), complete=False, changes=0)
    return AppliedAccess(
        collaborators=tuple(row.collaborators),
        complete=row.access_applied_at is not None,
        changes=row.access_changes,
    )


def begin_access(connection: Connection, experiment_name: str, collaborators: Sequence[Person]) -> int:
    """Record that access is being set: of all who had it, and of all who shall have it. Return the change's number.

    Whoever stops half-way is so known to have set some of it, and to have taken away some.
    """
    change = experiment.c.access_changes + 1
    statement = (
        update(experiment)
        .where(experiment.c.name == experiment_name)
        .values(collaborators=[dict(person) for person in collaborators], access_applied_at=None, access_changes=change)
        .returning(experiment.c.access_changes)
    )
    return connection.execute(statement).scalar_one_or_none() or 0


def save_collaborators(
    connection: Connection,
    experiment_name: str,
    collaborators: Sequence[Person],
    *,
    at: datetime,
    change: int | None = None,
) -> bool:
    """Record the collaborators whose access is set. Return False, and record nothing, when it is in doubt again.

    Parameters
    ----------
    change
        The number that `begin_access` gave; None: whatever happened meanwhile.
    """
    statement = update(experiment).where(experiment.c.name == experiment_name)
    if change is not None:
        statement = statement.where(experiment.c.access_changes == change)
    values = {"collaborators": [dict(person) for person in collaborators], "access_applied_at": at}
    return connection.execute(statement.values(**values)).rowcount > 0


def doubt_access(connection: Connection, experiment_name: str, granted: Sequence[Person]) -> None:
    """Have all files compared again, because some may be read by those whom access was `granted` a moment ago."""
    known = applied_access(connection, experiment_name, lock=True).collaborators
    identities = {_identity(person) for person in known}
    numbered = [person for person in granted if person["posix_id"] is not None]
    former = {_identity(person): person for person in numbered if _identity(person) not in identities}
    begin_access(connection, experiment_name, [*former.values(), *known])


def note_compared(connection: Connection, experiment_name: str, *, at: datetime) -> None:
    """Record when an experiment's turn was to be compared with the elogbook."""
    values = {"access_compared_at": at}
    connection.execute(update(experiment).where(experiment.c.name == experiment_name).values(**values))


def to_compare(connection: Connection, microscope: str, *, besides: str | None) -> list[str]:
    """Return a microscope's experiments whose access is in doubt, and the one that was compared longest ago.

    A few at a time, because each means a question to the elogbook.
    """
    mine = (experiment.c.microscope == microscope) & (experiment.c.name != (besides or ""))
    query = select(experiment.c.name, experiment.c.access_applied_at).where(mine)
    rows = connection.execute(query.order_by(experiment.c.access_compared_at.nulls_first(), experiment.c.name)).all()
    return [row.name for place, row in enumerate(rows) if place == 0 or row.access_applied_at is None][:AT_ONCE]


def experiments_active_since(connection: Connection, since: datetime) -> list[str]:
    """Return the experiments of which a sample was current since a time, by name."""
    query = select(sample.c.experiment).distinct().where(sample.c.last_active_at >= since)
    return sorted(connection.execute(query).scalars())


def _identity(person: Person) -> tuple[object, object]:
    return person["is_group"], person["posix_id"]
