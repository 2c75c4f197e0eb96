"""How a camera's computer writes: movies that grow page by page, and pictures for people.

The TIFF writer is our own, because readers of growing files must be tried against the order in which cameras
really write (libtiff's): a page's strips, then its directory, then the link to it. At any moment the file
is a validly closed TIFF of all pages linked so far.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import FormatError

ROWS_PER_STRIP = 64
SOFTWARE_NAME = b"simulated microscope\0"
_SHORT, _LONG, _ASCII = 3, 4, 2
_MRC_PIXEL_BYTES = {0: 1, 1: 2, 2: 4, 6: 2}
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}


class Fault(StrEnum):
    """What can go wrong with one movie, on request."""

    SHORT = "short"
    """Properly closed, but the last quarter of the frames is missing."""
    TRUNCATED = "truncated"
    """The file ends in the middle."""
    CORRUPT_STRIP = "corrupt_strip"
    """One strip of one page cannot be decoded."""
    NO_METADATA = "no_metadata"
    """The movie is whole, but its XML or mdoc never arrives."""


class GrowingTiff:
    """A classic little-endian TIFF, LZW, one page a frame, extended page by page."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._link_at = 4
        handle.write(b"II*\0\0\0\0\0")
        handle.flush()

    def append(self, frame: NDArray[np.generic]) -> None:  # (y, x)
        """Write one page; afterwards the file is valid and has one page more."""
        offsets, sizes = self._write_strips(frame)
        directory_at = self._align()
        bits = frame.dtype.itemsize * 8
        directory = _directory(
            [
                (256, _LONG, [frame.shape[1]]),
                (257, _LONG, [frame.shape[0]]),
                (258, _SHORT, [bits]),
                (259, _SHORT, [5]),
                (262, _SHORT, [1]),
                (273, _LONG, offsets),
                (277, _SHORT, [1]),
                (278, _LONG, [min(ROWS_PER_STRIP, frame.shape[0])]),
                (279, _LONG, sizes),
                (305, _ASCII, list(SOFTWARE_NAME)),
                (339, _SHORT, [_SAMPLE_FORMATS[frame.dtype.kind]]),
            ],
            at=directory_at,
        )
        self._handle.write(directory.content)
        self._handle.flush()
        self._handle.seek(self._link_at)
        self._handle.write(struct.pack("<I", directory_at))
        self._handle.flush()
        self._link_at = directory_at + directory.link_offset

    def _write_strips(self, frame: NDArray[np.generic]) -> tuple[list[int], list[int]]:
        from imagecodecs import lzw_encode

        offsets, sizes = [], []
        for first in range(0, frame.shape[0], ROWS_PER_STRIP):
            rows = np.ascontiguousarray(frame[first : first + ROWS_PER_STRIP])
            packed = lzw_encode(rows.astype(rows.dtype.newbyteorder("<"), copy=False).tobytes())
            offsets.append(self._align())
            sizes.append(len(packed))
            self._handle.write(packed)
        self._handle.flush()
        return offsets, sizes

    def _align(self) -> int:
        """Go to the end of the file, at an even offset as TIFF wants it."""
        end = self._handle.seek(0, 2)
        if end % 2:
            self._handle.write(b"\0")
        return end + end % 2


class _Directory:
    """Bytes of a page's directory, and where inside it the link to the next one lies."""

    def __init__(self, content: bytes, link_offset: int) -> None:
        self.content, self.link_offset = content, link_offset


def _directory(entries: list[tuple[int, int, list[int]]], *, at: int) -> _Directory:
    formats = {_SHORT: "H", _LONG: "I", _ASCII: "B"}
    link_offset = 2 + 12 * len(entries)
    fixed, outside = struct.pack("<H", len(entries)), b""
    for tag, kind, values in entries:
        value = struct.pack(f"<{len(values)}{formats[kind]}", *values)
        if len(value) > 4:
            offset = at + link_offset + 4 + len(outside)
            outside += value + b"\0" * (len(value) % 2)
            value = struct.pack("<I", offset)
        fixed += struct.pack("<HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    return _Directory(fixed + b"\0\0\0\0" + outside, link_offset)


def write_tiff_movie(path: Path, frames: Iterable[NDArray[np.generic]], *, pause: Callable[[], None]) -> None:
    """Write frames as they come, one page after another.

    Parameters
    ----------
    pause
        Called after each page: the time that the camera needs for a frame.
    """
    with path.open("wb") as handle:
        movie = GrowingTiff(handle)
        for frame in frames:
            movie.append(frame)
            pause()


def write_mrc_movie(path: Path, source: Path, *, frame_count: int, pause: Callable[[], None]) -> None:
    """Write an MRC movie as cameras do: the header, which promises all frames, then one frame after another.

    Parameters
    ----------
    source
        The movie whose bytes are sent; it must lie on a local disk.
    frame_count
        Sections to send; fewer than the source has makes a shorter movie with a header that says so.

    Raises
    ------
    FormatError
        The pixels are of a kind that no camera writes.
    """
    with source.open("rb") as original, path.open("wb") as handle:
        header = bytearray(original.read(1024))
        columns, rows, _ = struct.unpack_from("<3i", header, 0)
        (mode,) = struct.unpack_from("<i", header, 12)
        (extended_bytes,) = struct.unpack_from("<i", header, 92)
        struct.pack_into("<i", header, 8, frame_count)
        if mode not in _MRC_PIXEL_BYTES:
            raise FormatError(source, problem=f"movies of MRC mode {mode} cannot be sent")
        handle.write(bytes(header) + original.read(extended_bytes))
        handle.flush()
        frame_bytes = columns * rows * _MRC_PIXEL_BYTES[mode]
        for _ in range(frame_count):
            handle.write(original.read(frame_bytes))
            handle.flush()
            pause()


def write_truncated(path: Path, whole: bytes, *, pause: Callable[[], None]) -> None:
    """Write the first 60 % of a movie's bytes, in steps, and stop there."""
    end = int(len(whole) * 0.6)
    step = max(1, end // 10)
    with path.open("wb") as handle:
        for first in range(0, end, step):
            handle.write(whole[first : min(first + step, end)])
            handle.flush()
            pause()


def encode_tiff(frames: Iterable[NDArray[np.generic]]) -> bytes:
    """Make the bytes of a whole movie."""
    buffer = BytesIO()
    movie = GrowingTiff(buffer)
    for frame in frames:
        movie.append(frame)
    return buffer.getvalue()


def corrupt_one_strip(whole: bytes) -> bytes:
    """Overwrite a strip in the middle page with bytes that no LZW decoder accepts."""
    import tifffile

    with tifffile.TiffFile(BytesIO(whole)) as tiff:
        page = tiff.pages[len(tiff.pages) // 2].aspage()
        middle = len(page.dataoffsets) // 2
        start, size = page.dataoffsets[middle], page.databytecounts[middle]
    return b"".join([whole[:start], b"\xff" * size, whole[start + size :]])


def write_jpg(path: Path, picture: NDArray[np.floating]) -> None:  # (y, x)
    """Write a picture for people, its grey values stretched between the 1st and 99th percentile."""
    from PIL import Image

    low, high = np.percentile(picture, [1, 99])
    grey = np.clip((picture - low) / max(float(high - low), 1e-6) * 255, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(path, quality=85)
