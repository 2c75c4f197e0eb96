"""Loops over the Fourier transforms of frames: move, add, correlate.

Half transforms as `rfft2` gives them, (y, x >= 0). A ramp is exp(2πi·frequency·displacement) along one axis;
multiplying by both ramps undoes the displacement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.compiled import compiled, inlined

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]


@compiled
def add_moved(spectrum: Complex, ramp_y: Complex, ramp_x: Complex, total: Complex) -> None:
    """Add one frame, moved back, to `total`."""
    for y in range(spectrum.shape[0]):
        for x in range(spectrum.shape[1]):
            total[y, x] += spectrum[y, x] * (ramp_y[y] * ramp_x[x])


@compiled
def correlate_with_others(
    spectrum: Complex, ramp_y: Complex, ramp_x: Complex, total: Complex, weight: Float, product: Complex
) -> None:
    """Transform of the correlation of one frame with the sum of the others (`total` holds all of them)."""
    for y in range(spectrum.shape[0]):
        for x in range(spectrum.shape[1]):
            moved = spectrum[y, x] * (ramp_y[y] * ramp_x[x])
            product[y, x] = weight[y, x] * moved * np.conj(total[y, x] - moved)


@inlined
def move_row(
    spectra: NDArray[np.complex64],  # (frame, y, x)
    ramps: tuple[Complex, Complex],  # (frame, y), (frame, x)
    y: int,
    moved: Float,  # (2, frame, x), written: real and imaginary parts
) -> None:
    """Move one row of frequencies of all frames back; parts lie apart because loops over them are faster so."""
    for f in range(spectra.shape[0]):
        ramp_y = ramps[0][f, y]
        for x in range(spectra.shape[2]):
            ramp_x, value = ramps[1][f, x], spectra[f, y, x]
            turn_re = ramp_y.real * ramp_x.real - ramp_y.imag * ramp_x.imag
            turn_im = ramp_y.real * ramp_x.imag + ramp_y.imag * ramp_x.real
            moved[0, f, x] = value.real * turn_re - value.imag * turn_im
            moved[1, f, x] = value.real * turn_im + value.imag * turn_re


@compiled
def patch_products(
    spectra: NDArray[np.complex64],  # (frame, y, x) of one patch
    ramps: tuple[Complex, Complex],  # (frame, y), (frame, x)
    rings: NDArray[np.int64],  # (y, x)
    lags: NDArray[np.int64],
    products: NDArray[np.float64],  # (ring, 2 + lag), added to
) -> None:
    """Products of frames moved back, summed over rings: of each with itself, of all pairs, of pairs `lags` apart."""
    frame_count, height, width = spectra.shape
    moved = np.empty((2, frame_count, width), np.float32)
    sums = np.empty((2 + len(lags), width), np.float32)
    for y in range(height):
        move_row(spectra, ramps, y, moved)
        multiply_row(moved, lags, sums)
        for x in range(width):
            ring = rings[y, x]
            for n in range(len(sums)):
                products[ring, n] += sums[n, x]


@compiled
def multiply_row(moved: Float, lags: NDArray[np.int64], sums: Float) -> None:
    """Real parts of products of frames, (2 + lag, x), of one row of frequencies (2, frame, x)."""
    frame_count = moved.shape[1]
    sums[:] = 0
    total = np.zeros((2, moved.shape[2]), np.float32)
    for part in range(2):
        for f in range(frame_count):
            total[part] += moved[part, f]
            add_product(moved[part, f], moved[part, f], sums[0])
        for n in range(len(lags)):
            for f in range(frame_count - lags[n]):
                add_product(moved[part, f], moved[part, f + lags[n]], sums[2 + n])
    sums[1] = (total[0] * total[0] + total[1] * total[1] - sums[0]) / 2


@compiled
def add_product(first: Float, second: Float, total: Float) -> None:
    """Add the product of two rows to a third, all (x,)."""
    for x in range(len(total)):
        total[x] += first[x] * second[x]


@compiled
def patch_derivatives(
    spectra: NDArray[np.complex64],  # (frame, y, x) of one patch
    ramps: tuple[Complex, Complex],  # (frame, y), (frame, x)
    weights: Float,  # (3, y, x): of what lasts, of what passes, and how much of that is left one frame later
    frequencies: tuple[Float, Float],
    terms: NDArray[np.float64],  # (frame, 8), written
) -> None:
    """Slope and curvature of each frame's correlation with the others, and the noise of both.

    A frame `lag` frames away counts with lasting + passing · fading^lag.

    `terms` becomes slope y, x; curvature yy, xx (positive at a peak); variance of the slope yy, xx; variance of the
    curvature yy, xx.
    """
    frame_count, height, width = spectra.shape
    moved = np.empty((2, frame_count, width), np.float32)
    others = np.empty((2, frame_count, width), np.float32)
    terms[:] = 0
    for y in range(height):
        move_row(spectra, ramps, y, moved)
        weigh_others(moved, weights, y, others)
        add_derivatives(moved, others, frequencies[0][y], frequencies[1], terms)


@compiled
def weigh_others(moved: Float, weights: Float, y: int, others: Float) -> None:
    """Sum up, for each frame, the other ones with the weights of their distance; (2, frame, x)."""
    _, frame_count, width = moved.shape
    for part in range(2):
        total = np.zeros(width, np.float32)
        near = np.zeros(width, np.float32)
        for f in range(frame_count):
            for x in range(width):
                others[part, f, x] = near[x]
                near[x] = weights[2, y, x] * (near[x] + moved[part, f, x])
                total[x] += moved[part, f, x]
        near[:] = 0
        for f in range(frame_count - 1, -1, -1):
            for x in range(width):
                frame = moved[part, f, x]
                passing = others[part, f, x] + near[x]
                others[part, f, x] = weights[0, y, x] * (total[x] - frame) + weights[1, y, x] * passing
                near[x] = weights[2, y, x] * (near[x] + frame)


@inlined
def add_derivatives(
    moved: Float,  # (2, frame, x)
    others: Float,  # (2, frame, x)
    fy: np.float32,
    frequency_x: Float,  # (x,)
    terms: NDArray[np.float64],  # (frame, 8), added to
) -> None:
    """Add what one row of frequencies says about each frame."""
    for f in range(moved.shape[1]):
        slope = slope_x = even = even_xx = noise = noise_xx = noise_4x = np.float32(0)
        for x in range(moved.shape[2]):
            odd = moved[1, f, x] * others[0, f, x] - moved[0, f, x] * others[1, f, x]
            peak = moved[0, f, x] * others[0, f, x] + moved[1, f, x] * others[1, f, x]
            square = frequency_x[x] * frequency_x[x]
            power = odd * odd + peak * peak
            slope += odd
            slope_x += odd * frequency_x[x]
            even += peak
            even_xx += peak * square
            noise += power
            noise_xx += power * square
            noise_4x += power * square * square
        terms[f, 0] -= fy * slope
        terms[f, 1] -= slope_x
        terms[f, 2] += fy * fy * even
        terms[f, 3] += even_xx
        terms[f, 4] += fy * fy * noise
        terms[f, 5] += noise_xx
        terms[f, 6] += fy * fy * fy * fy * noise
        terms[f, 7] += noise_4x
