"""LZW as TIFF uses it (TIFF 6.0, section 13), several times faster than general decoders on counted frames.

Every entry of the code table is a string that was written once, one byte longer than a string before it: it needs no
table of characters, only the place in the output where it stands and its length. The strings of one byte stand
before the output, so that all codes are treated alike.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

CLEAR, END = np.uint64(256), np.uint64(257)
DAMAGED = -1
TOO_LONG = -2
UNUSUAL = -3
HEAD = 256
"""Bytes before the output, one of each value."""
SLACK = 16
"""Bytes behind the last one that may be overwritten."""

_STRIP_OF_ONE_BYTE = b"\x80\0\x20\x20"
"""The codes `CLEAR`, 0 and `END`."""

# Unsigned numbers spare the compiled loop the tests for indices that count from the end.
_U = np.uint64
_ONE, _BYTE, _WORD, _AT = _U(1), _U(8), _U(32), _U(20)
_FIRST_WIDTH, _LAST_WIDTH, _FULL = _U(9), _U(12), _U(4096)
_FIRST_MASK, _LENGTH = _U(511), _U(0xFFFFF)
_WIDE, _HEAD, _SLACK = _U(16), _U(HEAD), _U(SLACK)


def decode_strips(
    data: NDArray[np.uint8],  # (byte,)
    places: NDArray[np.int64],  # (strip, 2), first byte and number of bytes
    strip_bytes: int,
    target: NDArray[np.uint8],  # (byte,), written; the last strip may be shorter
) -> tuple[int, int]:
    """Decode strips that follow each other; returns how many, and what the next one gave if it is not as it should be.

    That is the number of bytes that it holds, `DAMAGED` for codes that mean nothing, `TOO_LONG` for more than its rows,
    `UNUSUAL` for codes that begin with their lowest bit, as writers older than TIFF 6.0 left them.
    """
    # One byte of room more than a full strip, so that one that decodes to too much is noticed.
    done, gave = _decode_strips(data, places, strip_bytes, target, np.empty(HEAD + strip_bytes + 1 + SLACK, np.uint8))
    return int(done), int(gave)


def load() -> None:
    """Load the compiled loops, by decoding a strip of one byte."""
    decode_strips(np.frombuffer(_STRIP_OF_ONE_BYTE, np.uint8), np.array([[0, 4]]), 1, np.empty(1, np.uint8))


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]  # numba is not typed
def _copy_sixteen(target: NDArray[np.uint8], source: np.uint64, to: np.uint64) -> None:
    """Copy 16 bytes, all of them read before one is written, so that they travel together."""
    s = source
    a0, a1, a2, a3 = target[s], target[s + _ONE], target[s + _U(2)], target[s + _U(3)]
    s = source + _U(4)
    a4, a5, a6, a7 = target[s], target[s + _ONE], target[s + _U(2)], target[s + _U(3)]
    s = source + _U(8)
    b0, b1, b2, b3 = target[s], target[s + _ONE], target[s + _U(2)], target[s + _U(3)]
    s = source + _U(12)
    b4, b5, b6, b7 = target[s], target[s + _ONE], target[s + _U(2)], target[s + _U(3)]
    target[to], target[to + _ONE], target[to + _U(2)], target[to + _U(3)] = a0, a1, a2, a3
    t = to + _U(4)
    target[t], target[t + _ONE], target[t + _U(2)], target[t + _U(3)] = a4, a5, a6, a7
    t = to + _U(8)
    target[t], target[t + _ONE], target[t + _U(2)], target[t + _U(3)] = b0, b1, b2, b3
    t = to + _U(12)
    target[t], target[t + _ONE], target[t + _U(2)], target[t + _U(3)] = b4, b5, b6, b7


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]  # numba is not typed
def _four_bytes(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """Return them as one number, the first one highest."""
    upper = _U(data[at]) << _U(24) | _U(data[at + _ONE]) << _U(16)
    return upper | _U(data[at + _U(2)]) << _BYTE | _U(data[at + _U(3)])


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]  # numba is not typed
def _copy_string(target: NDArray[np.uint8], source: np.uint64, to: np.uint64, length: np.uint64) -> None:
    """Repeat a string that was written, or is just being written."""
    if length <= _WIDE and source + _WIDE <= to:
        _copy_sixteen(target, source, to)
    else:
        for k in range(length):
            target[to + k] = target[source + k]


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]  # numba is not typed
def _strings_of_one_byte(target: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Write them before the output; returns the code table: where a string stands, and in 20 bits how long it is."""
    entries = np.empty(4096, np.uint64)
    for value in range(HEAD):
        target[value] = value
        entries[value] = (_U(value) << _AT) | _ONE
    return entries


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba is not typed
def decode_lzw(
    data: NDArray[np.uint8],  # (byte,)
    target: NDArray[np.uint8],  # (byte,), written behind the first `HEAD` bytes
) -> int:
    """Decode one strip; the last `SLACK` bytes of the target are spare.

    What one code leaves to the next (bits that are held, their width, where the output stands) has to stay in the
    processor's registers, so all that is called here becomes part of the loop.

    Returns
    -------
    Bytes written; `DAMAGED` for codes that mean nothing, `TOO_LONG` when they do not fit into `target`.
    """
    entries = _strings_of_one_byte(target)
    written, room, size = _HEAD, _U(target.shape[0]) - _SLACK, _U(data.shape[0])
    bits, held, at, before = _U(0), _U(0), _U(0), _U(0)
    width, mask, following = _FIRST_WIDTH, _FIRST_MASK, END
    while True:
        if held < width:
            if at + _U(4) <= size:
                bits = (bits << _WORD) | _four_bytes(data, at)
                at, held = at + _U(4), held + _WORD
            else:
                while at < size and held < width:
                    bits = (bits << _BYTE) | _U(data[at])
                    at, held = at + _ONE, held + _BYTE
        # Some writers leave the last code out.
        code = END if held < width else (bits >> (held - width)) & mask
        held -= width
        if code == END:
            return int(np.int64(written) - HEAD)
        if code == CLEAR:
            width, mask, following = _FIRST_WIDTH, _FIRST_MASK, END
            continue
        if following < _FULL:
            # The string before, and the first byte of this one: both stand, or will stand, where it was written.
            # The first code after `CLEAR` has none before it: what it adds has the number of `END`, and is not used.
            entries[following] = before + _ONE
            following += _ONE
            if following == mask and width < _LAST_WIDTH:
                width, mask = width + _ONE, (mask << _ONE) | _ONE
        source, length = entries[code] >> _AT, entries[code] & _LENGTH
        if code >= following or written + length > room:
            return DAMAGED if code >= following else TOO_LONG
        _copy_string(target, source, written, length)
        before = written << _AT | length
        written += length


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba is not typed
def _decode_strips(
    data: NDArray[np.uint8],
    places: NDArray[np.int64],
    strip_bytes: int,
    target: NDArray[np.uint8],
    buffer: NDArray[np.uint8],
) -> tuple[int, int]:
    """Decode strips without Python's lock, for which threads would wait longer than a strip takes."""
    for number in range(places.shape[0]):
        first, size = places[number]
        if size < 2 or data[first] != 0x80:
            return number, UNUSUAL
        written = decode_lzw(data[first : first + size], buffer)
        top = number * strip_bytes
        wanted = min(strip_bytes, target.shape[0] - top)
        if written != wanted and written != strip_bytes:  # noqa: PLR1714  # no set in a compiled loop
            return number, written
        target[top : top + wanted] = buffer[HEAD : HEAD + wanted]
    return places.shape[0], 0
