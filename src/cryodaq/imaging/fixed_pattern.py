"""What a camera adds to every picture alike: a gain reference that is stale or wrong leaves it behind.

Two means of unaligned sums, of every second movie each, share the camera's pattern but neither noise nor specimen. So
the covariance of their pixels is the pattern's variance, however deep it lies below the noise of one picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import ImagingError

NEIGHBOURHOOD_PX = 15
"""Structure that is coarser belongs to illumination and specimen."""
CLIP = 6.0
"""Standard deviations beyond which a pixel is a defect or an ice crystal and does not speak."""
PICTURE_PX = 512
GAP_PX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPattern:
    """What many pictures of one camera have in common."""

    rms: float
    """Of the pattern, as a fraction of the mean counts."""
    picture: NDArray[np.uint8]  # (y, x)
    """The pattern, contrast stretched and reduced."""
    pictures: int
    """How many were compared."""


def fixed_pattern(sums: Iterable[NDArray[np.float32]]) -> FixedPattern:
    """Return what unaligned sums (y, x) of different fields of view have in common.

    Parameters
    ----------
    sums
        At least four, of one shape; read one after another.

    Raises
    ------
    ImagingError
        There are fewer, or they differ in shape.
    """
    from cryodaq.imaging.preview import stretch_contrast

    halves: list[NDArray[np.float32]] = []
    counts = [0, 0]
    for number, counted in enumerate(sums):
        contrast = _contrast(counted)
        if number < 2:
            halves.append(contrast)
        elif contrast.shape != halves[0].shape:
            message = f"sums of different shapes cannot be compared: {contrast.shape} and {halves[0].shape} (y, x)"
            raise ImagingError(message)
        else:
            halves[number % 2] += contrast
        counts[number % 2] += 1
    if min(counts) < 2:
        message = f"{sum(counts)} sums are too few to tell a pattern from noise; at least four are needed"
        raise ImagingError(message)
    first, second = (half / count for half, count in zip(halves, counts, strict=True))
    kept = (np.abs(first) < CLIP * first.std()) & (np.abs(second) < CLIP * second.std())
    shared = float(np.mean(first[kept] * second[kept], dtype=np.float64)) if kept.any() else 0.0
    return FixedPattern(
        rms=float(np.sqrt(max(shared, 0.0))),
        picture=stretch_contrast((first + second) / 2, size_px=PICTURE_PX),
        pictures=sum(counts),
    )


def picture_of_patterns(counted: NDArray[np.float32], expected: NDArray[np.float32]) -> bytes:
    """Return two pictures side by side, a PNG: what a camera's sum shows, and what its gain reference would explain.

    Fine structure only, contrast stretched and reduced, so that people see where the two differ.
    """
    from cryodaq.imaging.preview import stretch_contrast

    left, right = (stretch_contrast(_contrast(one), size_px=PICTURE_PX) for one in (counted, expected))
    gap = np.full((len(left), GAP_PX), 255, np.uint8)
    return as_png(np.hstack([left, gap, right]))


def as_png(picture: NDArray[np.uint8]) -> bytes:  # (y, x)
    """Return a picture as a PNG file."""
    from PIL import Image

    written = BytesIO()
    Image.fromarray(picture, mode="L").save(written, format="PNG")
    return written.getvalue()


def _contrast(counted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a picture relative to its surroundings: fine structure as a fraction of the local mean."""
    from scipy.ndimage import uniform_filter

    local = uniform_filter(counted, NEIGHBOURHOOD_PX)
    floor = 1e-3 * max(float(counted.mean()), 1e-12)
    return np.asarray(counted / np.maximum(local, floor) - 1, np.float32)
