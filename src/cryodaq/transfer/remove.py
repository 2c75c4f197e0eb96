"""Remove one file from a share, and never another one that got its name meanwhile.

The file is first renamed aside, under a name that carries the lease's token; then its identity is compared; then
it is unlinked, or renamed back. Who crashes in between finds the file under its aside name (`settle_aside`).
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal

from cryodaq.domain.names import safe_relative_path
from cryodaq.errors import RemovalOpenError, SourceUnstableError, SourceVanishedError, TransferError
from cryodaq.transfer.beneath import rename_without_replacing
from cryodaq.transfer.scan import Identity

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
