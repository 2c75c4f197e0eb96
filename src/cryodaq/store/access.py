"""Who may read an experiment's folders, as a state that is compared and mended, not as an event.

Readers read files and pass folders; new files inherit that; others get nothing. What is compared is what is effective:
a mask that a program narrowed takes the access away as surely as a missing entry. Entries that staff added by hand are
kept; only those are removed that were ours and are not wanted any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryodaq.errors import StoreError
from cryodaq.store.acl import (
    EXECUTE,
    READ,
    Acl,
    read_access,
    read_default,
    write_access,
    write_default,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """People and groups by numeric ids."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def __or__(self, other: Readers) -> Readers:
        """Return both."""
        return Readers(uids=self.uids | other.uids, gids=self.gids | other.gids)

    def __sub__(self, other: Readers) -> Readers:
        """Return those who are not among the others."""
        return Readers(uids=self.uids - other.uids, gids=self.gids - other.gids)

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self.uids) + len(self.gids)


NOBODY = Readers()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDifference:
    """What is wrong with the rights of one file or folder."""

    path: Path
    problem: str


def grant_file(file: Path, readers: Readers) -> None:
    """Let readers, and nobody who was named before, read one file. Raises `StoreError`."""
    write_access(file, _wanted(Acl(owner=6, group=4, others=0), readers, NOBODY, folder=False))


def grant_tree(root: Path, readers: Readers, *, revoke: Readers = NOBODY) -> int:
    """Give a folder and all below it to its readers, take it from `revoke`, and return how many were changed.

    Links are not followed; what vanishes on the way is left out. Raises `StoreError`.
    """
    changed = 0
    for path, folder in _tree(root):
        try:
            changed += _mend(path, readers, revoke, folder=folder)
        except StoreError:
            if path == root or path.exists():
                raise
    return changed


def check_tree(root: Path, readers: Readers, *, revoke: Readers = NOBODY) -> Iterator[AccessDifference]:
    """Tell where readers cannot read, or where somebody can who must not. Raises `StoreError`."""
    for path, folder in _tree(root):
        found, inherited = _rights(path, folder=folder)
        problem = _difference(found, inherited, readers, revoke, folder=folder)
        if problem is not None:
            yield AccessDifference(path=path, problem=problem)


def make_passable(folder: Path, *, below: Path) -> None:
    """Let everybody pass, and not list, the folders between the storage's root and an experiment's.

    Raises `StoreError`.
    """
    for parent in (one for one in folder.parents if one != below and one.is_relative_to(below)):
        found = read_access(parent)
        if not found.others & EXECUTE:
            write_access(parent, replace(found, others=found.others | EXECUTE))


def impassable_parents(folder: Path) -> list[Path]:
    """Return the folders on the way to one that others cannot pass."""
    return [parent for parent in (folder, *folder.parents) if not read_access(parent).others & EXECUTE]


def _tree(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield a folder and all below it that is no link, and whether it is a folder."""
    yield root, True
    for name, folders, files in os.walk(root):
        here = Path(name)
        folders[:] = [one for one in folders if not (here / one).is_symlink()]
        yield from ((here / one, True) for one in folders)
        yield from ((here / one, False) for one in files if not (here / one).is_symlink())


def _mend(path: Path, readers: Readers, revoke: Readers, *, folder: bool) -> bool:
    """Set what is effectively wrong; what only looks different is left as it is."""
    found, inherited = _rights(path, folder=folder)
    if _difference(found, inherited, readers, revoke, folder=folder) is None:
        return False
    wanted = _wanted(found, readers, revoke, folder=folder)
    if wanted != found:
        write_access(path, wanted)
    if folder and (default := _inherited(inherited, readers, revoke)) != inherited:
        write_default(path, default)
    return True


def _rights(path: Path, *, folder: bool) -> tuple[Acl, Acl | None]:
    """Return what holds for a file or folder, and what new files in a folder inherit."""
    return read_access(path), read_default(path) if folder else None


def _inherited(found: Acl | None, readers: Readers, revoke: Readers) -> Acl:
    return _wanted(found or Acl(owner=7, group=5, others=0), readers, revoke, folder=True)


def _wanted(found: Acl, readers: Readers, revoke: Readers, *, folder: bool) -> Acl:
    """Return a list in which readers read, the revoked are gone, others have nothing, and the rest is as found."""
    rights = READ | EXECUTE if folder else READ
    users = _named(found.users, readers.uids, revoke.uids, rights)
    groups = _named(found.groups, readers.gids, revoke.gids, rights)
    mask = rights
    for granted in (*users.values(), *groups.values()):
        mask |= granted
    return Acl(owner=7 if folder else 6, group=rights, others=0, mask=mask, users=users, groups=groups)


def _named(found: Mapping[int, int], wanted: frozenset[int], revoked: frozenset[int], rights: int) -> dict[int, int]:
    kept = {number: granted for number, granted in found.items() if number not in revoked - wanted}
    return kept | {number: kept.get(number, 0) | rights for number in wanted}


def _difference(found: Acl, inherited: Acl | None, readers: Readers, revoke: Readers, *, folder: bool) -> str | None:
    rights = READ | EXECUTE if folder else READ
    for label, named, wanted, gone in (
        ("user", found.users, readers.uids, revoke.uids - readers.uids),
        ("group", found.groups, readers.gids, revoke.gids - readers.gids),
    ):
        for number in sorted(wanted):
            if found.effective(named.get(number, 0)) & rights != rights:
                return f"{label} {number} cannot {'enter it' if folder else 'read it'}"
        for number in sorted(gone & named.keys()):
            return f"{label} {number} can still read it"
    if found.others:
        return "everybody on the system has rights to it"
    if folder and inherited != _inherited(inherited, readers, revoke):
        return "new files in it would not be readable for all readers"
    return None
