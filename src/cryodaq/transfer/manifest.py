"""The list of a sample's copies with their hashes, as `xxhsum -c` reads it.

`xxhsum -c manifest.xxh128`, run in the sample's folder, reads everything again without any of our programs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath

from cryodaq.errors import TransferError
from cryodaq.transfer.beneath import FILE_MODE, sync_folder

_NS = 1_000_000_000
_HASH = re.compile(r"[0-9a-f]{32}")


def manifest_text(copies: Iterable[tuple[PurePosixPath, str]]) -> str:
    """Return the lines for (path below the sample's folder, xxh3_128), by path; those of other folders are wrong."""
    return "".join(f"{xxh3_128}  {path}\n" for path, xxh3_128 in sorted(copies, key=lambda copy: str(copy[0])))


def read_manifest(path: Path) -> dict[str, str]:
    """Return the hashes that a manifest lists, by path below its folder; nothing where there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split("  ", 1) for line in lines)
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2 and _HASH.fullmatch(pair[0])}


def write_manifest(path: Path, text: str, *, proved_at: datetime) -> bool:
    """Put a manifest in the place of an older one; return False when it says the same already.

    Its time of modification is that of the last proof, by which `is_newest` knows it. Raises `TransferError`.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    stamp = int(proved_at.timestamp() * _NS)
    try:
        if path.is_file() and path.read_text() == text:
            os.utime(path, ns=(stamp, stamp))
            return False
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.utime(part, ns=(stamp, stamp))
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        message = f"the manifest {path} cannot be written: {error.strerror}"
        raise TransferError(message) from error
    return True


def is_newest(path: Path, *, proved_at: datetime) -> bool:
    """Whether a manifest was written after the last proof of a sample's copies."""
    try:
        return path.stat().st_mtime_ns == int(proved_at.timestamp() * _NS)
    except OSError:
        return False
