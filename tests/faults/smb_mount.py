"""Mounts a share of a real SMB server through FUSE, for machines whose kernel has no CIFS.

`python -m tests.faults.smb_mount PORT SHARE FOLDER [--listings-s N]` does what the kernel's client does: the server's
file ids are the inodes, a rename that must not replace is left to the server, names and attributes may be as old as
`listings_s`, opening a file asks for its attributes anew, and whoever waits for a server that does not answer waits for
ever, without hearing signals.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import smbclient
from mfusepy import FUSE, Operations
from smbprotocol.exceptions import EndOfFile, SMBException, SMBOSError
from smbprotocol.header import NtStatus

_ERRNO = {NtStatus.STATUS_SHARING_VIOLATION: errno.EBUSY, NtStatus.STATUS_ACCESS_DENIED: errno.EACCES}
_BLOCK = 4096
_NOREPLACE = 1


class SmbShare(Operations):
    """One share of a server on this machine."""

    use_ns = True

    def __init__(self, port: int, share: str, *, listings_s: float) -> None:
        self._port, self._root, self._listings_s = port, rf"\\127.0.0.1\{share}", listings_s
        smbclient.ClientConfig(require_secure_negotiate=False)  # guests have no key to check with
        self._connections: dict[str, object] = {}
        self._remembered: dict[tuple[str, str], tuple[float, object]] = {}
        self._numbers = itertools.count(1)
        self._open: dict[int, smbclient.SMBFileIO] = {}

    @contextmanager
    def _server(self, path: str) -> Iterator[tuple[str, dict[str, object]]]:
        """Yield a path's name on the server, and how to reach it; errors become those of a file system."""
        try:
            smbclient.register_session(
                "127.0.0.1",
                username="guest",
                password="",
                port=self._port,
                connection_cache=self._connections,
                auth_protocol="ntlm",
                require_signing=False,
            )
            yield (
                self._root + path.rstrip("/").replace("/", "\\"),
                {"port": self._port, "connection_cache": self._connections},
            )
        except SMBOSError as error:
            raise OSError(_ERRNO.get(error.ntstatus, error.errno or errno.EIO), str(error)) from error
        except (SMBException, ConnectionError, ValueError) as error:
            self._connections.clear()
            raise OSError(errno.EHOSTDOWN, str(error)) from error

    def _lately(self, kind: str, path: str, ask: Callable[[], object]) -> object:
        """Return what was heard lately, else ask."""
        known = self._remembered.get((kind, path))
        if known is None or known[0] < time.monotonic():
            known = (time.monotonic() + self._listings_s, ask())
            self._remembered[kind, path] = known
        return known[1]

    def _forget(self, *paths: str) -> None:
        for path in paths:
            for place in (path, path.rpartition("/")[0] or "/"):
                self._remembered.pop(("names", place), None)
                self._remembered.pop(("attributes", place), None)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        return self._lately("attributes", path, lambda: self._attributes(path))  # type: ignore[return-value]

    def _attributes(self, path: str) -> dict[str, int]:
        with self._server(path) as (name, how):
            found = smbclient.lstat(name, **how)
        return {
            "st_mode": stat.S_IFDIR | 0o755 if stat.S_ISDIR(found.st_mode) else stat.S_IFREG | 0o644,
            "st_nlink": 1,
            "st_size": found.st_size,
            "st_ino": found.st_ino,
            "st_mtime": found.st_mtime_ns,
            "st_ctime": found.st_chgtime_ns,
            "st_atime": found.st_atime_ns,
        }

    def readdir(self, path: str, fh: int) -> list[object]:
        return self._lately("names", path, lambda: self._names(path))  # type: ignore[return-value]

    def _names(self, path: str) -> list[object]:
        with self._server(path) as (name, how):
            found = [(one.name, one.is_dir(), one.inode()) for one in smbclient.scandir(name, **how)]
        kinds = {True: stat.S_IFDIR, False: stat.S_IFREG}
        return [".", "..", *((name, {"st_mode": kinds[folder], "st_ino": ino}, 0) for name, folder, ino in found)]

    def statfs(self, path: str) -> dict[str, int]:
        with self._server(path) as (name, how):
            room = smbclient.stat_volume(name, **how)
        free = room.caller_available_size // _BLOCK
        return {
            "f_bsize": _BLOCK,
            "f_frsize": _BLOCK,
            "f_blocks": room.total_size // _BLOCK,
            "f_bfree": free,
            "f_bavail": free,
        }

    def open(self, path: str, flags: int) -> int:
        self._remembered.pop(("attributes", path), None)
        return self._opened(path, "rb" if flags & os.O_ACCMODE == os.O_RDONLY else "r+b")

    def create(self, path: str, mode: int) -> int:
        self._forget(path)
        return self._opened(path, "w+b")

    def _opened(self, path: str, mode: str) -> int:
        number = next(self._numbers)
        with self._server(path) as (name, how):
            self._open[number] = smbclient.open_file(name, mode, buffering=0, share_access="rwd", **how)
        return number

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._server(path):
            try:
                return self._open[fh].fd.read(offset, size)
            except EndOfFile:
                return b""

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._server(path):
            return int(self._open[fh].fd.write(data, offset))

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        self._forget(path)
        with self._server(path) as (name, how):
            smbclient.truncate(name, length, **how)

    def release(self, path: str, fh: int) -> None:
        self._remembered.pop(("attributes", path), None)
        with self._server(path):
            self._open.pop(fh).close()

    def flush(self, path: str, fh: int) -> None:
        pass

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        self._forget(path)
        with self._server(path) as (name, how):
            smbclient.utime(name, ns=times, **how)

    def unlink(self, path: str) -> None:
        self._forget(path)
        with self._server(path) as (name, how):
            smbclient.remove(name, **how)

    def mkdir(self, path: str, mode: int) -> None:
        self._forget(path)
        with self._server(path) as (name, how):
            smbclient.mkdir(name, **how)

    def rmdir(self, path: str) -> None:
        self._forget(path)
        with self._server(path) as (name, how):
            smbclient.rmdir(name, **how)

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        if flags & ~_NOREPLACE:
            raise OSError(errno.EINVAL, "only renames that do not replace are known")
        self._forget(old, new)
        act = smbclient.rename if flags & _NOREPLACE else smbclient.replace
        with self._server(old) as (name, how), self._server(new) as (other, _):
            act(name, other, **how)


class Mount(FUSE):
    """Hands on what a rename must not do, which the library drops."""

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> None:
        self.operations.rename(os.fsdecode(old), os.fsdecode(new), flags)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("share")
    parser.add_argument("folder")
    parser.add_argument("--listings-s", type=float, default=0.0)
    given = parser.parse_args()
    Mount(
        SmbShare(given.port, given.share, listings_s=given.listings_s),
        given.folder,
        foreground=True,
        fsname=f"//camera/{given.share}",
        use_ino=True,
        direct_io=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
    )
