"""The pixels of TIFF pages: strips are read and decoded one by one, and their lengths are checked.

A page is either what the camera wrote or an error that names it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import FormatError, TruncatedFileError
from cryodaq.formats.tiff_pages import TiffPage

Bytes = NDArray[np.uint8]

TOGETHER_BYTES = 1_000_000
"""Compressed strips that are read and decoded in one go, without Python's lock; they stay in the processor's cache."""

LZW = 5
_UNCOMPRESSED, _DEFLATES, _PACKBITS = 1, frozenset({8, 32946}), 32773
_HORIZONTAL_DIFFERENCES = 2


@dataclass(frozen=True, slots=True)
class FileStrips:
    """Where one frame's strips are read, and whose fault it is if they cannot be."""

    path: Path
    descriptor: int
    frame: int
    """Counted from 1."""

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return bytes of the file; raises TruncatedFileError."""
        data = os.pread(self.descriptor, size, offset)
        if len(data) != size:
            raise TruncatedFileError(self.path, problem=f"frame {self.frame} lies behind the end of the file")
        return data

    def damaged(self, number: int, what: object) -> FormatError:
        """Return the error that says what is wrong with a strip, counted from 0, and what to do."""
        problem = f"frame {self.frame} is damaged in strip {number + 1} ({what}); copy the movie again"
        return FormatError(self.path, problem=problem)


def decode_page(strips: FileStrips, page: TiffPage, target: NDArray[np.generic]) -> None:
    """Decode the strips of one page into `target` (y, x), of the page's type in native byte order.

    Raises
    ------
    TruncatedFileError
        The file ends before a strip does.
    FormatError
        A strip is damaged, or the page is packed in a way that no camera uses.
    """
    _check_layout(strips, page)
    pixels = target.reshape(-1).view(np.uint8)
    strip_bytes = page.rows_per_strip * page.width * target.dtype.itemsize
    number, usual = 0, page.compression == LZW
    while number < len(page.strips):
        rest = pixels[number * strip_bytes :]
        done = _decode_usual_lzw(strips, page, number, strip_bytes, rest) if usual else 0
        usual = done > 0
        if not usual:
            rest[:strip_bytes] = _decoded(strips, page, number, strip_bytes)[: rest.size]
            done = 1
        number += done
    if target.dtype.newbyteorder(page.byte_order) != target.dtype:
        target.byteswap(inplace=True)
    if page.predictor == _HORIZONTAL_DIFFERENCES:
        np.cumsum(target, axis=1, dtype=target.dtype, out=target)


def _check_layout(strips: FileStrips, page: TiffPage) -> None:
    rows = len(page.strips) * page.rows_per_strip
    problem = None
    if page.predictor not in {1, _HORIZONTAL_DIFFERENCES}:
        problem = f"TIFF predictor {page.predictor} is not supported"
    elif rows < page.height:
        problem = f"frame {strips.frame} has {len(page.strips)} strips, too few for its rows"
    elif rows - page.rows_per_strip >= page.height:
        problem = f"frame {strips.frame} has more strips than rows"
    if problem is not None:
        raise FormatError(strips.path, problem=problem)


def _decode_usual_lzw(strips: FileStrips, page: TiffPage, first: int, strip_bytes: int, target: Bytes) -> int:
    """Decode strips that lie behind each other in the file, from number `first` on; returns how many.

    0 where the first is packed in another way.
    """
    from cryodaq.formats.lzw import DAMAGED, TOO_LONG, UNUSUAL, decode_strips  # numba, needed for LZW only

    places = _lying_together(page.strips, first)
    begin, end = places[0][0], sum(places[-1])
    data = np.frombuffer(strips.bytes_at(begin, end - begin), np.uint8)
    at = np.array(places, np.int64) - (begin, 0)
    done, gave = decode_strips(data, at, strip_bytes, target)
    if done == len(places) or gave == UNUSUAL:
        return done
    what = {DAMAGED: "LZW codes that mean nothing", TOO_LONG: "LZW codes for more than its rows"}.get(gave)
    raise strips.damaged(first + done, what or _holding(gave, min(strip_bytes, target.size - done * strip_bytes)))


def _lying_together(strips: tuple[tuple[int, int], ...], first: int) -> list[tuple[int, int]]:
    """Return (offset, size) of strips without a gap between them, at least one and at most `TOGETHER_BYTES`."""
    begin, end = strips[first][0], sum(strips[first])
    last = first + 1
    while last < len(strips) and strips[last][0] == end and sum(strips[last]) - begin <= TOGETHER_BYTES:
        end = sum(strips[last])
        last += 1
    return list(strips[first:last])


def _decoded(strips: FileStrips, page: TiffPage, number: int, strip_bytes: int) -> Bytes:
    """Return the bytes of one strip, those of its rows at least."""
    data = strips.bytes_at(*page.strips[number])
    try:
        # One byte of room more than a full strip, so that one that decodes to too much is noticed.
        decoded = _unpacked(data, page.compression, room=strip_bytes + 1)
    except (RuntimeError, ValueError) as error:
        raise strips.damaged(number, error) from error
    if decoded is None:
        raise FormatError(strips.path, problem=f"TIFF compression {page.compression} is not supported")
    rows = min(page.rows_per_strip, page.height - number * page.rows_per_strip)
    wanted = strip_bytes // page.rows_per_strip * rows
    if decoded.size not in {wanted, strip_bytes}:
        raise strips.damaged(number, _holding(decoded.size, wanted))
    return decoded


def _holding(size: int, wanted: int) -> str:
    return f"it holds {size} bytes of {wanted}"


def _unpacked(data: bytes, compression: int, *, room: int) -> Bytes | None:
    """Return at most `room` bytes; None for a compression that is not known."""
    if compression == _UNCOMPRESSED:
        return np.frombuffer(data, np.uint8)
    import imagecodecs  # heavy, and not needed for the usual movies

    if compression == LZW:
        return np.frombuffer(imagecodecs.lzw_decode(data, out=room), np.uint8)
    if compression == _PACKBITS:
        return np.frombuffer(imagecodecs.packbits_decode(data, out=room), np.uint8)
    if compression in _DEFLATES:
        return np.frombuffer(imagecodecs.zlib_decode(data, out=room), np.uint8)
    return None
