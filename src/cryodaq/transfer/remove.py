"""Remove one file from a share, and never another one that got its name meanwhile.

The file is first renamed aside, under a name that carries the lease's token; then its identity is compared; then
it is unlinked, or renamed back. Who crashes in between finds the file under its aside name (`settle_aside`).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal

from cryodaq.domain.names import safe_relative_path
from cryodaq.errors import RemovalOpenError, SourceUnstableError, SourceVanishedError, TransferError
from cryodaq.transfer.beneath import rename_without_replacing
from cryodaq.transfer.scan import Identity

RECYCLE_BINS = frozenset({"$recycle.bin", "recycler"})
_IN_USE = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT})
_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOSPC, errno.EDQUOT, errno.EBUSY})
"""Answers after which nothing was renamed; after any other one a server may have done it."""
Outcome = Literal["removed", "kept", "absent"]


def aside_name(relative: str, *, token: str, number: int) -> str:
    """Return the name, relative to the root, under which a file waits for its removal; scans ignore it."""
    folder, _, _ = relative.rpartition("/")
    name = f".cryodaq-aside-{token}-{number}"
    return f"{folder}/{name}" if folder else name


def remove(root: Path, relative: str, *, aside: str, expected: Identity) -> None:
    """Remove a file that still is the one expected (size, time of modification, inode).

    Raises
    ------
    SourceVanishedError
        It was not there.
    SourceUnstableError
        Another file has the name; it keeps it.
    RemovalOpenError
        It is aside, and the share does not let us go on, or a third file took its name.
    TransferError
        The share does not let us; it has its name.
    """
    source, waiting = root / safe_relative_path(relative), root / safe_relative_path(aside)
    _check(source, expected)
    try:
        rename_without_replacing(source, waiting)
    except FileNotFoundError as error:
        raise SourceVanishedError(source) from error
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise RemovalOpenError(source, why=f"renaming it was answered with: {error.strerror}") from error
        message = f"{source} cannot be renamed on the share: {error.strerror}"
        raise TransferError(message) from error
    try:
        outcome = settle_aside(root, relative, aside=aside, expected=expected)
    except TransferError as error:
        raise RemovalOpenError(source, why=str(error)) from error
    if outcome == "kept":
        raise SourceUnstableError(source, change="it was replaced before it could be removed")


def settle_aside(root: Path, relative: str, *, aside: str, expected: Identity) -> Outcome:
    """Finish a removal whose file was renamed aside: unlink what is expected, else give it its name back.

    Where it is under neither name it was removed before whoever did it could say so.
    Raises `TransferError` when its name was taken; then it stays aside.
    """
    source, waiting = root / safe_relative_path(relative), root / safe_relative_path(aside)
    try:
        _check(waiting, expected)
    except SourceVanishedError:
        return "absent" if _is_there(source) else "removed"
    except SourceUnstableError:
        try:
            rename_without_replacing(waiting, source)
        except OSError as error:
            message = (
                f"{waiting} is not what was to be removed, and cannot get its name {source.name} back: {error.strerror}"
            )
            raise TransferError(message) from error
        return "kept"
    try:
        waiting.unlink()
    except OSError as error:
        message = f"{waiting} cannot be removed: {error.strerror}"
        raise TransferError(message) from error
    return "removed"


def _is_there(path: Path) -> bool:
    try:
        path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        message = f"{path} cannot be looked at: {error.strerror}"
        raise TransferError(message) from error
    return True


def _check(path: Path, expected: Identity) -> None:
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError as error:
        raise SourceVanishedError(path) from error
    except OSError as error:
        message = f"{path} cannot be looked at: {error.strerror}"
        raise TransferError(message) from error
    if not stat.S_ISREG(found.st_mode) or (found.st_size, found.st_mtime_ns, found.st_ino) != expected:
        raise SourceUnstableError(path, change="it is another file than the one that was copied")


def remove_empty_folders(root: Path, relative: str) -> int:
    """Remove a folder of the share and those below it as far as they are empty; return how many went.

    Raises `TransferError` when the share does not let us look.
    """
    top = root / safe_relative_path(relative)
    if not top.resolve().is_relative_to(root.resolve()):
        message = f"{top} leads out of the share; it was left alone"
        raise TransferError(message)
    count = 0
    for name, _, _ in os.walk(top, topdown=False, onerror=_refuse):
        try:
            Path(name).rmdir()
        except OSError as error:
            if error.errno not in _IN_USE:
                message = f"{name} cannot be removed: {error.strerror}"
                raise TransferError(message) from error
        else:
            count += 1
    return count


def empty_recycle_bin(root: Path, *, older_than_s: float) -> int:
    """Remove from the share's recycle bin what was not changed for long, by the share's own clock.

    Returns the bytes that went. Raises `TransferError`.
    """
    bins = [
        entry
        for entry in _entries(root)
        if entry.name.lower() in RECYCLE_BINS and entry.is_dir() and not entry.is_symlink()
    ]
    if not bins:
        return 0
    now_s = _clock_of(root)
    freed = 0
    for bin_ in bins:
        for name, _, files in os.walk(bin_, onerror=_refuse):
            for file in files:
                freed += _remove_if_old(Path(name) / file, before_s=now_s - older_than_s)
    return freed


def _remove_if_old(path: Path, *, before_s: float) -> int:
    try:
        found = path.stat(follow_symlinks=False)
        if max(found.st_mtime, found.st_ctime) >= before_s:
            return 0
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        message = f"{path} cannot be removed: {error.strerror}"
        raise TransferError(message) from error
    return found.st_size


def _clock_of(root: Path) -> float:
    """Return the time of the share's own clock, s: that of a file made now."""
    trial = root / f".cryodaq-clock-{os.getpid()}"
    try:
        trial.touch()
        now_s = trial.stat().st_mtime
        trial.unlink()
    except OSError as error:
        message = f"{root} does not let us make a file: {error.strerror}"
        raise TransferError(message) from error
    return now_s


def _entries(root: Path) -> list[Path]:
    try:
        return list(root.iterdir())
    except OSError as error:
        _refuse(error)
        return []


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        message = f"{error.filename} cannot be looked at: {error.strerror}"
        raise TransferError(message) from error
