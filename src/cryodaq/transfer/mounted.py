"""What is mounted at a folder: which server's share, by what the kernel knows and no server has to be asked."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from cryodaq.errors import ShareMissingError

MOUNTS = Path("/proc/self/mountinfo")


def mounted_from(root: Path, *, mounts: Path = MOUNTS) -> str | None:
    """Return the source of the mount that a folder lies in, such as `//camera1/x` or `server:/export`.

    Local file systems give None: their device names change from start to start. A part of a share that was mounted
    through another folder counts as that part. Source of the method: proc(5), `/proc/pid/mountinfo`.
    """
    folder, found, longest = PurePosixPath(root.resolve()), None, -1
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        inner, point = (_unescaped(one) for one in before.split(" ")[3:5])
        if folder.is_relative_to(point) and len(point) >= longest:  # the last one of a folder hides those below
            source = _unescaped(after.split(" ")[1])
            found, longest = source + ("" if inner == "/" else inner), len(point)
    return found if found is not None and _names_a_server(found) else None


def check_source(root: Path, *, expected: str | None, found: str | None) -> None:
    """Raise `ShareMissingError` when something else is mounted than is expected."""
    if expected is None or (found is not None and _comparable(found) == _comparable(expected)):
        return
    raise ShareMissingError(
        root,
        why=f"{found or 'a local folder'} is there, not {expected}; if that is meant, say so (mounted_from in the "
        "facility file, --mounted-from of cryodaq transfer), else",
    )


def _comparable(source: str) -> str:
    return source.rstrip("/").casefold()


def _names_a_server(source: str) -> bool:
    return source.startswith("//") or ":" in source


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
