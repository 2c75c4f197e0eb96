"""Loops that cut patches out of frames and take their transforms apart, two patches at a time.

Two patches travel as the real and the imaginary part of one complex picture, which is transformed in place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.compiled import compiled

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]

unsigned = np.uint64


@compiled
def cut_pair(
    picture: Float,  # (y, x)
    corners: tuple[int, int, int, int],  # top and left of the first, of the second
    windows: tuple[Float, Float],  # (y,), (x,)
    pair: Complex,  # (y, x), written
) -> None:
    """Cut two patches, each without its mean, faded by the window."""
    window_y, window_x = windows
    height, width = pair.shape
    first = picture[corners[0] : corners[0] + height, corners[1] : corners[1] + width]
    second = picture[corners[2] : corners[2] + height, corners[3] : corners[3] + width]
    sum_first, sum_second = np.float64(0), np.float64(0)
    for y in range(height):
        row_first = row_second = np.float32(0)
        for x in range(width):
            row_first += first[y, x]
            row_second += second[y, x]
        sum_first += row_first
        sum_second += row_second
    mean_first, mean_second = np.float32(sum_first / pair.size), np.float32(sum_second / pair.size)
    for y in range(height):
        for x in range(width):
            fade = window_y[y] * window_x[x]
            pair[y, x] = complex((first[y, x] - mean_first) * fade, (second[y, x] - mean_second) * fade)


@compiled
def take_apart(pair: Complex, first: Complex, second: Complex) -> None:
    """Half transforms (y, x >= 0) of both pictures of a pair, from its transform (y, x)."""
    height, width = pair.shape
    half = np.float32(0.5)
    for y in range(height):
        row, opposite = pair[y], pair[unsigned((height - y) % height)]
        for x in range(first.shape[1]):
            back = opposite[unsigned(width - x)] if x else opposite[0]
            here = row[unsigned(x)]
            first[y, x] = complex(half * (here.real + back.real), half * (here.imag - back.imag))
            second[y, x] = complex(half * (here.imag + back.imag), half * (back.real - here.real))
