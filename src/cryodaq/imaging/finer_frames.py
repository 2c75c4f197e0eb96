"""Frames in smaller pixels than those that motion is found in: looked at once, a few at a time, when they are added up.

Electrons of event-counting cameras have places within the sensor's pixels. All frames so finely spaced would take 4 or
16 times the memory, and motion is found in coarser pixels anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import ImagingError

MOST_BYTES = 2_200_000_000
"""Of the frames that are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinerFrames:
    """The frames of a movie in smaller pixels."""

    factor: int
    """Their pixels along each edge of one of the movie's."""
    read: Callable[[Sequence[int]], NDArray[np.generic]]
    """Return frames (frame, y, x) of these numbers, counted from 0: counts that add up to those of the movie."""

    def stacks(
        self,
        numbers: Sequence[int],
        like: NDArray[np.generic],  # (frame, y, x), the movie's own frames, as they will be counted
    ) -> Iterator[NDArray[np.generic]]:  # (frame, y, x) each
        """Give frames of these numbers, in order, as many at once as `MOST_BYTES` hold, and at least one.

        Raises
        ------
        ImagingError
            When they are no frames of this movie.
        """
        from cryodaq.imaging.detector import countable

        shape_yx = like.shape[1] * self.factor, like.shape[2] * self.factor
        at_once = max(1, MOST_BYTES // (shape_yx[0] * shape_yx[1] * like.dtype.itemsize))
        for first in range(0, len(numbers), at_once):
            some = numbers[first : first + at_once]
            finer = countable(self.read(some))[0]
            if finer.shape != (len(some), *shape_yx):
                problem = f"the finer frames have the shape {finer.shape}, not {(len(some), *shape_yx)}"
                raise ImagingError(problem)
            yield finer
            del finer
