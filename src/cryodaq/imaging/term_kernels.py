"""Loops over the few half transforms that both sums of a movie are products of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.compiled import compiled
from cryodaq.imaging.sum_plan import FLATTEST_POWER

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]

unsigned = np.uint64


@compiled
def combine_terms(
    terms: Complex,  # (term, y, x), half transforms
    curves: tuple[Float, Float, Float],  # (term,), (term, frequency), (group, frequency), equally spaced from 0
    power: Float,  # (group, m, n), what shifts and spline leave of each group's noise
    waves: tuple[Float, Float],  # (m, y), (n, x), cosines whose products `power` has the amplitudes of
    frequencies: tuple[Float, Float, float],  # cycles per pixel along y and x, points of the curves per cycle per pixel
    sums: Complex,  # (2, y, x), written: plain and weighted
    row_range: tuple[int, int],
) -> None:
    """Plain and weighted sum of terms, divided by the root of the noise power.

    The first curve has each term's factor in the plain sum, the second those in the weighted sum, the third each
    group's part of the weighted sum's noise.
    """
    plain, dose, shares = curves
    frequency_y, frequency_x, per_step = frequencies
    width = frequency_x.shape[0]
    place, total = np.empty((2, width), np.float32), np.empty((4, width), np.float32)
    noise, factor = np.empty((2, width), np.float32), np.empty(width, np.float32)
    for y in range(row_range[0], row_range[1]):
        place_on_curves(frequency_y[y], frequency_x, per_step, dose.shape[1], place)
        noise[:] = 0
        for group in range(power.shape[0]):
            amplitudes = power[group].T @ np.ascontiguousarray(waves[0][:, y])
            read_curve(shares[group], place, factor)
            add_power(amplitudes, waves[1], shares[group, 0], factor, noise)
        total[:] = 0
        for term in range(terms.shape[0]):
            read_curve(dose[term], place, factor)
            add_term(terms[term, y], plain[term], factor, total)
        for x in range(width):
            even = 1 / np.sqrt(max(noise[0, x], FLATTEST_POWER))
            uneven = 1 / np.sqrt(max(noise[1, x], FLATTEST_POWER))
            sums[0, y, x] = complex(total[0, x] * even, total[1, x] * even)
            sums[1, y, x] = complex(total[2, x] * uneven, total[3, x] * uneven)


@compiled
def place_on_curves(frequency_y: float, frequency_x: Float, per_step: float, points: int, place: Float) -> None:
    """Point of the curves below each frequency of a row, and the part of the way to the next one."""
    for x in range(frequency_x.shape[0]):
        radius = np.sqrt(frequency_y * frequency_y + frequency_x[x] * frequency_x[x]) * np.float32(per_step)
        below = min(np.floor(radius), np.float32(points - 2))
        place[0, x] = below
        place[1, x] = radius - below


@compiled
def read_curve(curve: Float, place: Float, values: Float) -> None:
    """A curve between its points."""
    for x in range(values.shape[0]):
        at = unsigned(np.int32(place[0, x]))
        values[x] = curve[at] + place[1, x] * (curve[at + unsigned(1)] - curve[at])


@compiled
def add_power(amplitudes: Float, waves: Float, even: float, uneven: Float, noise: Float) -> None:
    """Add a group's part of the noise of both sums."""
    for x in range(waves.shape[1]):
        power = np.float32(0)
        for n in range(waves.shape[0]):
            power += amplitudes[n] * waves[n, x]
        noise[0, x] += power * even
        noise[1, x] += power * uneven[x]


@compiled
def add_term(row: Complex, plain: float, weighted: Float, total: Float) -> None:
    """Add a term to both sums, real and imaginary parts apart."""
    for x in range(row.shape[0]):
        real, imaginary = row[x].real, row[x].imag
        total[0, x] += plain * real
        total[1, x] += plain * imaginary
        total[2, x] += weighted[x] * real
        total[3, x] += weighted[x] * imaginary
