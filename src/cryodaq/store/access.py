"""Access rights: POSIX ACLs, set through libacl (on every Debian) without a compiled package.

Collaborators read and pass folders; new files inherit through default ACLs; others get nothing. See acl(5).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryodaq.errors import StoreError

ACL_TYPE_ACCESS = 0x8000
ACL_TYPE_DEFAULT = 0x4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Who may read an experiment, by numeric ids."""

    uids: frozenset[int]
    gids: frozenset[int]

    def acl_text(self, *, folder: bool, owner: str, group: str) -> str:
        """Return the ACL in libacl's short text form."""
        rights = "r-x" if folder else "r--"
        entries = [f"u::{owner}", f"g::{group}", "o::---", f"m::{rights}"]
        entries += [f"u:{uid}:{rights}" for uid in sorted(self.uids)]
        entries += [f"g:{gid}:{rights}" for gid in sorted(self.gids)]
        return ",".join(entries)


@cache
def _libacl() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(ctypes.util.find_library("acl") or "libacl.so.1", use_errno=True)
    except OSError as error:
        message = "libacl is missing (Debian package libacl1): access rights cannot be set"
        raise StoreError(message) from error
    library.acl_from_text.restype = ctypes.c_void_p
    library.acl_from_text.argtypes = [ctypes.c_char_p]
    library.acl_set_file.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    library.acl_free.argtypes = [ctypes.c_void_p]
    return library


def _set_acl(path: Path, kind: int, text: str) -> None:
    library = _libacl()
    acl = library.acl_from_text(text.encode())
    if not acl:
        message = f"libacl does not understand {text!r}: {os.strerror(ctypes.get_errno())}"
        raise StoreError(message)
    try:
        if library.acl_set_file(os.fsencode(path), kind, acl) != 0:
            number = ctypes.get_errno()
            hint = "; the file system has no POSIX ACLs, mount it with acl" if number == errno.EOPNOTSUPP else ""
            message = f"the rights of {path} cannot be set: {os.strerror(number)}{hint}"
            raise StoreError(message)
    finally:
        library.acl_free(acl)


def grant_folder(folder: Path, readers: Readers) -> None:
    """Let readers enter a folder and read what is made in it from now on. Raises `StoreError`."""
    text = readers.acl_text(folder=True, owner="rwx", group="r-x")
    _set_acl(folder, ACL_TYPE_ACCESS, text)
    _set_acl(folder, ACL_TYPE_DEFAULT, text)


def grant_file(file: Path, readers: Readers) -> None:
    """Let readers read one file. Raises `StoreError`."""
    _set_acl(file, ACL_TYPE_ACCESS, readers.acl_text(folder=False, owner="rw-", group="r--"))


def grant_tree(root: Path, readers: Readers, *, skip: Iterable[str] = (".attempts",)) -> int:
    """Give a folder and all below it to its readers; return how many rights were set.

    Links are not followed; what vanishes on the way is left out. Raises `StoreError`.
    """
    skipped = frozenset(skip)
    grant_folder(root, readers)
    count = 1
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in skipped and not (Path(folder) / name).is_symlink()]
        for name in (*folders, *files):
            path = Path(folder) / name
            if path.is_symlink() or not path.exists():
                continue
            (grant_folder if path.is_dir() else grant_file)(path, readers)
            count += 1
    return count
