"""Who gets and who loses access to an experiment's files, from what the elogbook says and what was set before.

Access is taken away only when a person is gone from a complete answer. Who is there but has no number that the
system knows keeps what was set. A change that would take it from more than half waits for a person to confirm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryodaq.domain.experiment import Collaborator

LARGEST_ID = 2**32 - 2
"""The number after it means nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A collaborator whose access is set, or was."""

    uid: str
    is_group: bool
    posix_id: int | None
    """None: it could not be set, because nobody knows the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPlan:
    """What is to be set."""

    grants: tuple[Grant, ...]
    revoked: tuple[Grant, ...]
    """Those who had access and are gone from the answer."""
    unknown: tuple[str, ...]
    """Who is in the answer without a number; an earlier number goes on."""
    must_be_confirmed: bool
    """More than half of those who had access would lose it."""


def plan_access(applied: Sequence[Grant], collaborators: Sequence[Collaborator]) -> AccessPlan:
    """Compare what was set last with the elogbook's answer, which is complete: an incomplete one is an error before.

    A collaborator is known by the elogbook's name; a changed number takes the access from the number before.
    """
    before = {grant.uid: grant for grant in applied}
    grants, unknown = [], []
    for person in sorted(collaborators, key=lambda one: one.uid):
        number = person.posix_id if person.posix_id is not None and 0 < person.posix_id <= LARGEST_ID else None
        if number is None:
            unknown.append(person.uid)
            number = before[person.uid].posix_id if person.uid in before else None
        grants.append(Grant(uid=person.uid, is_group=person.is_group, posix_id=number))
    had = {_identity(grant): grant for grant in applied if grant.posix_id is not None}
    have = {_identity(grant) for grant in grants if grant.posix_id is not None}
    revoked = [grant for identity, grant in had.items() if identity not in have]
    return AccessPlan(
        grants=tuple(grants),
        revoked=tuple(revoked),
        unknown=tuple(unknown),
        must_be_confirmed=2 * len(revoked) > len(had),
    )


def _identity(grant: Grant) -> tuple[bool, int | None]:
    return grant.is_group, grant.posix_id


class Standing(StrEnum):
    """Whether somebody of the elogbook's list can read the files."""

    EFFECTIVE = "effective"
    PENDING = "pending"
    """Set by one of the next passes."""
    UNRESOLVABLE = "unresolvable"
    """Nobody knows the number; what was set before, if anything, goes on."""
    LEAVING = "leaving"
    """Gone from the list; taken away by one of the next passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody of an experiment, and whether the files know it."""

    person: Collaborator
    standing: Standing


def standings(applied: Sequence[Grant], collaborators: Sequence[Collaborator]) -> list[Reader]:
    """Compare what was set last with the elogbook's answer, person by person; who is leaving stands last."""
    plan = plan_access(applied, collaborators)
    set_before = {(grant.uid, grant.posix_id) for grant in applied if grant.posix_id is not None}
    found = []
    for person in sorted(collaborators, key=lambda one: one.uid):
        if person.uid in plan.unknown:
            standing = Standing.UNRESOLVABLE
        else:
            known = (person.uid, person.posix_id) in set_before
            standing = Standing.EFFECTIVE if known else Standing.PENDING
        found.append(Reader(person=person, standing=standing))
    listed = {person.uid for person in collaborators}
    gone = [grant for grant in plan.revoked if grant.uid not in listed]
    return found + [
        Reader(
            person=Collaborator(uid=grant.uid, is_group=grant.is_group, posix_id=grant.posix_id),
            standing=Standing.LEAVING,
        )
        for grant in gone
    ]
