"""LZW as TIFF uses it (TIFF 6.0, section 13), several times faster than general decoders on counted frames.

Every entry of the code table is a string that was written once, one byte longer than a string before it: it needs no
table of characters, only the place in the output where it stands and its length.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

CLEAR, END = 256, 257
DAMAGED = -1
TOO_LONG = -2
SLACK = 8
"""Bytes behind the last one that may be overwritten."""


def is_usual_lzw(data: bytes) -> bool:
    """Whether the codes begin with their highest bit, as TIFF 6.0 says; older writers did it the other way round."""
    return len(data) >= 2 and data[0] == 0x80


def decode_strip(data: bytes, room: int) -> NDArray[np.uint8]:
    """Decode one strip into at most `room` bytes. Raises `ValueError` for damaged codes, and for more bytes."""
    target = np.empty(room + SLACK, np.uint8)
    written = decode_lzw(np.frombuffer(data, np.uint8), target)
    if written < 0:
        raise ValueError("LZW codes that mean nothing" if written == DAMAGED else "LZW codes for more than its rows")
    return target[:written]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba is not typed
def decode_lzw(  # noqa: C901, PLR0912, PLR0915  # one loop over codes, which a compiler must see whole
    data: NDArray[np.uint8],  # (byte,)
    target: NDArray[np.uint8],  # (byte,), written
) -> int:
    """Decode one strip; the last `SLACK` bytes of the target are spare.

    Returns
    -------
    Bytes written; `DAMAGED` for codes that mean nothing, `TOO_LONG` when they do not fit into `target`.
    """
    # Where a string stands, and in the lowest 16 bits how long it is.
    entries = np.empty(4097, np.uint64)
    written, room, size = np.int64(0), np.int64(target.shape[0]) - SLACK, np.int64(data.shape[0])
    bits, held, at = np.uint64(0), np.int64(0), np.int64(0)
    width, following, grows_at = np.int64(9), np.int64(258), np.int64(511)
    before_at, before_length = np.int64(0), np.int64(0)
    while True:
        if held < width:
            if at + 4 <= size:
                four = np.uint64(data[at]) << np.uint64(24) | np.uint64(data[at + 1]) << np.uint64(16)
                four |= np.uint64(data[at + 2]) << np.uint64(8) | np.uint64(data[at + 3])
                bits = (bits << np.uint64(32)) | four
                at += 4
                held += 32
            else:
                while at < size and held < width:
                    bits = (bits << np.uint64(8)) | np.uint64(data[at])
                    at += 1
                    held += 8
                if held < width:
                    # Some writers leave the last code out.
                    return int(written)
        held -= width
        code = np.int64((bits >> np.uint64(held)) & np.uint64((1 << width) - 1))
        if code < CLEAR:
            if written >= room:
                return TOO_LONG
            target[written] = code
            length = np.int64(1)
        elif code > END:
            if before_length == 0 or code > following or (following > 4095 and code == following):
                return DAMAGED
            if code == following:
                # The string before, and its first byte once more: both stand where it was written.
                source, length = before_at, before_length + 1
            else:
                source, length = np.int64(entries[code] >> np.uint64(20)), np.int64(entries[code] & np.uint64(0xFFFFF))
            if written + length > room:
                return TOO_LONG
            if length <= 8 and source + 8 <= written:
                b0, b1, b2, b3 = target[source], target[source + 1], target[source + 2], target[source + 3]
                b4, b5, b6, b7 = target[source + 4], target[source + 5], target[source + 6], target[source + 7]
                target[written], target[written + 1], target[written + 2], target[written + 3] = b0, b1, b2, b3
                target[written + 4], target[written + 5], target[written + 6], target[written + 7] = b4, b5, b6, b7
            else:
                for k in range(length):
                    target[written + k] = target[source + k]
        elif code == END:
            return int(written)
        else:
            width, following, grows_at, before_length = np.int64(9), np.int64(258), np.int64(511), np.int64(0)
            continue
        if before_length > 0 and following <= 4095:
            entries[following] = np.uint64(before_at) << np.uint64(20) | np.uint64(before_length + 1)
            following += 1
            if following == grows_at and width < 12:
                width += 1
                grows_at = (1 << width) - 1
        before_at, before_length = written, length
        written += length
