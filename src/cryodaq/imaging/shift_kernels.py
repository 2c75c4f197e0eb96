"""Loops over the Fourier transforms of frames: move, add, correlate.

Half transforms as `rfft2` gives them, (y, x >= 0). A ramp is exp(2πi·frequency·displacement) along one axis;
multiplying by both ramps undoes the displacement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.compiled import compiled

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


@compiled
def correlation_derivatives(
    spectrum: Complex,
    ramps: tuple[Complex, Complex],
    total: Complex,
    weight: Float,
    frequencies: tuple[Float, Float],
    terms: NDArray[np.float64],  # (8,), written
) -> None:
    """Slope and curvature of that correlation at the present displacement, and the noise of the slope.

    `terms` becomes slope y, x; curvature yy, yx, xx (positive at a peak); variance of the slope yy, yx, xx.
    """
    ramp_y, ramp_x = ramps
    frequency_y, frequency_x = frequencies
    sums = np.zeros(8, np.float64)
    for y in range(spectrum.shape[0]):
        slope = slope_x = even = even_x = even_xx = noise = noise_x = noise_xx = np.float32(0)
        for x in range(spectrum.shape[1]):
            moved = spectrum[y, x] * (ramp_y[y] * ramp_x[x])
            others = total[y, x] - moved
            product = moved * np.conj(others)
            w, fx = weight[y, x], frequency_x[x]
            odd, peak = w * product.imag, w * product.real
            power = odd * odd + peak * peak
            slope += odd
            slope_x += odd * fx
            even += peak
            even_x += peak * fx
            even_xx += peak * fx * fx
            noise += power
            noise_x += power * fx
            noise_xx += power * fx * fx
        fy = frequency_y[y]
        sums[0] -= fy * slope
        sums[1] -= slope_x
        sums[2] += fy * fy * even
        sums[3] += fy * even_x
        sums[4] += even_xx
        sums[5] += fy * fy * noise
        sums[6] += fy * noise_x
        sums[7] += noise_xx
    terms[:] = sums
