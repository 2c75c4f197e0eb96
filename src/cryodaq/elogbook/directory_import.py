"""Bringing the people and groups of the site's directory into the elogbook's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from cryodaq.elogbook import accounts
from cryodaq.elogbook import tables as t
from cryodaq.ports import DirectoryGroup, DirectoryPerson


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did."""

    added: int
    changed: int
    groups: int
    gone: tuple[str, ...]
    """Usable accounts with a numeric id that the directory does not know (any more)."""


def import_directory(
    connection: Connection, *, people: Sequence[DirectoryPerson], groups: Sequence[DirectoryGroup]
) -> Imported:
    """Add and correct people and groups; nobody is removed, and no right changes but by groups' members.

    Raises `AccountError` for a name that cannot be an account; then nothing is changed.
    """
    a = t.account.c
    known = {row.uid: row for row in connection.execute(sa.select(a.uid, a.full_name, a.uid_number, a.disabled_at))}
    added = changed = 0
    for person in people:
        before = known.get(person.uid)
        added += before is None
        differs = before is not None and (before.full_name, before.uid_number) != (person.full_name, person.uid_number)
        changed += differs
        if before is None or differs:
            accounts.add_user(connection, person.uid, full_name=person.full_name, uid_number=person.uid_number)
    present = {person.uid for person in people} | known.keys()
    for group in groups:
        accounts.add_group(connection, group.name, gid_number=group.gid_number)
        accounts.set_group_members(connection, group.name, uids=group.members & present)
    listed = {person.uid for person in people}
    gone = sorted(
        uid
        for uid, row in known.items()
        if uid not in listed and row.uid_number is not None and row.disabled_at is None
    )
    return Imported(added=added, changed=changed, groups=len(groups), gone=tuple(gone))
