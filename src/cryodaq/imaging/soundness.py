"""Whether an array can be a micrograph at all; asked before anything is measured in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import ImagingError

LARGEST_VALUE = 1e12
"""Larger than any counts, and small enough that squares and their sums stay finite."""


def check_micrograph(micrograph: NDArray[np.floating]) -> None:
    """Refuse what is no picture.

    Raises
    ------
    ImagingError
        When there are not two axes, a value is no number, infinite or absurd, or all values are the same.
    """
    if micrograph.ndim != 2 or not micrograph.size:
        problem = f"a micrograph has the axes (y, x); this array has the shape {micrograph.shape}"
        raise ImagingError(problem)
    # NaN is passed on by both.
    low, high = float(micrograph.min()), float(micrograph.max())
    if not -LARGEST_VALUE < low <= high < LARGEST_VALUE:
        spoilt = int(np.count_nonzero(~(np.abs(micrograph) < LARGEST_VALUE)))
        problem = (
            f"{spoilt:,} of the micrograph's {micrograph.size:,} pixels are NaN, infinite or larger than "
            f"{LARGEST_VALUE:g}; look at the movie and its gain reference, and align it again"
        )
        raise ImagingError(problem)
    if low == high:
        problem = f"the micrograph is empty: every pixel is {low:g}; was the beam on, and the movie copied whole?"
        raise ImagingError(problem)
