"""Electron events (EER): the event stream of one raw camera frame.

Source: Thermo Fisher's EerReaderLib and its format documentation 3.0. Codes are read least significant bit first:
a run length (pixels without an event), then the event's sub-pixel bits; an all-ones run is no event, and for
compression 65000 programs disagree on whether sub-pixel bits follow it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba is not typed
def add_events(
    strip: NDArray[np.uint8],
    counts: NDArray[np.uint16],
    run_bits: int,
    sub_pixel_bits: int,
    bits_after_full_run: int,
) -> int:
    """Add one to every pixel of `counts` on which the frame has an event; return where the stream ended.

    Parameters
    ----------
    strip
        The frame's bytes.
    counts
        Pixels of the frame in the order of its rows, one dimension, any unsigned type.
    bits_after_full_run
        Bits to skip after an all-ones run: 0, or `sub_pixel_bits` in files of early cameras.

    Returns
    -------
    Pixels passed: exactly `counts.size` for a sound frame; less if the stream ends early, more if it overshoots.
    Only in the first case `counts` is to be believed.
    """
    pixels = counts.size
    full_run = np.uint64((1 << run_bits) - 1)
    window = np.uint64(0)
    bits_left = 0
    next_byte = 0
    pixel = 0
    while True:
        while bits_left <= 56 and next_byte < strip.size:
            window |= np.uint64(strip[next_byte]) << np.uint64(bits_left)
            next_byte += 1
            bits_left += 8
        if bits_left < run_bits:
            return min(pixel, pixels - 1)
        run = window & full_run
        window >>= np.uint64(run_bits)
        bits_left -= run_bits
        pixel += int(np.int64(run))
        if pixel >= pixels:
            return pixel
        skipped = bits_after_full_run
        if run != full_run:
            counts[pixel] += 1
            pixel += 1
            skipped = sub_pixel_bits
        if bits_left < skipped:
            return min(pixel, pixels - 1)
        window >>= np.uint64(skipped)
        bits_left -= skipped
        if pixel == pixels:
            return pixel
