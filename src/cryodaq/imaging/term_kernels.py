"""Loops over the transforms of the few pictures that both sums of a movie are products of.

Two pictures travel as the real and the imaginary part of one, so that transforms need no room beside it. What
belongs to either follows from opposite frequencies: they are conjugates in the transform of a real picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.compiled import compiled
from cryodaq.imaging.sum_plan import FLATTEST_POWER

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]

unsigned = np.uint64


@compiled
def combine_pairs(
    pairs: Complex,  # (pair, y, x), transforms; terms 2 pair and 2 pair + 1
    curves: tuple[Float, Float, Float],  # (term,), (term, frequency), (group, frequency), equally spaced from 0
    power: Float,  # (group, m, n), what shifts and spline leave of each group's noise
    waves: tuple[Float, Float],  # (m, y), (n, x >= 0), cosines whose products `power` has the amplitudes of
    frequencies: tuple[Float, Float, float],  # cycles per pixel along y and x >= 0, points per cycle per pixel
    sums: Complex,  # (y, x), written; perhaps smaller: high frequencies are left out
    row_range: tuple[int, int],  # of the rows from 0 to the highest frequency; their opposites are done as well
) -> None:
    """Plain and weighted sum of terms, divided by the root of the noise power, again as a pair.

    The first curve has each term's factor in the plain sum, the second those in the weighted sum, the third each
    group's part of the weighted sum's noise.
    """
    plain, dose, shares = curves
    frequency_y, frequency_x, per_step = frequencies
    width = frequency_x.shape[0]
    place, noise = np.empty((2, width), np.float32), np.empty((2, width), np.float32)
    factor, part = np.empty(width, np.float32), np.empty((2, width), np.float32)
    total = np.empty((2, 4, width), np.float32)
    for y in range(row_range[0], row_range[1]):
        place_on_curves(frequency_y[y], frequency_x, per_step, dose.shape[1], place)
        noise[:] = 0
        for group in range(power.shape[0]):
            read_curve(shares[group], place, factor)
            add_power(power[group], (waves[0][:, y], waves[1]), shares[group, 0], factor, noise)
        total[:] = 0
        near = y if 2 * y < sums.shape[0] else pairs.shape[1] - y
        far = (pairs.shape[1] - near) % pairs.shape[1]
        for term in range(plain.shape[0]):
            read_curve(dose[term], place, factor)
            for side in range(2):
                pair = pairs[term // 2]
                row, opposite = (pair[near], pair[far]) if side == 0 else (pair[far], pair[near])
                part_of_pair(row, opposite, term % 2, part)
                add_term(part, plain[term], factor, total[side])
        if 2 * y == sums.shape[0]:
            total[1] = total[0]
        for x in range(width):
            noise[0, x] = 1 / np.sqrt(max(noise[0, x], FLATTEST_POWER))
            noise[1, x] = 1 / np.sqrt(max(noise[1, x], FLATTEST_POWER))
        write_pair(total, noise, sums[y], sums[(sums.shape[0] - y) % sums.shape[0]])


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
def add_power(amplitudes: Float, waves: tuple[Float, Float], even: float, uneven: Float, noise: Float) -> None:
    """Add a group's part of the noise of both sums, along a row at which the waves along y have the values given."""
    wave_y, waves_x = waves
    along_x = np.zeros(amplitudes.shape[1], np.float32)
    for m in range(amplitudes.shape[0]):
        along_x += amplitudes[m] * wave_y[m]
    for x in range(waves_x.shape[1]):
        power = np.float32(0)
        for n in range(waves_x.shape[0]):
            power += along_x[n] * waves_x[n, x]
        noise[0, x] += power * even
        noise[1, x] += power * uneven[x]


@compiled
def part_of_pair(row: Complex, opposite: Complex, second: int, part: Float) -> None:
    """Real and imaginary part of the transform of the first or the second picture of a pair, at x >= 0.

    The opposite row is that of the frequency -y.
    """
    size = row.shape[0]
    half = np.float32(0.5)
    for x in range(part.shape[1]):
        back = opposite[unsigned(size - x)] if x else opposite[0]
        if second:
            part[0, x] = half * (row[x].imag + back.imag)
            part[1, x] = half * (back.real - row[x].real)
        else:
            part[0, x] = half * (row[x].real + back.real)
            part[1, x] = half * (row[x].imag - back.imag)


@compiled
def add_term(part: Float, plain: float, weighted: Float, total: Float) -> None:
    """Add a term to both sums, real and imaginary parts apart."""
    for x in range(part.shape[1]):
        total[0, x] += plain * part[0, x]
        total[1, x] += plain * part[1, x]
        total[2, x] += weighted[x] * part[0, x]
        total[3, x] += weighted[x] * part[1, x]


@compiled
def write_pair(total: Float, scale: Float, row: Complex, opposite: Complex) -> None:
    """Write plain and weighted sums of two opposite rows, given at x >= 0, as the transform of one complex picture."""
    size, last = row.shape[0], total.shape[2] - 1
    for x in range(last + 1):
        for part in range(4):
            total[0, part, x] *= scale[part // 2, x]
            total[1, part, x] *= scale[part // 2, x]
    # Frequency 0, and the highest one of an even size, are their own opposites.
    for own in (0, last if 2 * last == size else 0):
        for part in range(4):
            sign = 1 - 2 * (part % 2)
            shared = (total[0, part, own] + sign * total[1, part, own]) / 2
            total[0, part, own], total[1, part, own] = shared, sign * shared
    for x in range(last + 1):
        row[x] = complex(total[0, 0, x] - total[0, 3, x], total[0, 1, x] + total[0, 2, x])
        opposite[x] = complex(total[1, 0, x] - total[1, 3, x], total[1, 1, x] + total[1, 2, x])
    for x in range(1, (size + 1) // 2):
        row[size - x] = complex(total[1, 0, x] + total[1, 3, x], total[1, 2, x] - total[1, 1, x])
        opposite[size - x] = complex(total[0, 0, x] + total[0, 3, x], total[0, 2, x] - total[0, 1, x])
