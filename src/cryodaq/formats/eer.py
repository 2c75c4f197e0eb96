"""Electron events (EER): the event stream of one raw camera frame.

Source: Thermo Fisher's EerReaderLib and its format documentation 3.0. Codes are read least significant bit first:
a run length (pixels without an event), then the event's sub-pixel bits; an all-ones run is no event, and for
compression 65000 programs disagree on whether sub-pixel bits follow it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]  # numba is not typed
def place_of(pixel: int, sub_pixel: int, bits: tuple[int, int, int, int], finer: tuple[int, int]) -> int:
    """Place in a frame of `finer` pixels of an event; sub-pixel numbers have their highest bit turned."""
    width, doublings = finer
    if doublings == 0:
        return pixel
    _, horizontal, vertical, _ = bits
    x = (sub_pixel & ((1 << horizontal) - 1)) ^ (1 << (horizontal - 1))
    y = (sub_pixel >> horizontal) ^ (1 << (vertical - 1))
    row = ((pixel // width) << doublings) + (y >> (vertical - doublings))
    return (row * width << doublings) + ((pixel % width) << doublings) + (x >> (horizontal - doublings))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]  # numba is not typed
def _refilled(
    strip: NDArray[np.uint8], window: np.uint64, bits_left: int, next_byte: int
) -> tuple[np.uint64, int, int]:
    """Take in bytes of the strip as long as the window has room; return window, bits_left, next_byte."""
    while bits_left <= 56 and next_byte < strip.size:
        window |= np.uint64(strip[next_byte]) << np.uint64(bits_left)
        next_byte += 1
        bits_left += 8
    return window, bits_left, next_byte


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba is not typed
def add_events(
    strip: NDArray[np.uint8],
    counts: NDArray[np.uint16],
    bits: tuple[int, int, int, int],
    finer: tuple[int, int],
) -> int:
    """Add one to every pixel of `counts` on which the frame has an event; return where the stream ended.

    Parameters
    ----------
    strip
        The frame's bytes.
    counts
        Pixels of the frame in the order of its rows, one dimension, any unsigned type.
    bits
        Of a run length, of an event's horizontal and vertical place within its pixel, and those to skip after an
        all-ones run: 0, or, in files of early cameras, as many as the places have.
    finer
        Width of the sensor in its own pixels, and how often the pixels of `counts` halve them.

    Returns
    -------
    The sensor's pixels passed: all of them for a sound frame; less if the stream ends early, more if it overshoots.
    Only in the first case `counts` is to be believed.
    """
    pixels = counts.size >> (2 * finer[1])
    run_bits, sub_pixel_bits = bits[0], bits[1] + bits[2]
    full_run = np.uint64((1 << run_bits) - 1)
    window = np.uint64(0)
    bits_left = next_byte = pixel = 0
    while True:
        window, bits_left, next_byte = _refilled(strip, window, bits_left, next_byte)
        if bits_left < run_bits:
            return min(pixel, pixels - 1)
        run = window & full_run
        window >>= np.uint64(run_bits)
        bits_left -= run_bits
        pixel += int(np.int64(run))
        if pixel >= pixels:
            return pixel
        skipped = bits[3]
        if run != full_run:
            sub_pixel = np.int64(window & np.uint64((1 << sub_pixel_bits) - 1))
            counts[place_of(pixel, sub_pixel, bits, finer)] += 1
            pixel += 1
            skipped = sub_pixel_bits
        if bits_left < skipped:
            return min(pixel, pixels - 1)
        window >>= np.uint64(skipped)
        bits_left -= skipped
        if pixel == pixels:
            return pixel
