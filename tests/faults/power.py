"""What the storage keeps when the power goes: what was synced, and perhaps some of the rest."""

from __future__ import annotations

import os
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_readlink, _fstat, _walk = os.readlink, os.fstat, os.walk


@dataclass
class Power:
    """Follows the system calls of the workers on one storage."""

    storage: Path
    unsynced: set[int] = field(default_factory=set)
    """Inodes of files with bytes that only the cache has."""
    renames: list[tuple[Path, Path]] = field(default_factory=list)
    """From, to; of folders that were not synced since."""

    def called(self, name: str, args: tuple[Any, ...]) -> None:
        """Note a call that was made."""
        if name == "write":
            found = _fstat(args[0])
            if stat.S_ISREG(found.st_mode):
                self.unsynced.add(found.st_ino)
        elif name == "fsync":
            found = _fstat(args[0])
            self.unsynced.discard(found.st_ino)
            if stat.S_ISDIR(found.st_mode):
                folder = Path(_readlink(f"/proc/self/fd/{args[0]}"))
                self.renames = [one for one in self.renames if one[1].parent != folder]
        elif name == "renameat2" and args[1] is not None:
            source, target = Path(os.fsdecode(args[1])), Path(os.fsdecode(args[3]))
            if target.is_relative_to(self.storage):
                self.renames.append((source, target))

    def goes(self, rng: random.Random) -> None:
        """Take back what was not synced."""
        for source, target in reversed(self.renames):
            if target.exists() and not source.exists() and source.parent.exists() and rng.random() < 0.7:
                target.rename(source)
        for folder, _, names in _walk(self.storage):
            for name in names:
                path = Path(folder) / name
                if path.lstat().st_ino in self.unsynced and not path.is_symlink():
                    os.truncate(path, rng.randint(0, path.stat().st_size))
        self.unsynced.clear()
        self.renames.clear()
