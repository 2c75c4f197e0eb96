"""Whether a file is finished, as far as its own format can tell.

Only headers and ends are read, never pixels, and the work is bounded whatever the file declares: this runs on
every file of every scan, over a network share. A yes is necessary, not sufficient (`domain.completeness`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO
from xml.etree.ElementTree import ParseError  # the exception only; defusedxml parses

from cryodaq.errors import FormatError, TruncatedFileError

MAX_TEXT_BYTES = 8_000_000
"""Larger XML and mdoc files are not read to the end."""
TAIL_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """What the format of a file says about its being finished."""

    closed: bool | None
    """None: the format cannot say."""
    frame_count: int | None
    """Whole frames in the file now, for movies."""
    size_bytes: int
    """Size through the handle that was inspected."""
    problem: str | None
    """Why it is not closed, or why nobody can say."""
    sealed: bool = False
    """Whether the content ends itself: it cannot be the beginning of a longer file of this format."""


def inspect(source: Path | BinaryIO, *, name: PurePath | None = None) -> Closure:
    """Say whether a file is finished.

    Parameters
    ----------
    source
        A path, or a seekable handle opened for reading bytes (its position is moved, it stays open).
    name
        Name of the file, which tells its format; needed where a handle does not know it.

    Raises
    ------
    OSError
        The share failed; anything wrong with the content is in the answer.
    """
    if isinstance(source, Path):
        with source.open("rb") as handle:
            return inspect(handle, name=name or source)
    path = name or PurePath(str(getattr(source, "name", "file")))
    size_bytes = source.seek(0, 2)
    if size_bytes == 0:
        return Closure(closed=False, frame_count=None, size_bytes=0, problem="it is empty")
    judge = _JUDGES.get(path.suffix.lower(), _cannot_say)
    try:
        return judge(source, size_bytes, path)
    except FormatError as error:
        return Closure(closed=False, frame_count=None, size_bytes=size_bytes, problem=error.problem)


def _cannot_say(_handle: BinaryIO, size_bytes: int, _path: PurePath) -> Closure:
    return Closure(closed=None, frame_count=None, size_bytes=size_bytes, problem=None)


def _read(handle: BinaryIO, offset: int, count: int) -> bytes:
    handle.seek(offset)
    return handle.read(count)


def _judge_tiff(handle: BinaryIO, size_bytes: int, path: PurePath) -> Closure:
    """The chain of pages must end, and every strip must lie inside the file."""
    from cryodaq.formats.tiff_pages import TiffReader

    frames = 0
    try:
        for _ in TiffReader(handle, size_bytes, path=path).pages():
            frames += 1
    except FormatError as error:
        return Closure(closed=False, frame_count=frames, size_bytes=size_bytes, problem=error.problem)
    return Closure(closed=True, frame_count=frames, size_bytes=size_bytes, problem=None)


def _judge_mrc(handle: BinaryIO, size_bytes: int, path: PurePath) -> Closure:
    """The size must be what the header declares; an end of zeros may be space that waits for pixels."""
    from cryodaq.formats.mrc import HEADER_BYTES, parse_mrc_header

    header = parse_mrc_header(_read(handle, 0, HEADER_BYTES), path=path)
    whole = min(max(size_bytes - header.data_at, 0) // header.section_bytes, header.sections)
    closed: bool | None = True
    problem = None
    if header.sections == 0 or size_bytes < header.file_bytes:
        closed = False
        problem = f"it has {size_bytes} bytes of the {header.file_bytes} that its header declares"
    elif size_bytes > header.file_bytes:
        closed = None
        problem = f"it has {size_bytes - header.file_bytes} bytes more than its header declares"
    elif not any(_read(handle, max(size_bytes - TAIL_BYTES, header.data_at), TAIL_BYTES)):
        closed = None
        problem = "it ends in zeros, as a file does whose space was taken beforehand"
    return Closure(closed=closed, frame_count=whole, size_bytes=size_bytes, problem=problem)


def _judge_dm(handle: BinaryIO, size_bytes: int, path: PurePath) -> Closure:
    """The size must be at least what the header declares."""
    from cryodaq.formats.dm import declared_file_bytes

    declared = declared_file_bytes(_read(handle, 0, 16), path=path)
    if size_bytes < declared:
        problem = f"it has {size_bytes} bytes of the {declared} that its header declares"
        return Closure(closed=False, frame_count=None, size_bytes=size_bytes, problem=problem)
    return Closure(closed=True, frame_count=None, size_bytes=size_bytes, problem=None)


def _judge_xml(handle: BinaryIO, size_bytes: int, path: PurePath) -> Closure:
    """It must be well-formed: then its root has ended, and no element can follow."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if size_bytes > MAX_TEXT_BYTES:
        problem = f"it is larger than {MAX_TEXT_BYTES} bytes and was not read"
        return Closure(closed=None, frame_count=None, size_bytes=size_bytes, problem=problem)
    try:
        fromstring(_read(handle, 0, size_bytes), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise FormatError(path, problem=f"it is not well-formed XML: {error}") from error
    return Closure(closed=True, frame_count=None, size_bytes=size_bytes, problem=None, sealed=True)


def _judge_jpeg(handle: BinaryIO, size_bytes: int, path: PurePath) -> Closure:
    """It must begin and end as a JPEG; writers may pad the end with zeros."""
    if _read(handle, 0, 2) != b"\xff\xd8":
        raise FormatError(path, problem="it does not begin like a JPEG file")
    if not _read(handle, max(size_bytes - TAIL_BYTES, 2), TAIL_BYTES).rstrip(b"\0").endswith(b"\xff\xd9"):
        raise TruncatedFileError(path, problem="it does not end like a JPEG file")
    return Closure(closed=True, frame_count=None, size_bytes=size_bytes, problem=None)


def _judge_png(handle: BinaryIO, size_bytes: int, path: PurePath) -> Closure:
    """It must begin and end as a PNG."""
    if _read(handle, 0, 8) != b"\x89PNG\r\n\x1a\n":
        raise FormatError(path, problem="it does not begin like a PNG file")
    if _read(handle, max(size_bytes - 12, 0), 12)[4:8] != b"IEND":
        raise TruncatedFileError(path, problem="it does not end like a PNG file")
    return Closure(closed=True, frame_count=None, size_bytes=size_bytes, problem=None)


def _judge_mdoc(handle: BinaryIO, size_bytes: int, path: PurePath) -> Closure:
    """A frame mdoc must have its section, and end with a whole line that follows the time of exposure.

    Of any other mdoc nobody can say that no section follows.
    """
    if size_bytes > MAX_TEXT_BYTES:
        return _cannot_say(handle, size_bytes, path)
    text = _read(handle, 0, size_bytes)
    if not re.search(rb"^\s*\[FrameSet\b", text, re.MULTILINE):
        return _cannot_say(handle, size_bytes, path)
    if not text.endswith(b"\n") or not re.search(rb"^DateTime\s*=", text, re.MULTILINE):
        raise TruncatedFileError(path, problem="it ends before the facts of its frames do")
    return Closure(closed=True, frame_count=None, size_bytes=size_bytes, problem=None)


_JUDGES: dict[str, Callable[[BinaryIO, int, PurePath], Closure]] = {
    **dict.fromkeys((".tif", ".tiff", ".eer", ".gain"), _judge_tiff),
    **dict.fromkeys((".mrc", ".mrcs", ".st"), _judge_mrc),
    **dict.fromkeys((".dm3", ".dm4"), _judge_dm),
    **dict.fromkeys((".jpg", ".jpeg"), _judge_jpeg),
    ".png": _judge_png,
    ".xml": _judge_xml,
    ".mdoc": _judge_mdoc,
}
