"""What raw frames show of their camera's gain: in their sum, in their scatter, and as a pattern that does not move.

An uncorrected pixel counts in proportion to 1/gain. A corrected one counts like its neighbours, but in steps of its
gain: the ratio of variance to mean over the frames is proportional to the gain. So a movie that its camera has
corrected with a reference shows it, whatever the reference's strength; without either sign the two are of different
cameras or times. A pattern that the first and the last frames share from pixel to pixel, while the specimen has moved,
is the detector's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

ROWS_OF_SUM = 256
ROWS_OF_SCATTER = 1024
OUTLIER = 6 * 1.4826
"""In median absolute values: hot pixels, and defects that nobody marked, would speak too loud."""
ENOUGH_FOR_A_MEDIAN = 200_000
"""Values whose median is as good as that of all of them."""
KERNEL = np.array([1, -4, 6, -4, 1], np.float32) / np.float32(np.sqrt(70))
"""Keeps the noise of single pixels as strong as it is, and next to nothing that is coarser, such as a specimen."""
SURE = 5.0
"""Standard errors below what was found that a pattern still has to be there."""
ALIKE = float(np.sum(np.correlate(KERNEL, KERNEL, "full") ** 2))
"""Pixels that say as much as one of their own, as the kernel makes neighbours alike."""


def follows_sum(factors: Float, total: Float) -> tuple[float, float]:
    """Return how a sum of raw frames follows 1/gain (1: it does, 0: not at all), and the standard error of that.

    Parameters
    ----------
    factors
        (y, x), 0 marks a defect.
    total
        (y, x)
    """
    rows = slice(None, None, max(1, len(total) // ROWS_OF_SUM))
    given = factors[rows]
    heard = np.divide(1, given, out=np.zeros_like(given), where=given > 0)
    return _slope(heard, total[rows], given > 0)


def follows_scatter(factors: Float, scatter: Float) -> tuple[float, float]:
    """Return how the scatter of frames follows the gain (1: corrected with it, 0: not), and the standard error.

    Parameters
    ----------
    factors
        (y, x), 0 marks a defect.
    scatter
        (y, x), as `scatter_of` returns it.
    """
    given = factors[_rows_of_scatter(len(factors))]
    return _slope(given, scatter, (given > 0) & (scatter > 0))


def scatter_of(frames: NDArray[np.generic]) -> Float:
    """Return the ratio of variance to mean over the frames (frame, y, x) for some rows; 0 where nothing was counted.

    The variance is that between one frame and the next, so that a dose which drifts does not count.
    """
    rows = _rows_of_scatter(frames.shape[1])
    before = frames[0, rows].astype(np.float32)
    counted, squares = before.copy(), np.zeros_like(before)
    for frame in frames[1:]:
        now = frame[rows].astype(np.float32)
        counted += now
        squares += (now - before) ** 2
        before = now
    variance = squares / (2 * max(1, len(frames) - 1))
    return np.divide(variance, counted / len(frames), out=np.zeros_like(counted), where=counted > 0)


def detector_pattern(frames: NDArray[np.generic]) -> float:
    """Return how strong a pattern the first and the last third of the frames (frame, y, x) share for certain.

    A fraction of the mean counts, from pixel to pixel along the rows; 0 where chance may explain it.
    """
    third = len(frames) // 3  # a drifting specimen is then in another place
    if third == 0 or frames.shape[2] < len(KERNEL):
        return 0.0
    first, last = (_fine(part.sum(axis=0, dtype=np.float32)) for part in (frames[:third], frames[-third:]))
    kept = _usual(first) & _usual(last)
    products = (first * last)[kept].astype(np.float64)
    if not products.size:
        return 0.0
    error = products.std() * np.sqrt(ALIKE / products.size)
    return float(np.sqrt(max(products.mean() - SURE * error, 0.0)))


def reference_pattern(factors: Float) -> float:
    """Return how strong a pattern a gain reference (y, x) explains, as `detector_pattern` would find it."""
    heard = np.divide(1, factors, out=np.ones_like(factors), where=factors > 0)
    if heard.shape[1] < len(KERNEL):
        return 0.0
    fine = _fine(heard)
    return float(np.sqrt(np.mean(np.square(fine[_usual(fine)], dtype=np.float64))))


def _usual(values: Float) -> NDArray[np.bool_]:
    sizes = np.abs(values)
    some = sizes.ravel()[:: max(1, sizes.size // ENOUGH_FOR_A_MEDIAN)]
    return np.asarray(sizes <= OUTLIER * float(np.median(some)), np.bool_)


def _fine(counted: Float) -> Float:
    """Return the pixel-to-pixel structure of a sum (y, x) as a fraction of its mean."""
    width = counted.shape[1] - len(KERNEL) + 1
    fine = sum(weight * counted[:, at : at + width] for at, weight in enumerate(KERNEL))
    return np.asarray(fine / max(float(counted.mean()), 1e-12), np.float32)


def _rows_of_scatter(height: int) -> slice:
    return slice(None, None, max(1, height // ROWS_OF_SCATTER))


def _slope(explaining: Float, explained: Float, sound: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the slope of one picture (y, x) against another, relative to their means, and its standard error.

    Differences between neighbours are compared, so that what varies slowly does not matter.
    """
    pairs = sound[:, 1:] & sound[:, :-1]
    if not pairs.any():
        return 1.0, np.inf
    given, found = (
        np.diff(picture, axis=1)[pairs] / (float(picture[sound].mean()) or 1.0) for picture in (explaining, explained)
    )
    kept = _usual(given) & _usual(found)
    given, found = given[kept], found[kept]
    power = float(given @ given)
    if power <= 0:
        return 1.0, np.inf
    # Neighbouring differences share a pixel, which widens the error.
    return float(given @ found) / power, float(np.sqrt(1.5 * (found @ found) / len(found) / power))
