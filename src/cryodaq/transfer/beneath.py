"""Open files of a share without ever leaving it, and rename without ever replacing."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cryodaq.domain.names import safe_relative_path
from cryodaq.errors import ShareMissingError, SourceVanishedError, TransferError

FOLDER_MODE = 0o750
FILE_MODE = 0o640
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NOT_OFFERED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


def check_share(root: Path, *, sentinel: str | None, device: int | None) -> int:
    """Return the mount's device number.

    Parameters
    ----------
    sentinel
        A file in the root that proves the mount; None where there is none.
    device
        What the mount was before; another one means that it was mounted anew.

    Raises
    ------
    ShareMissingError
    """
    try:
        found = root.stat().st_dev
        if sentinel is not None:
            (root / sentinel).stat()
    except OSError as error:
        raise ShareMissingError(root, why=f"{sentinel or root} is not there") from error
    if device is not None and found != device:
        raise ShareMissingError(root, why=f"another file system is there than before (device {found}, not {device})")
    return found


@contextmanager
def open_beneath(root: Path, relative: str) -> Iterator[int]:
    """Open a regular file of the share for reading and yield its descriptor.

    Raises
    ------
    SourceVanishedError
        It is not there.
    TransferError
        It lies outside the share, because a symbolic link leads there.
    """
    path = root / safe_relative_path(relative)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceVanishedError(PurePosixPath(relative)) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise TransferError(message) from error
    try:
        _check_is_beneath(descriptor, root, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_is_beneath(descriptor: int, root: Path, path: Path) -> None:
    """Ask the kernel where the open file really lies: no race with whoever moves folders about."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        message = f"{path} is not a regular file; it was not read"
        raise TransferError(message)
    real = Path(f"/proc/self/fd/{descriptor}").readlink()
    if not real.is_relative_to(root.resolve()):
        message = f"{path} leads out of the share to {real}; it was not read"
        raise TransferError(message)


def rename_without_replacing(source: Path, target: Path) -> None:
    """Rename within one file system.

    Raises
    ------
    FileExistsError
        Something has the name already; nothing was changed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    if result == 0:
        return
    code = ctypes.get_errno()
    if code not in _NOT_OFFERED:
        raise OSError(code, os.strerror(code), str(source), None, str(target))
    os.link(source, target)
    source.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename within a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(base: Path, relative: PurePosixPath, *, mode: int = FOLDER_MODE) -> Path:
    """Make the folders of `relative` below an existing folder and return the last one.

    Raises `TransferError` when the base is not there: it is made, with its access rights, by who prepares it.
    """
    if not base.is_dir():
        message = f"the folder {base} is not there yet; it is made when its sample is prepared"
        raise TransferError(message)
    folder = base
    for part in relative.parts:
        folder /= part
        try:
            folder.mkdir(mode=mode)
        except FileExistsError:
            continue
        sync_folder(folder.parent)
    return folder
