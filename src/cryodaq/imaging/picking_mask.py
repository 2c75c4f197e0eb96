"""Where nothing can be picked: carbon, ice crystals, and other dirt.

Works on the shrunken micrograph. What a particle looks like is learned from the micrograph itself, because
how dark carbon or a crystal is, compared with the noise, says nothing; compared with a particle it does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum_filter

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

TWO_CLASSES = 4.5
"""Distance of two classes of brightness, in their own width, above which they are two materials; an even
slope reaches 3.5."""
TOO_DARK = 2.0
"""Darkness of a spot, in that of particles, above which it is dirt."""
TOO_LARGE = 1.0
"""Darkness of a region larger than a particle, in that of particles, above which it is dirt."""


def find_unusable(
    small: Float,  # (y, x)
    answer: Float64,  # (y, x)
    *,
    diameter: float,
    noise: float,
    least_score: float,
) -> Mask:  # (y, x)
    """Mask carbon and dirt, with half a diameter around.

    Parameters
    ----------
    answer
        How much each place looks like a particle, in standard deviations of the noise.
    diameter, noise
        Of a particle, and of a pixel, in the shrunken micrograph.
    """
    carbon = _darker_material(small, diameter)
    spots = gaussian_filter(small, diameter / 4)
    if carbon.all():
        return carbon
    darkness = _even_ice(spots, ~carbon) - spots
    peaks = (answer == maximum_filter(answer, int(diameter))) & (answer > least_score) & ~carbon
    # Noise of the smoothed picture: a Gaussian averages over 4·pi·sigma² pixels.
    least = 4 * noise / np.sqrt(4 * np.pi * (diameter / 4) ** 2)
    usual = max(float(np.median(darkness[peaks])), least) if np.count_nonzero(peaks) >= 5 else 2 * least
    regions = gaussian_filter(darkness, diameter * 0.55)
    dirt = (darkness > TOO_DARK * usual) | (regions > TOO_LARGE * usual)
    return _grown(carbon | dirt, diameter / 2)


def _even_ice(spots: Float, ice: Mask) -> Float64:
    """Brightness (y, x) of ice without particles: a parabola through the brighter part of the micrograph.

    Slow changes of thickness follow it; islands of dirt do not bend it, as they are left out on the way.
    """
    y, x = (np.linspace(-1, 1, n) for n in spots.shape)
    y, x = y[:, None], x[None, :]
    terms = np.stack([np.broadcast_to(t, spots.shape) for t in (1 + 0 * y * x, y, x, y * y, x * y, x * x)], axis=-1)
    kept = ice.copy()
    surface = np.zeros(spots.shape)
    for _ in range(4):
        if np.count_nonzero(kept) < 10 * terms.shape[-1]:
            return np.full(spots.shape, float(np.median(spots[ice])))
        coefficients, *_ = np.linalg.lstsq(terms[kept][::3], spots[kept][::3], rcond=None)
        surface = terms @ coefficients
        rest = spots - surface
        # Particles are dark: they are let go sooner than bright places.
        spread = 1.4826 * float(np.median(np.abs(rest[kept])))
        kept = ice & (rest > -1.5 * spread) & (rest < 3 * spread)
    return np.asarray(surface)


def _darker_material(small: Float, diameter: float) -> Mask:
    """The darker of two clearly separate brightnesses, or nothing (N. Otsu's threshold, and a test of it)."""
    smooth = gaussian_filter(small, diameter)
    values = np.sort(smooth, axis=None).astype(np.float64)
    count = np.arange(1, len(values))
    lower = np.cumsum(values)[:-1] / count
    upper = (values.sum() - lower * count) / (len(values) - count)
    between = count * (len(values) - count) * (upper - lower) ** 2
    cut = int(np.argmax(between))
    width = np.sqrt(
        (values[: cut + 1].var() * (cut + 1) + values[cut + 1 :].var() * (len(values) - cut - 1)) / len(values)
    )
    if upper[cut] - lower[cut] < TWO_CLASSES * width:
        return np.zeros(small.shape, np.bool_)
    return np.asarray(smooth < (upper[cut] + lower[cut]) / 2)


def _grown(mask: Mask, distance: float) -> Mask:
    if not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= distance)
