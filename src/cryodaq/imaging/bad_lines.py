"""Rows and columns of a camera that count too much or too little together, each pixel too little wrong to be seen.

A readout channel that fails leaves a line that does not move with the specimen, and frames aligned on it do not move
either. Its mean over many pixels tells it from its neighbours long before any of them stands out alone.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

SEGMENT_PX = 256
"""Length of the pieces of lines that are judged; sectors of a sensor are read out apart."""
SHORTEST_PX = 64
"""Smaller pictures show too little of a line."""
ASIDE = 5
"""Lines on either side whose medians say between what a line should count."""
LINE_SIGMA = 12.0
"""How far beyond both of them a bad line is, in robust standard deviations of all lines; scaled as shot noise is."""
LEAST_ERROR = 0.03
"""Smallest part of its counts by which a bad line is wrong; a stale gain reference is not a matter of lines."""
DARKEST = 0.05
"""Of the mean counts, below which lines are not compared with each other, as below a bar of the grid."""


def mark_bad_lines(
    total: Float,  # (y, x)
    bad: NDArray[np.bool_],  # (y, x), known already; written
) -> None:
    """Mark the pieces of rows and columns of a gain-corrected sum that are wrong as a whole."""
    if min(total.shape) < SHORTEST_PX:
        return
    y, x = np.divmod(np.flatnonzero(bad), bad.shape[1])
    tops, lefts = (_starts(length) for length in total.shape)
    columns = np.array([total[top:below].sum(axis=0) for top, below in _pieces(tops, len(total))])
    rows = np.add.reduceat(total, lefts, axis=1).T
    lost = total[y, x]
    of_columns = _wrong(_means(columns, lost, (y, x), tops, len(total)))
    of_rows = _wrong(_means(rows, lost, (x, y), lefts, total.shape[1]))
    for piece, (top, below) in enumerate(_pieces(tops, len(total))):
        bad[top:below, of_columns[piece]] = True
    for piece, (left, beyond) in enumerate(_pieces(lefts, total.shape[1])):
        bad[of_rows[piece], left:beyond] = True


def _starts(length: int) -> NDArray[np.intp]:
    pieces = max(1, length // SEGMENT_PX)
    return np.arange(pieces) * length // pieces


def _pieces(starts: NDArray[np.intp], length: int) -> list[tuple[int, int]]:
    return list(zip(starts.tolist(), [*starts[1:].tolist(), length], strict=True))


def _means(
    sums: Float,  # (piece, line)
    lost: Float,  # (bad,), counts of bad pixels
    places: tuple[NDArray[np.intp], NDArray[np.intp]],  # (bad,) along the line, (bad,) which line
    starts: NDArray[np.intp],
    length: int,
) -> Float64:  # (piece, line)
    """Mean counts of each piece without its bad pixels; 0 where all are bad."""
    where = np.searchsorted(starts, places[0], side="right") - 1, places[1]
    counts = sums.astype(np.float64)
    members = np.repeat(np.diff(np.append(starts, length))[:, None], sums.shape[1], axis=1).astype(np.float64)
    np.subtract.at(counts, where, lost)
    np.subtract.at(members, where, 1.0)
    return np.divide(counts, members, out=np.zeros_like(counts), where=members > 0)


def _wrong(means: Float64) -> NDArray[np.bool_]:  # (piece, line)
    """Lines beyond the medians of both sides; one on a slope, as at a bar of the grid, lies between them."""
    padded = np.pad(means, ((0, 0), (ASIDE, ASIDE)), mode="reflect")
    medians = np.median(sliding_window_view(padded, ASIDE, axis=1), axis=-1)
    before, after = medians[:, : means.shape[1]], medians[:, ASIDE + 1 :]
    error = means - np.clip(means, np.minimum(before, after), np.maximum(before, after))
    usual = (before + after) / 2
    lit = np.asarray(usual > DARKEST * means.mean())
    if not lit.any():
        return lit
    root = np.sqrt(np.maximum(usual, 1e-30))
    noise = 1.4826 * float(np.median((np.abs(means - usual) / root)[lit]))
    return np.asarray(lit & (np.abs(error) > LINE_SIGMA * noise * root) & (np.abs(error) > LEAST_ERROR * usual))
