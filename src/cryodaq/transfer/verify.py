"""Read a copy again from storage and compare: only this proves that the storage holds it.

The page cache is told to drop the file first. On a local file system the bytes then come from the disk; a
file system that caches elsewhere (a server, a controller) may still answer from memory, and says so nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from cryodaq.errors import CopyMismatchError, SourceVanishedError, TransferError
from cryodaq.transfer.beneath import open_beneath, rename_without_replacing, sync_folder
from cryodaq.transfer.pour import UNLIMITED, Throttle, hash_descriptor


def verify(
    target: Path,
    *,
    xxh3_128: str,
    throttle: Throttle = UNLIMITED,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Compare a copy with the hash that was taken when it was made.

    Parameters
    ----------
    throttle
        Keeps verification from disturbing who collects and processes.

    Raises
    ------
    CopyMismatchError
    TransferError
        It cannot be read.
    """
    found = hash_from_storage(target, throttle=throttle, progress=progress)
    if found != xxh3_128:
        raise CopyMismatchError(target, expected=xxh3_128, found=found)


def hash_from_storage(
    path: Path,
    *,
    throttle: Throttle = UNLIMITED,
    progress: Callable[[int], None] = lambda _: None,
) -> str:
    """Return the xxh3_128 of a file, read past the page cache where the system lets us. Raises `TransferError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise TransferError(message) from error
    try:
        return _from_storage(descriptor, throttle=throttle, progress=progress)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise TransferError(message) from error
    finally:
        os.close(descriptor)


def hash_of_source(root: Path, relative: str, *, progress: Callable[[int], None] = lambda _: None) -> str:
    """Return the xxh3_128 of a file of the share. Raises `SourceVanishedError` or `TransferError`."""
    with open_beneath(root, relative) as descriptor:
        try:
            return _from_storage(descriptor, throttle=UNLIMITED, progress=progress)
        except OSError as error:
            message = f"{root / relative} cannot be read: {error.strerror}"
            raise TransferError(message) from error


def _from_storage(descriptor: int, *, throttle: Throttle, progress: Callable[[int], None]) -> str:
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    found = hash_descriptor(descriptor, throttle=throttle, progress=progress)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return found


def set_aside(target: Path, *, token: str) -> Path:
    """Rename a damaged copy so that a good one can have its name; it is kept, hidden, for whoever asks why.

    Raises `SourceVanishedError` when it is not there.
    """
    aside = target.with_name(f".{target.name[:180]}.{token}.damaged")
    try:
        rename_without_replacing(target, aside)
    except FileNotFoundError as error:
        raise SourceVanishedError(PurePosixPath(target)) from error
    except OSError as error:
        message = f"{target} cannot be set aside: {error.strerror}"
        raise TransferError(message) from error
    sync_folder(target.parent)
    return aside
