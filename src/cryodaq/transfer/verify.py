"""Read a copy again from storage and compare: only this proves that the storage holds it.

The page cache is told to drop the file first. On a local file system the bytes then come from the disk; a
file system that caches elsewhere (a server, a controller) may still answer from memory, and says so nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryodaq.errors import CopyMismatchError, TransferError
from cryodaq.transfer.beneath import open_beneath, sync_folder
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


def put_in_place(part: Path, target: Path, *, token: str) -> Path:
    """Put a good copy in the place of a damaged one, which is kept, hidden, for whoever asks why; return where.

    The final name is never without a file: it stands for the damaged copy, and then for the good one.

    Raises
    ------
    TransferError
        The damaged copy has its name still; the good one has none.
    """
    aside = target.with_name(f".{target.name[:180]}.{token}.damaged")
    try:
        with suppress(FileNotFoundError, FileExistsError):  # nobody is in the way; or an attempt before did it
            os.link(target, aside)
        part.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        message = f"{target} is damaged and cannot be replaced: {error.strerror}"
        raise TransferError(message) from error
    return aside
