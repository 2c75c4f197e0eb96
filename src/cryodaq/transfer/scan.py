"""What lies on a share, and what changed since the last look.

The first scan and, from time to time, another one walk everything. In between a scan asks each known folder for
its time (a millisecond for hundreds of folders) and lists those that changed, and those that are hot: something
happened there lately, or the caller still waits for a file in it. A file that grows in place does not change its
folder's time, which is why hot folders are listed whatever their time says.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from cryodaq.domain.file_roles import FileRole, classify

HOT_S = 90.0
"""A folder in which something changed is listed at every scan for so long."""
FULL_EVERY_S = 600.0
"""Everything is walked again after so long."""

Identity = tuple[int, int, int]
"""Size in bytes, time of modification in ns (the microscope's clock), inode."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One regular file."""

    path: str
    """Relative to the share's root, with slashes."""
    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """The difference to the scan before; everything at the first one."""

    changed: tuple[FoundFile, ...]
    """New files and those whose size, time or inode is another."""
    vanished: tuple[str, ...]
    unreadable: tuple[str, ...]
    """Folders that could not be listed and names that are no text; what was known of them is kept."""
    file_count: int
    full: bool
    """Whether everything was walked."""


@dataclass(slots=True)
class _Folder:
    mtime_ns: int
    hot_until: float
    files: dict[str, Identity] = field(default_factory=dict)
    subfolders: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Difference:
    changed: list[FoundFile] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class ShareScanner:
    """Remembers a share from scan to scan. Symbolic links are neither followed nor reported."""

    def __init__(
        self,
        root: Path,
        *,
        excludes: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        full_every_s: float = FULL_EVERY_S,
    ) -> None:
        self._root = root
        self._excludes = tuple(excludes)
        self._clock = clock
        self._full_every_s = full_every_s
        self._folders: dict[str, _Folder] = {}
        self._full_at = float("-inf")

    def forget(self) -> None:
        """Begin anew: the next scan reports everything (after the share was away)."""
        self._folders.clear()
        self._full_at = float("-inf")

    def scan(self, *, hot: Collection[str] = (), progress: Callable[[int], None] | None = None) -> ScanResult:
        """Look at the share.

        Parameters
        ----------
        hot
            Folders, relative to the root, that are listed whatever their time says.
        progress
            Called with the number of folders listed so far.

        Raises
        ------
        OSError
            The root itself cannot be listed.
        """
        now = self._clock()
        full = now - self._full_at >= self._full_every_s
        difference = _Difference()
        wanted = set(hot)
        todo = list(self._stale_folders(wanted, now=now, full=full))
        done: set[str] = set()
        while todo:
            relative = todo.pop()
            if relative in done:
                continue
            done.add(relative)
            todo += self._list(relative, now=now, difference=difference, walk=full)
            if progress is not None:
                progress(len(done))
        if full:
            self._full_at = now
        return ScanResult(
            changed=tuple(difference.changed),
            vanished=tuple(difference.vanished),
            unreadable=tuple(difference.unreadable),
            file_count=sum(len(folder.files) for folder in self._folders.values()),
            full=full,
        )

    def _stale_folders(self, hot: set[str], *, now: float, full: bool) -> Iterator[str]:
        """Yield the folders that must be listed; a folder that is gone is dealt with by its parent."""
        yield ""
        if full:
            return
        for relative, known in list(self._folders.items()):
            if known.hot_until > now or relative in hot:
                yield relative
                continue
            try:
                if (self._root / relative).stat(follow_symlinks=False).st_mtime_ns != known.mtime_ns:
                    yield relative
            except OSError:
                yield relative

    def _list(self, relative: str, *, now: float, difference: _Difference, walk: bool) -> list[str]:
        """List one folder, note the difference, return the subfolders to list next."""
        path = self._root / relative
        try:
            mtime_ns = path.stat(follow_symlinks=False).st_mtime_ns
            files, subfolders, unreadable = self._entries(path, relative)
        except (FileNotFoundError, NotADirectoryError):
            if not relative:
                raise
            self._drop(relative, difference)
            return []
        except OSError as error:
            if not relative:
                raise
            difference.unreadable.append(f"{relative}: {error.strerror}")
            return []
        known = self._folders.get(relative)
        before = known or _Folder(mtime_ns=mtime_ns, hot_until=now)
        changed = [
            FoundFile(_join(relative, name), *found) for name, found in files.items() if before.files.get(name) != found
        ]
        gone = [_join(relative, name) for name in before.files.keys() - files.keys()]
        stirred = bool(changed or gone) or before.mtime_ns != mtime_ns
        hot_until = now + HOT_S if known is None or stirred else known.hot_until
        self._folders[relative] = _Folder(mtime_ns=mtime_ns, hot_until=hot_until, files=files, subfolders=subfolders)
        difference.changed += changed
        difference.vanished += gone
        difference.unreadable += unreadable
        for name in before.subfolders - subfolders:
            self._drop(_join(relative, name), difference)
        return [_join(relative, name) for name in subfolders if walk or _join(relative, name) not in self._folders]

    def _entries(self, path: Path, relative: str) -> tuple[dict[str, Identity], set[str], list[str]]:
        files: dict[str, Identity] = {}
        subfolders: set[str] = set()
        unreadable: list[str] = []
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    self._sort(entry, relative, files=files, subfolders=subfolders)
                except FileNotFoundError:
                    continue  # it went between the listing and the question
                except UnicodeEncodeError:
                    unreadable.append(ascii(_join(relative, entry.name)))
                except OSError as error:
                    unreadable.append(f"{_join(relative, entry.name)}: {error.strerror}")
        return files, subfolders, unreadable

    def _sort(
        self, entry: os.DirEntry[str], relative: str, *, files: dict[str, Identity], subfolders: set[str]
    ) -> None:
        if self._excluded(entry.name, relative):
            return
        entry.name.encode()
        if entry.is_dir(follow_symlinks=False):
            if not _is_junk_folder(_join(relative, entry.name)):
                subfolders.add(entry.name)
            return
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            files[entry.name] = (found.st_size, found.st_mtime_ns, found.st_ino)

    def _excluded(self, name: str, relative: str) -> bool:
        path = _join(relative, name)
        return any(fnmatch(name.lower(), p.lower()) or fnmatch(path.lower(), p.lower()) for p in self._excludes)

    def _drop(self, relative: str, difference: _Difference) -> None:
        """Forget a folder that is gone, with everything below it."""
        known = self._folders.pop(relative, None)
        if known is None:
            return
        difference.vanished += [_join(relative, name) for name in known.files]
        for name in known.subfolders:
            self._drop(_join(relative, name), difference)


def _join(relative: str, name: str) -> str:
    return f"{relative}/{name}" if relative else name


def _is_junk_folder(relative: str) -> bool:
    return classify(PurePosixPath(relative) / "file").role is FileRole.IGNORED
