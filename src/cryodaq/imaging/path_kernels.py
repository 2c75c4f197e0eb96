"""The loop of the search for the likeliest path through correlation maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.compiled import compiled

Float = NDArray[np.float32]


@compiled
def best_ways(
    likely: Float,  # (y, x), how likely the best path is that ends at each place of the frame before
    cost: Float,  # (2 y - 1, 2 x - 1), of each step, no step in the middle
    best: Float,  # (y, x), written
    came_from: NDArray[np.int32],  # (y, x), written: the place before, as a flat index
) -> None:
    """For each place of a frame, find the best path to it from the places of the frame before."""
    height, width = likely.shape
    for y in range(height):
        for x in range(width):
            most, source = np.float32(-np.inf), 0
            for before_y in range(height):
                row = likely[before_y]
                steps = cost[y - before_y + height - 1]
                for before_x in range(width):
                    value = row[before_x] - steps[x - before_x + width - 1]
                    if value > most:
                        most, source = value, before_y * width + before_x
            best[y, x], came_from[y, x] = most, source
