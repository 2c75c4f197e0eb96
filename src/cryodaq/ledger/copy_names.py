"""The final names of copies: put on record before a copy gets its own, so that a crash leaves no doubt whose it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, bindparam, func, or_, select, update

from cryodaq.ledger.files import UNCOPIED, CopiedFile, FileRecord, record_of
from cryodaq.ledger.tables import file


def claimed_names(connection: Connection, wanted: Mapping[int, str]) -> set[int]:
    """Return which files want a name that another file's copy has on record, whether or not it lies there now.

    An assignment that stopped half-way may have moved that copy on already.
    """
    query = select(file.c.id, file.c.target).where(file.c.target == func.any(list(set(wanted.values()))))
    owners: dict[str, set[int]] = {}
    for row in connection.execute(query):
        owners.setdefault(row.target, set()).add(int(row.id))
    return {number for number, target in wanted.items() if owners.get(target, set()) - {number}}


def intend_names(connection: Connection, copies: Sequence[CopiedFile]) -> None:
    """Record which copies are about to get their final names: who crashes before `record_copies` is told by it."""
    if copies:
        connection.execute(
            update(file)
            .where(file.c.id == bindparam("file"))
            .values(target=bindparam("to"), xxh3_128=bindparam("hash")),
            [{"file": one.id, "to": one.target, "hash": one.xxh3_128} for one in copies],
        )


def intended_names(connection: Connection, microscope: str) -> list[FileRecord]:
    """Return the files of which nobody knows whether their copies got their final names.

    A living file is among them before its first copy only: later ones replace each other.
    """
    query = select(file).where(
        file.c.microscope == microscope,
        file.c.state.in_(sorted(UNCOPIED)),
        or_(file.c.role != "living", file.c.copied_at.is_(None)),
        file.c.xxh3_128.is_not(None),
        file.c.target.is_not(None),
    )
    return [record_of(row) for row in connection.execute(query.order_by(file.c.id))]


def forget_names(connection: Connection, ids: Collection[int]) -> None:
    """Record that copies did not get their final names."""
    if ids:
        unnamed = file.c.id == func.any(list(ids)), file.c.state.in_(sorted(UNCOPIED))
        connection.execute(update(file).where(*unnamed).values(target=None, xxh3_128=None))
