"""How much of the true specimen a sum shows, per band of resolution."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

BANDS_ANG = ((8.0, 5.0), (5.0, 4.0), (4.0, 3.0), (3.0, 2.5), (2.5, 2.0))
TILE_PX = 512
REACH_PX = 8


def signal_to_noise(
    picture: NDArray[np.float32], truth: NDArray[np.float32], *, pixel_size_ang: float
) -> NDArray[np.float64]:
    """Signal to noise of each band, from the correlation with the noise-free specimen in rings.

    The field is cut into tiles, and each may lie a few pixels off as a whole: a smooth distortion hurts nobody.
    """
    size = min(TILE_PX, *(n // 2 * 2 for n in truth.shape))
    window = np.hanning(size)[:, None] * np.hanning(size)[None, :]
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    ring = np.rint(np.hypot(fy, fx) * size).astype(int)
    both = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0) * np.ones_like(fy)
    count = ring.max() + 1
    sums = np.zeros((3, count))
    for top in np.linspace(0, truth.shape[0] - size, max(1, round(truth.shape[0] / size))).astype(int):
        for left in np.linspace(0, truth.shape[1] - size, max(1, round(truth.shape[1] / size))).astype(int):
            cut = (slice(top, top + size), slice(left, left + size))
            seen, true = (scipy.fft.rfft2((p[cut] - p[cut].mean()) * window) for p in (picture, truth))
            product = seen * np.conj(true)
            dy, dx = _offset(product, size)
            product = (product * np.exp(2j * np.pi * (fy * dy + fx * dx))).real
            for number, values in enumerate((product, np.abs(seen) ** 2, np.abs(true) ** 2)):
                sums[number] += np.bincount(ring.ravel(), (values * both).ravel(), minlength=count)
    agreement = sums[0] / np.sqrt(sums[1] * sums[2] + 1e-30)
    frequency = np.arange(count) / (size * pixel_size_ang)
    bands = [
        (frequency >= 1 / low) & (frequency < 1 / high) & (np.arange(count) <= size // 2) for low, high in BANDS_ANG
    ]
    # Averaged before it is squared: squares of rings without signal would not cancel.
    mean = np.array([np.average(agreement[b], weights=np.flatnonzero(b)) if b.any() else np.nan for b in bands])
    return np.asarray(mean * np.abs(mean) / (1 - mean**2))


def _offset(product: NDArray[np.complex128], size: int) -> tuple[float, float]:
    """Where the correlation peaks, within a few pixels, to a 32nd of a pixel."""
    phase = product / (np.abs(product) ** 0.5 + 1e-30)
    whole = scipy.fft.irfft2(phase, s=(size, size))
    near = np.roll(whole, (REACH_PX, REACH_PX), axis=(0, 1))[: 2 * REACH_PX + 1, : 2 * REACH_PX + 1]
    y, x = (int(i) - REACH_PX for i in np.unravel_index(near.argmax(), near.shape))
    fy, fx = np.fft.fftfreq(size), np.fft.rfftfreq(size)
    fine = np.arange(-32, 33) / 32
    columns = np.exp(2j * np.pi * fx[:, None] * (x + fine)[None, :])
    rows = np.exp(2j * np.pi * (y + fine)[:, None] * fy[None, :])
    peak = (rows @ (phase @ columns)).real
    best_y, best_x = np.unravel_index(peak.argmax(), peak.shape)
    return y + fine[best_y], x + fine[best_x]
