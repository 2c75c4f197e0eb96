"""Gain references, always returned as the factor that a recorded frame is multiplied by.

Conventions: Gatan's dm4, SerialEM's and EPU's mrc or tif multiply. For EER movies Thermo Fisher's `.gain` (a TIFF)
multiplies too, while a gain reference in any other form divides; 0 marks a defect in both. Rows come in the order
in which the file stores them: whether a reference is flipped against its movies is for the data to say.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import FormatError
from cryodaq.formats.dm import read_largest_image
from cryodaq.formats.movie import read_frames


def read_gain(path: Path) -> NDArray[np.float32]:
    """Return a gain reference (y, x) as the factor to multiply frames by.

    Raises
    ------
    FormatError
        It is no single image, is damaged, or holds values that are no gain (negative, infinite, or all zero).
    """
    if path.suffix.lower() in {".dm3", ".dm4"}:
        gain = read_largest_image(path)
    else:
        sections = read_frames(path)
        if sections.shape[0] != 1:
            raise FormatError(path, problem=f"it has {sections.shape[0]} images where one gain reference is expected")
        gain = sections[0]
    factor = gain.astype(np.float32, copy=False)
    # The smallest and the largest are NaN where any value is.
    if not (factor.min() >= 0 and 0 < factor.max() < np.inf):
        problem = "it holds values that are no gain (negative, infinite, or zero everywhere); export it again"
        raise FormatError(path, problem=problem)
    return factor


def read_event_gain(path: Path) -> NDArray[np.float32]:
    """Return the gain reference (y, x) of EER movies as the factor to multiply counted electrons by.

    `.gain` files hold that factor; others hold what to divide by, scaled here to a mean of about 1. Defects
    stay 0. Raises FormatError.
    """
    gain = read_gain(path)
    if path.suffix.lower() == ".gain":
        return gain
    sound = gain > 0
    factor = np.zeros_like(gain)
    factor[sound] = gain[sound].mean() / gain[sound]
    return factor
