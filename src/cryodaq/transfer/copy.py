"""Copy one file so that its final name never stands for anything but a whole, hashed, synced copy.

A copy grows under a hidden `.part` name that carries the lease's token, is hashed in the same pass (xxh3_128),
synced, and only then, in a step of its own that the caller takes under the lease, gets its final name, which is
never taken from another file. What this proves: the bytes that were read are the bytes that were handed to the
storage, and the source did not change meanwhile. That the storage kept them is proved by `verify`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Never

from cryodaq.errors import SourceUnstableError, TargetExistsError, TargetFullError, TransferError
from cryodaq.transfer.beneath import (
    FILE_MODE,
    FOLDER_MODE,
    make_folders,
    open_beneath,
    rename_without_replacing,
    sync_folder,
)
from cryodaq.transfer.pour import UNLIMITED, Throttle, hash_descriptor, pour

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOrder:
    """One copy to make."""

    source: str
    """Relative to the share's root."""
    size_bytes: int
    mtime_ns: int
    """What the source was when it was judged complete."""
    base: Path
    """Existing folder below which missing folders are made."""
    relative: PurePosixPath
    """Where the copy goes, below `base`."""
    token: str
    """Of the lease; part of the hidden name."""
    number: int
    """Of the file; part of the hidden name too: two files may want the same final name at once."""
    living: bool = False
    """A file that programs rewrite all session: its state at opening is copied, changes meanwhile are expected."""
    folder_mode: int = FOLDER_MODE

    @property
    def target(self) -> Path:
        """The final name."""
        return self.base / self.relative

    @property
    def part(self) -> Path:
        """The hidden name while it grows."""
        return part_path(self.target, number=self.number, token=self.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCopy:
    """A whole copy that has no final name yet."""

    part: Path
    xxh3_128: str
    size_bytes: int
    mtime_ns: int
    inode: int


class CopyCancelledError(TransferError):
    """The caller does not want the copy any more; nothing of it is left."""


def part_path(target: Path, *, number: int, token: str) -> Path:
    """Return the hidden name of a copy that is being made; long names are cut."""
    stem = target.name.encode()[:180].decode(errors="ignore")
    return target.with_name(f".{stem}.{number}.{token}.part")


def copy_to_part(
    root: Path,
    order: CopyOrder,
    *,
    progress: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    throttle: Throttle = UNLIMITED,
) -> PartCopy:
    """Copy a file of the share to its `.part` name, hashed and synced; its times are kept.

    Parameters
    ----------
    progress
        Called with the bytes copied so far, again and again.
    throttle
        Shared by all copies that together keep to one rate.

    Raises
    ------
    SourceVanishedError
    SourceUnstableError
        The source is not, or does not stay, what it was when it was judged complete.
    TargetFullError
    CopyCancelledError
    TransferError
        Anything else that reading or writing met. After every error no part is left.
    """
    with open_beneath(root, order.source) as source:
        before = os.fstat(source)
        if not order.living and (before.st_size, before.st_mtime_ns) != (order.size_bytes, order.mtime_ns):
            raise SourceUnstableError(PurePosixPath(order.source), change="since it was judged complete")
        make_folders(order.base, order.relative.parent, mode=order.folder_mode)
        try:
            check = partial(_go_on, order, progress=progress, cancelled=cancelled)
            digest, copied = _copy_bytes(source, order, size_bytes=before.st_size, check=check, throttle=throttle)
            after = os.fstat(source)
            if not order.living:
                _check_unchanged(order, before, after)
                _check_size(order, copied, before.st_size)
            os.utime(order.part, ns=(before.st_atime_ns, before.st_mtime_ns))
        except OSError as error:
            _discard(order.part)
            raise _as_transfer_error(error, order.target) from error
        except BaseException:
            _discard(order.part)
            raise
    return PartCopy(
        part=order.part,
        xxh3_128=digest,
        size_bytes=copied,
        mtime_ns=before.st_mtime_ns,
        inode=before.st_ino,
    )


def _copy_bytes(
    source: int, order: CopyOrder, *, size_bytes: int, check: Callable[[int], None], throttle: Throttle
) -> tuple[str, int]:
    """Copy up to `size_bytes`, return (hash, bytes)."""
    os.posix_fadvise(source, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    part = os.open(order.part, flags, FILE_MODE)
    try:
        digest, copied = pour(source, part, size_bytes=size_bytes, check=check, throttle=throttle)
        os.fsync(part)
    finally:
        os.close(part)
    return digest, copied


def _go_on(order: CopyOrder, copied: int, *, progress: Callable[[int], None], cancelled: Callable[[], bool]) -> None:
    progress(copied)
    if cancelled():
        message = f"the copy of {order.source} was given up"
        raise CopyCancelledError(message)


def _check_unchanged(order: CopyOrder, before: os.stat_result, after: os.stat_result) -> None:
    if after.st_size != before.st_size:
        change = f"from {before.st_size} to {after.st_size} bytes"
        raise SourceUnstableError(PurePosixPath(order.source), change=change)
    if after.st_mtime_ns != before.st_mtime_ns:
        raise SourceUnstableError(PurePosixPath(order.source), change="it was written to")


def _check_size(order: CopyOrder, copied: int, size_bytes: int) -> None:
    if copied != size_bytes:
        change = f"it ended after {copied} of {size_bytes} bytes"
        raise SourceUnstableError(PurePosixPath(order.source), change=change)


def _discard(part: Path) -> None:
    with suppress(OSError):
        part.unlink(missing_ok=True)


def _as_transfer_error(error: OSError, target: Path) -> TransferError:
    if error.errno in _FULL:
        return TargetFullError(target.parent, free_bytes=free_bytes(target.parent))
    return TransferError(f"{target} could not be copied: {error.strerror}")


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free for us on a folder's file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def publish(part: Path, target: Path, *, xxh3_128: str) -> bool:
    """Give a copy its final name; return False when the same copy had it already (after a crash).

    Raises
    ------
    TargetExistsError
        Another file has the name; the part is gone, nothing was replaced.
    """
    try:
        rename_without_replacing(part, target)
    except FileExistsError:
        _discard(part)
        if hash_of(target) != xxh3_128:
            raise TargetExistsError(target) from None
        return False
    except FileNotFoundError as error:
        message = f"{part} is gone: another process gave this copy up"
        raise TransferError(message) from error
    except OSError as error:
        raise _as_transfer_error(error, target) from error
    sync_folder(target.parent)
    return True


def refuse_name(part: Path, target: Path) -> Never:
    """Discard a copy whose name belongs to another file by record. Raises `TargetExistsError`."""
    _discard(part)
    raise TargetExistsError(target)


def publish_living(part: Path, target: Path) -> None:
    """Put the newest state of a living file in the place of our older copy: the one replacement there is."""
    try:
        part.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise _as_transfer_error(error, target) from error


def discard_parts(folder: Path, *, token: str) -> int:
    """Remove from a folder what other leases left of copies that were never finished; return how many parts."""
    mine = f".{token}.part"
    count = 0
    with suppress(FileNotFoundError):
        for found in folder.iterdir():
            if found.name.startswith(".") and found.name.endswith(".part") and not found.name.endswith(mine):
                _discard(found)
                count += 1
    return count


def hash_of(path: Path) -> str:
    """Return a file's xxh3_128, through the page cache."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return hash_descriptor(descriptor)
    finally:
        os.close(descriptor)
