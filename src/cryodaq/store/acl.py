"""POSIX access control lists as Linux keeps them: two extended attributes of fixed form, read and written whole.

The form is that of `linux/posix_acl_xattr.h`: a version, then entries of tag, permissions and id. What an entry
grants is limited by the mask, which also stands where the group's permissions are shown and set (chmod). See acl(5).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryodaq.errors import StoreError

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
NFS4 = ("system.nfs4_acl", "system.nfs4acl")
READ, EXECUTE = 4, 1
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
_ABSENT = frozenset({errno.ENODATA})
_NOT_OFFERED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Acl:
    """Who may do what; permissions are the octal digits 4 (read), 2 (write) and 1 (execute, pass)."""

    owner: int
    group: int
    others: int
    mask: int | None = None
    """What named users, named groups and the group get at most; None where nobody is named."""
    users: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)

    def effective(self, granted: int) -> int:
        """Return what is left of a granted permission under the mask."""
        return granted if self.mask is None else granted & self.mask

    def encode(self) -> bytes:
        """Return the extended attribute."""
        entries = [(_USER_OBJ, self.owner, _NOBODY)]
        entries += [(_USER, perms, uid) for uid, perms in sorted(self.users.items())]
        entries += [(_GROUP_OBJ, self.group, _NOBODY)]
        entries += [(_GROUP, perms, gid) for gid, perms in sorted(self.groups.items())]
        entries += [] if self.mask is None else [(_MASK, self.mask, _NOBODY)]
        entries += [(_OTHER, self.others, _NOBODY)]
        return _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def decode(attribute: bytes) -> Acl:
    """Read an extended attribute. Raises `ValueError` for anything else."""
    if len(attribute) < _VERSION.size or _VERSION.unpack_from(attribute) != (2,):
        raise ValueError("this is no POSIX access control list of version 2")
    single: dict[int, int] = {}
    named: dict[int, dict[int, int]] = {_USER: {}, _GROUP: {}}
    for tag, perms, number in _ENTRY.iter_unpack(attribute[_VERSION.size :]):
        if tag in named:
            named[tag][number] = perms
        else:
            single[tag] = perms
    return Acl(
        owner=single[_USER_OBJ],
        group=single[_GROUP_OBJ],
        others=single[_OTHER],
        mask=single.get(_MASK),
        users=named[_USER],
        groups=named[_GROUP],
    )


def read_access(path: Path) -> Acl:
    """Return who may do what with a file or folder; without a list, what its mode says. Raises `StoreError`."""
    found = _read(path, ACCESS)
    if found is not None:
        return found
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise _error(path, error) from error
    return Acl(owner=mode >> 6 & 7, group=mode >> 3 & 7, others=mode & 7)


def read_default(folder: Path) -> Acl | None:
    """Return what new files of a folder inherit, None for nothing. Raises `StoreError`."""
    return _read(folder, DEFAULT)


def write_access(path: Path, acl: Acl) -> None:
    """Say who may do what with a file or folder. Raises `StoreError`."""
    _write(path, ACCESS, acl)


def write_default(folder: Path, acl: Acl) -> None:
    """Say what new files of a folder inherit. Raises `StoreError`."""
    _write(folder, DEFAULT, acl)


def _read(path: Path, name: str) -> Acl | None:
    try:
        return decode(os.getxattr(path, name))
    except OSError as error:
        if error.errno in _ABSENT or error.errno in _NOT_OFFERED:
            return None
        raise _error(path, error) from error
    except (ValueError, KeyError, struct.error) as error:
        message = f"the rights of {path} cannot be read: {error}"
        raise StoreError(message) from error


def _write(path: Path, name: str, acl: Acl) -> None:
    try:
        os.setxattr(path, name, acl.encode())
    except OSError as error:
        raise _error(path, error) from error


def _error(path: Path, error: OSError) -> StoreError:
    hint = ""
    if error.errno in _NOT_OFFERED:
        hint = "; the file system has no POSIX ACLs, mount it with acl"
    if error.errno == errno.EPERM:
        hint = "; only its owner and root may change them"
    return StoreError(f"the rights of {path} cannot be read or set: {error.strerror}{hint}")


def kind_of(folder: Path) -> Literal["posix", "nfs4", "none"]:
    """Return which access control lists a file system keeps, tried on a file of its own, which is removed again.

    Raises `StoreError` when nothing can be written there.
    """
    trial = folder / f".cryodaq-acl-{os.getpid()}"
    asked = Acl(owner=6, group=0, others=0, mask=4, users={65_534: 4})
    try:
        trial.touch(0o600)
        try:
            if set(NFS4) & set(os.listxattr(trial)):
                return "nfs4"
            write_access(trial, asked)
            return "posix" if read_access(trial) == asked else "none"
        except StoreError:
            return "none"
        finally:
            trial.unlink(missing_ok=True)
    except OSError as error:
        raise _error(trial, error) from error
