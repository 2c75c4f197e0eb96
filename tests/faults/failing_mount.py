"""Shows a folder through FUSE, and fails as it is told: `python -m tests.faults.failing_mount SHOWN FAULTS FOLDER`.

`FAULTS` is a file that is read again at each call; a line of it is `CALL PATTERN ERROR OFFSET` (a read of a file whose
name matches fails from that offset on) or `read PATTERN short OFFSET` (a read there gives less than half of what is
asked for).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from mfusepy import FUSE, Operations

_PLAIN = ("st_mode", "st_nlink", "st_size", "st_ino", "st_uid", "st_gid")
_TIMES = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")


class FailingFolder(Operations):
    """What is called on a folder, and what fails."""

    use_ns = True

    def __init__(self, shown: Path, faults: Path) -> None:
        self._shown, self._faults = shown, faults

    def _at(self, path: str) -> Path:
        return self._shown / path.lstrip("/")

    def _planned(self, call: str, path: str, reached: int) -> Iterator[str]:
        for line in self._faults.read_text().splitlines():
            wanted, pattern, what, offset = line.split()
            if wanted == call and fnmatchcase(path.rpartition("/")[2], pattern) and reached > int(offset):
                yield what

    def _fail(self, call: str, path: str, reached: int = 1) -> None:
        for what in self._planned(call, path, reached):
            if what != "short":
                raise OSError(getattr(errno, what), "as planned")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        found = self._at(path).lstat()
        plain = {
            name: getattr(found, name) for name in ("st_mode", "st_nlink", "st_size", "st_ino", "st_uid", "st_gid")
        }
        return plain | {name.removesuffix("_ns"): getattr(found, name) for name in _TIMES}

    def readdir(self, path: str, fh: int) -> list[object]:
        self._fail("readdir", path)
        found = ((one.name, self.getattr(f"{path}/{one.name}"), 0) for one in self._at(path).iterdir())
        return [".", "..", *found]  # an entry without its number would be left out by the C library

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at(path))
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_") and name != "f_fsid"}

    def open(self, path: str, flags: int) -> int:
        self._fail("open", path)
        return os.open(self._at(path), flags)

    def create(self, path: str, mode: int) -> int:
        self._fail("create", path)
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._fail("read", path, offset + size)
        if any(self._planned("read", path, offset + size)):
            size = max(1, size // 2 - 1)
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._fail("write", path, offset + len(data))
        return os.pwrite(fh, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._fail("fsync", path)
        os.fsync(fh)

    def flush(self, path: str, fh: int) -> None:
        pass

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self._at(path), length)

    def chmod(self, path: str, mode: int) -> None:
        self._at(path).chmod(mode)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        os.utime(self._at(path), ns=times)

    def unlink(self, path: str) -> None:
        self._fail("unlink", path)
        self._at(path).unlink()

    def mkdir(self, path: str, mode: int) -> None:
        self._at(path).mkdir(mode)

    def rmdir(self, path: str) -> None:
        self._at(path).rmdir()

    def rename(self, old: str, new: str) -> None:
        self._fail("rename", old)
        if os.path.lexists(self._at(new)):
            raise OSError(errno.EEXIST, "it has another file")
        self._at(old).rename(self._at(new))


if __name__ == "__main__":
    shown, faults, folder = map(Path, sys.argv[1:])
    about = {"use_ino": True, "direct_io": True, "attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0}
    FUSE(FailingFolder(shown, faults), str(folder), foreground=True, fsname="failing", **about)
