"""What lies on a share, and what changed since the last look.

The first scan and, from time to time, another one walk everything. In between a scan asks each known folder for
its time (a millisecond for hundreds of folders) and lists those that changed, and those that are hot: something
happened there lately, or the caller still waits for a file in it. A file that grows in place does not change its
folder's time, which is why hot folders are listed whatever their time says.

In a listed folder every file is asked for its size and time, unless the folder is very large: then those are asked
that are new, that changed lately, or whose inode is another (a listing tells inodes for nothing), and 5000 of the
others in turn. What is rewritten in place there long after it was finished is noticed some scans later.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator, Set
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path, PurePosixPath

from cryodaq.domain.file_roles import FileRole, classify

HOT_S = 90.0
"""A folder in which something changed is listed at every scan for so long."""
FULL_EVERY_S = 600.0
"""Everything is walked again after so long."""

ASKED_IN_TURN = 5000
"""So many files of a folder are asked at each scan although nothing says that they changed."""

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
    empty_folders: tuple[str, ...]
    """Folders with nothing in them that could be copied, relative to the root."""
    full: bool
    """Whether everything was walked."""


@dataclass(slots=True)
class _Folder:
    mtime_ns: int
    hot_until: float
    files: dict[str, Identity] = field(default_factory=dict)
    subfolders: set[str] = field(default_factory=set)
    recent: dict[str, float] = field(default_factory=dict)
    """Files that changed lately, and until when they are asked at every scan."""
    turn: int = 0
    """Which part of the others is asked next."""


@dataclass(slots=True)
class _Listing:
    """What one folder has now."""

    files: dict[str, Identity] = field(default_factory=dict)
    asked: dict[str, Identity] = field(default_factory=dict)
    """Those of the files that were asked for size and time; the others are as they were."""
    gone: Set[str] = field(default_factory=set)
    """Files that were there before."""
    subfolders: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)


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
        self._excludes = re.compile("|".join(translate(pattern.lower()) for pattern in excludes)) if excludes else None
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
            empty_folders=tuple(
                relative
                for relative, folder in self._folders.items()
                if relative and not folder.files and not folder.subfolders
            ),
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
            known = self._folders.get(relative)
            listed = self._entries(path, relative, known=known, everything=walk)
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
        return self._compare(relative, known, listed, mtime_ns=mtime_ns, now=now, difference=difference, walk=walk)

    def _compare(
        self,
        relative: str,
        known: _Folder | None,
        listed: _Listing,
        *,
        mtime_ns: int,
        now: float,
        difference: _Difference,
        walk: bool,
    ) -> list[str]:
        """Note what is different from before, and remember what is there now; return the subfolders to list next."""
        before = known or _Folder(mtime_ns=mtime_ns, hot_until=now)
        changed = [name for name, found in listed.asked.items() if before.files.get(name) != found]
        stirred = bool(changed or listed.gone) or before.mtime_ns != mtime_ns
        recent = {name: until for name, until in before.recent.items() if until > now and name in listed.files}
        self._folders[relative] = _Folder(
            mtime_ns=mtime_ns,
            hot_until=now + HOT_S if known is None or stirred else known.hot_until,
            files=listed.files,
            subfolders=listed.subfolders,
            recent=recent | (dict.fromkeys(changed, now + HOT_S) if known is not None else {}),
            turn=before.turn + 1,
        )
        difference.changed += [FoundFile(_join(relative, name), *listed.files[name]) for name in changed]
        difference.vanished += [_join(relative, name) for name in listed.gone]
        difference.unreadable += listed.unreadable
        for name in before.subfolders - listed.subfolders:
            self._drop(_join(relative, name), difference)
        below = [_join(relative, name) for name in listed.subfolders]
        return below if walk else [path for path in below if path not in self._folders]

    def _entries(self, path: Path, relative: str, *, known: _Folder | None, everything: bool) -> _Listing:
        """List a folder; of the files that are known, ask those that may have changed."""
        listing, before = _Listing(), {} if known is None else known.files
        if known is not None and len(known.files) > ASKED_IN_TURN and not everything:
            self._in_turn(path, relative, known, listing)
            return listing
        with os.scandir(path) as entries:
            for entry in entries:
                self._ask(entry, relative, listing, known=known)
        listing.gone = before.keys() - listing.files.keys()
        return listing

    def _in_turn(self, path: Path, relative: str, known: _Folder, listing: _Listing) -> None:
        """List a very large folder."""
        turns = 1 + len(known.files) // ASKED_IN_TURN
        first = known.turn % turns * ASKED_IN_TURN
        before, recent, place = known.files, known.recent, -1
        listing.files = dict(before)
        with os.scandir(path) as entries:
            for entry in entries:
                found = before.get(entry.name)
                if found is not None:
                    place += 1
                    in_turn = first <= place < first + ASKED_IN_TURN
                    if not in_turn and found[2] == entry.inode() and entry.name not in recent:
                        continue
                self._ask(entry, relative, listing, known=known)
        if place + 1 < len(before):
            with os.scandir(path) as entries:
                listing.gone = before.keys() - {entry.name for entry in entries}
            for name in listing.gone:
                listing.files.pop(name, None)

    def _ask(self, entry: os.DirEntry[str], relative: str, listing: _Listing, *, known: _Folder | None) -> None:
        try:
            self._sort(entry, relative, listing)
        except FileNotFoundError:
            pass  # it went between the listing and the question; in a very large folder the next scan says so
        except UnicodeEncodeError:
            listing.unreadable.append(ascii(_join(relative, entry.name)))
        except OSError as error:
            listing.unreadable.append(f"{_join(relative, entry.name)}: {error.strerror}")
            if known is not None and entry.name in known.files:
                listing.files[entry.name] = known.files[entry.name]
            elif known is not None and entry.name in known.subfolders:
                listing.subfolders.add(entry.name)

    def _sort(self, entry: os.DirEntry[str], relative: str, listing: _Listing) -> None:
        if self._excluded(entry.name, relative):
            return
        entry.name.encode()
        if entry.is_dir(follow_symlinks=False):
            if not _is_junk_folder(_join(relative, entry.name)):
                listing.subfolders.add(entry.name)
            return
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            listing.files[entry.name] = listing.asked[entry.name] = (found.st_size, found.st_mtime_ns, found.st_ino)

    def _excluded(self, name: str, relative: str) -> bool:
        if self._excludes is None:
            return False
        match = self._excludes.match
        return match(name.lower()) is not None or match(_join(relative, name).lower()) is not None

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
