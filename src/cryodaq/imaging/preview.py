"""Pictures that people look at, as arrays of grey values; composing and encoding them is done elsewhere."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from cryodaq.errors import ImagingError
from cryodaq.imaging.ctf import CtfMeasurement

Float = NDArray[np.float32]
Grey = NDArray[np.uint8]

DIRECTIONS = 360
"""Over half a turn, in which a spectrum is averaged."""
AVERAGED_DEG = 4.0
"""Standard deviation of that average."""
UNEVEN_PX = 15.0
"""Scale along frequency of differences between directions that are no rings."""
DARKEST_SHARE, BRIGHTEST_SHARE = 0.002, 0.998
"""Shares of the pixels that become black and white."""


def stretch_contrast(micrograph: NDArray[np.floating], *, size_px: int) -> Grey:
    """Shrink a micrograph to `size_px` along its longer side and spread its greys.

    Rows stay in stored order, the first one on top. Infinite values and NaN become black.

    Raises
    ------
    ImagingError
        When this is no picture.
    """
    if micrograph.ndim != 2 or 0 in micrograph.shape or size_px < 1:
        problem = f"a preview of {size_px} pixels cannot be made of an array of shape {micrograph.shape}"
        raise ImagingError(problem)
    small = shrink(np.nan_to_num(np.asarray(micrograph, np.float32), posinf=0, neginf=0), size_px=size_px)
    return _grey(small, *np.quantile(small, [DARKEST_SHARE, BRIGHTEST_SHARE]))


def shrink(picture: Float, *, size_px: int) -> Float:
    """Make a picture smaller, `size_px` along its longer side, by block means and a cut in Fourier space.

    A picture that is small enough already is returned as it is.
    """
    factor = max(1, max(picture.shape) // (2 * size_px))
    height, width = (n // factor * factor for n in picture.shape)
    blocks = picture[:height, :width].reshape(height // factor, factor, width // factor, factor)
    small = blocks.mean(axis=(1, 3), dtype=np.float32)
    if max(small.shape) <= size_px:
        return np.asarray(small, dtype=np.float32)
    shape = [max(2, round(n * size_px / max(small.shape))) for n in small.shape]
    half = scipy.fft.rfft2(small)
    rows = np.r_[0 : (shape[0] + 1) // 2, small.shape[0] - shape[0] // 2 : small.shape[0]]
    kept = half[rows, : shape[1] // 2 + 1]
    scale = shape[0] * shape[1] / small.size
    return np.asarray(scipy.fft.irfft2(kept, s=shape) * scale, dtype=np.float32)


def half_and_half(measurement: CtfMeasurement, *, size_px: int) -> Grey:
    """Power spectrum, with the fitted rings in its left half, as a square of `size_px`.

    The spectrum is averaged over a few degrees of direction, which brings out faint rings, astigmatic or not.
    Both halves are centred on frequency 0, rows along +y downwards, as the spectrum is stored. The rings are
    drawn as far as the fit was followed; without a fit, the whole square is the spectrum.
    """
    seen = _averaged_along_rings(measurement.spectrum)
    # The rings are spread as the spectrum is: from its dark tenth to its bright tenth.
    low, high = (float(q) for q in np.nanquantile(seen, [0.1, 0.97]))
    picture = np.nan_to_num(seen, nan=(low + high) / 2)
    if measurement.fit.fitted:
        middle = seen.shape[1] // 2
        picture[:, :middle] = _drawn_rings(measurement, low=low, high=high)[:, :middle]
    return _grey(_square(picture, size_px), low, high)


def _averaged_along_rings(spectrum: Float) -> Float:
    """Mean (y, x) over neighbouring directions at each frequency, without what differs slowly between directions.

    NaN beyond the last whole ring.
    """
    middle = len(spectrum) // 2
    radius = np.arange(middle, dtype=np.float32)
    angle = np.linspace(0, np.pi, DIRECTIONS, endpoint=False, dtype=np.float32)[:, None]
    places = middle + radius * np.sin(angle), middle + radius * np.cos(angle)
    rings = map_coordinates(gaussian_filter(spectrum, 0.7), places, order=1, mode="nearest")
    rings = gaussian_filter1d(rings, AVERAGED_DEG * DIRECTIONS / 180, axis=0, mode="wrap")
    rings -= gaussian_filter1d(rings - rings.mean(axis=0), UNEVEN_PX, axis=1)
    y, x = np.ogrid[-middle : len(spectrum) - middle, -middle : len(spectrum) - middle]
    # The first direction follows the last one, on the opposite side.
    turned = np.arctan2(y, x) % np.pi * (DIRECTIONS / np.pi)
    closed = np.concatenate([rings, rings[:1]])
    return np.asarray(map_coordinates(closed, [turned, np.hypot(y, x)], order=1, cval=np.nan), dtype=np.float32)


def _drawn_rings(measurement: CtfMeasurement, *, low: float, high: float) -> Float:
    """Squared CTF (y, x) between two greys, fading to the middle one where the rings were lost."""
    size = len(measurement.model)
    along = np.arange(size) - size // 2
    radius = np.hypot(along[:, None], along[None, :]) * measurement.step_per_ang
    last = 1 / measurement.fit.fit_resolution_ang
    fade = np.clip((1.15 * last - radius) / (0.15 * last), 0, 1)
    return np.asarray((low + high) / 2 + (measurement.model - 0.5) * (high - low) * fade, dtype=np.float32)


def _square(picture: Float, size_px: int) -> Float:
    """A square of `size_px`: shrunken, or enlarged by repeating pixels."""
    small = shrink(picture, size_px=size_px)
    place = np.arange(size_px) * len(small) // size_px
    return np.asarray(small[np.ix_(place, place)])


def _grey(picture: Float, low: float, high: float) -> Grey:
    spread = max(high - low, 1e-12 + 1e-6 * abs(high))
    return np.asarray(np.clip((picture - low) * (255 / spread), 0, 255), dtype=np.uint8)
