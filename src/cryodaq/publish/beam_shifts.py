"""Exposures that were taken with the same shift of the beam: optics groups, because coma and tilt follow the shift.

The programs move the beam from hole to hole (EPU: aberration-free image shift; SerialEM: multishot), so shifts fall
into clusters, one a place in the pattern. Distances between neighbours within clusters and between them differ by a
gap; clusters are cut there (single linkage). Areas of the hole are told apart by name beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST = 12
"""Fewer exposures of one area show no pattern."""
CLEAR_GAP = 2.5
"""Distances between clusters are at least so many times those within."""
FINEST = 1e-3
"""Distances below this part of the whole spread are the same shift."""
MOST_PLACES = 2_000
"""Shifts are rounded until there are so few different ones."""

_EPU_AREA = re.compile(r"FoilHole_\d+_Data_(?P<area>\d+)_", re.ASCII)


def area_of(run_name: str) -> str:
    """Return the area of its hole that a run's name tells; empty where it tells none."""
    found = _EPU_AREA.match(run_name)
    return found["area"] if found is not None else ""


def group_beam_shifts(shifts_xy: Sequence[tuple[float, float] | None], *, areas: Sequence[str]) -> list[str]:
    """Return the name of each exposure's group, in order; empty where its shift is not known.

    Parameters
    ----------
    shifts_xy
        In any unit.
    areas
        Exposures of different areas are never of one group.
    """
    import numpy as np

    names = [""] * len(shifts_xy)
    count = 0
    for area in sorted(set(areas)):
        members = [index for index, shift in enumerate(shifts_xy) if shift is not None and areas[index] == area]
        if not members:
            continue
        labels = _clusters(np.array([shifts_xy[index] for index in members], float))
        for index, label in zip(members, labels.tolist(), strict=True):
            names[index] = f"beamShift{count + label + 1:03d}"
        count += int(labels.max()) + 1
    return names


def _clusters(points: NDArray[np.float64]) -> NDArray[np.int64]:  # (exposure, xy) -> (exposure,)
    """Return the number of each point's cluster, from 0."""
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage

    alone = np.zeros(len(points), np.int64)
    spread = float(np.ptp(points, axis=0).max())
    if len(points) < FEWEST or spread <= 0:
        return alone
    cell = spread * FINEST
    while True:
        places, place_of = np.unique(np.round(points / cell).astype(np.int64), axis=0, return_inverse=True)
        if len(places) <= MOST_PLACES:
            break
        cell *= 1.5
    if len(places) < 2:
        return alone
    tree = linkage(places * cell, "single")
    distances = np.maximum(tree[:, 2], cell)
    # The gap may lie below the smallest distance: the same few shifts again and again.
    levels = np.append(cell, distances)
    steps = levels[1:] / levels[:-1]
    best = int(np.argmax(steps))
    if steps[best] < CLEAR_GAP:
        return alone
    cut = levels[best] * 1.01
    labels = fcluster(tree, cut, "distance")[np.ravel(place_of)] - 1
    return labels.astype(np.int64) if labels.max() + 1 <= len(points) / 2 else alone
