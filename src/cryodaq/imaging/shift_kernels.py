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
def patch_halves(
    spectra: NDArray[np.complex64],  # (frame, y, x) of one patch
    ramps: tuple[Complex, Complex],  # (frame, y), (frame, x)
    halves: NDArray[np.complex64],  # (2, y, x), added to
) -> None:
    """Sums of the even and of the odd frames, moved back."""
    ramp_y, ramp_x = ramps
    for f in range(spectra.shape[0]):
        half = halves[f % 2]
        for y in range(spectra.shape[1]):
            for x in range(spectra.shape[2]):
                half[y, x] += spectra[f, y, x] * (ramp_y[f, y] * ramp_x[f, x])


@compiled
def patch_derivatives(
    spectra: NDArray[np.complex64],  # (frame, y, x) of one patch
    ramps: tuple[Complex, Complex],  # (frame, y), (frame, x)
    total: Complex,  # (y, x), all frames moved back
    weight: Float,  # (y, x)
    frequencies: tuple[Float, Float],
    terms: NDArray[np.float64],  # (frame, 8), written
) -> None:
    """Slope and curvature of each frame's correlation with the others, and the noise of both.

    `terms` becomes slope y, x; curvature yy, xx (positive at a peak); variance of the slope yy, xx; variance of the
    curvature yy, xx.
    """
    ramp_y, ramp_x = ramps
    frequency_y, frequency_x = frequencies
    for f in range(spectra.shape[0]):
        sums = np.zeros(8, np.float64)
        for y in range(spectra.shape[1]):
            slope = slope_x = even = even_xx = noise = noise_xx = noise_4x = np.float32(0)
            for x in range(spectra.shape[2]):
                moved = spectra[f, y, x] * (ramp_y[f, y] * ramp_x[f, x])
                product = moved * np.conj(total[y, x] - moved)
                w, fx = weight[y, x], frequency_x[x]
                odd, peak = w * product.imag, w * product.real
                power = odd * odd + peak * peak
                square = fx * fx
                slope += odd
                slope_x += odd * fx
                even += peak
                even_xx += peak * square
                noise += power
                noise_xx += power * square
                noise_4x += power * square * square
            fy = frequency_y[y]
            sums[0] -= fy * slope
            sums[1] -= slope_x
            sums[2] += fy * fy * even
            sums[3] += even_xx
            sums[4] += fy * fy * noise
            sums[5] += noise_xx
            sums[6] += fy * fy * fy * fy * noise
            sums[7] += noise_4x
        terms[f] = sums
