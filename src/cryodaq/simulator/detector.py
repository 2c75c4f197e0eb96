"""A counting camera: pixels that count unevenly, a few that count too much, and shot noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOT_PIXELS_PER_MEGAPIXEL = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What is peculiar to one camera. Raw counts times `gain` are even."""

    gain: NDArray[np.float32]  # (y, x), multiplies raw counts, mean 1
    hot_flat_indices: NDArray[np.int64]  # (hot pixel,), into the flattened frame
    hot_counts_per_frame: NDArray[np.float64]  # (hot pixel,), on top of the electrons


def make_gain(shape_yx: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:  # (y, x)
    """Draw a gain reference with about 4 % structure: pixel noise, a slow slope and readout blocks."""
    height, width = shape_yx
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    slow = 0.015 * np.sin(columns / width * 5.1 + 0.4) * np.cos(rows / height * 3.7)
    block_heights = rng.normal(0, 0.012, (height // 128 + 1, width // 256 + 1))
    blocks = np.repeat(np.repeat(block_heights, 128, axis=0), 256, axis=1)[:height, :width]
    gain = 1 + slow + blocks + rng.normal(0, 0.035, shape_yx)
    return np.asarray(gain / gain.mean(), dtype=np.float32)


def make_detector(gain: NDArray[np.float32], rng: np.random.Generator) -> Detector:
    """Give a camera with this gain its hot pixels."""
    count = max(2, round(gain.size * HOT_PIXELS_PER_MEGAPIXEL / 1e6))
    return Detector(
        gain=gain,
        hot_flat_indices=rng.choice(gain.size, count, replace=False),
        hot_counts_per_frame=rng.uniform(6, 40, count),
    )


def count_electrons(
    electrons_per_px: NDArray[np.float32],  # (y, x)
    *,
    detector: Detector,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:  # (y, x)
    """Record one frame, as it leaves the camera before gain correction."""
    expected = np.divide(electrons_per_px, detector.gain, dtype=np.float32)
    counts = draw_poisson(expected, rng).reshape(-1)
    extra = rng.poisson(detector.hot_counts_per_frame)
    hot = detector.hot_flat_indices
    counts[hot] = np.minimum(counts[hot] + extra, 255)
    return counts.reshape(expected.shape).astype(np.uint8)


def draw_poisson(expected: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a Poisson count for each expected value, at most 255.

    Few electrons a pixel, the usual case, are drawn by inversion of the distribution for a block of rows at a
    time, twice as fast as one pixel after the other (Devroye 1986, chapter X.3.3).
    """
    if float(expected.max()) > 12:
        return np.minimum(rng.poisson(expected), 255)
    counts = np.zeros(expected.shape, dtype=np.int64)
    for first in range(0, len(expected), 64):
        mean = expected[first : first + 64]
        chance = rng.random(mean.shape, dtype=np.float32)
        probability = np.exp(-mean)
        below = probability.copy()
        for next_count in range(1, 64):
            exceeded = chance > below
            if not exceeded.any():
                break
            counts[first : first + 64] += exceeded
            probability *= mean
            probability /= np.float32(next_count)
            below += probability
    return counts
