"""Files that grow by a line a movie.

The ledger keeps how many bytes of such a file count. What lies behind them was left by a publication that did not
end, and is cut off by the next; a file that is shorter has to be made anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_anew(path: Path, texts: Iterable[str]) -> int:
    """Write a file beside its final name, then rename it; readers see the old or the new one, whole.

    Returns its length in bytes.
    """
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as handle:
        handle.writelines(texts)
        handle.flush()
        os.fsync(handle.fileno())
        length_bytes = os.fstat(handle.fileno()).st_size
    part.replace(path)
    return length_bytes


def append(path: Path, line: str, *, length_bytes: int) -> int | None:
    """Add a line behind the first `length_bytes` of a file, durably; whatever lies behind them is cut off.

    Returns the new length, or None where the file is missing or shorter: then nothing was written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        if size < length_bytes:
            return None
        if size > length_bytes:
            os.ftruncate(descriptor, length_bytes)
        data = line.encode()
        if os.pwrite(descriptor, data, length_bytes) != len(data):
            return None
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    return length_bytes + len(data)


def with_other_head(path: Path, head: str, line: str, *, old_head_bytes: int, length_bytes: int) -> int | None:
    """Write a file with another head and one more line; what lies between is kept as it is.

    Returns the new length, or None where the file is missing or shorter than `length_bytes`: nothing was written.
    """
    try:
        kept = path.read_bytes()[old_head_bytes:length_bytes]
    except FileNotFoundError:
        return None
    if len(kept) != length_bytes - old_head_bytes:
        return None
    return write_anew(path, [head, kept.decode(), line])


def with_other_line(path: Path, begins: str, line: str, *, length_bytes: int) -> int | None:
    """Write a file whose one line with this beginning says something else; all others are kept as they are.

    Where no line begins so, the new one comes to the end; an empty one takes the old one away.

    Returns the new length, or None where the file is missing or shorter than `length_bytes`, or several lines begin
    so: then nothing was written.
    """
    try:
        data = path.read_bytes()[:length_bytes]
    except FileNotFoundError:
        return None
    wanted = b"\n" + begins.encode()
    at = data.find(wanted) + 1
    if len(data) != length_bytes or data.find(wanted, at) >= 0:
        return None
    start, end = (at, data.find(b"\n", at) + 1) if at else (length_bytes, length_bytes)
    return write_anew(path, [data[:start].decode(), line, data[end:].decode()])
