"""Exposures that were taken with the same shift of the beam: optics groups, because coma and tilt follow the shift.

The programs move the beam from hole to hole (EPU: aberration-free image shift; SerialEM: multishot), so shifts fall
into clusters, one a place in the pattern. Distances between neighbours within clusters and between them differ by a
gap; clusters are cut there (single linkage). Areas of the hole are told apart by name beforehand.

While a sample is collected its places are found once, as soon as they are clear, and stay as they are: an exposure
belongs to the nearest, or opens a new one. Exposures before that are not told apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
MOST_DISTINCT = 2_000
"""Shifts are rounded until there are so few different ones."""
MOST_PLACES = 400
"""No pattern has more; shifts beyond are not told apart."""
LOOK_AGAIN = 1.1
"""As long as no place is clear, one looks again when there are so many times more exposures."""

_EPU_AREA = re.compile(r"FoilHole_\d+_Data_(?P<area>\d+)_", re.ASCII)

Shift = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the shifts of some exposures lie, in the unit of the shifts."""

    name: str
    area: str
    x: float
    y: float
    reach: float
    """Exposures that are farther away belong elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What is known of a sample's shifts."""

    places: tuple[Place, ...] = ()
    exposures: int = 0
    """Those that came while their area had no place."""
    look_at: int = FEWEST
    """At so many of these exposures the places are looked for."""

    def has_places(self, area: str) -> bool:
        """Whether exposures of an area can be told apart."""
        return any(place.area == area for place in self.places)

    def one_more(self) -> Pattern:
        """Count an exposure of an area without places."""
        return replace(self, exposures=self.exposures + 1)

    @property
    def is_to_be_looked_for(self) -> bool:
        """Whether enough exposures came since the last look."""
        return self.exposures >= self.look_at

    def looked(self, shifts_xy: Sequence[Shift], *, areas: Sequence[str]) -> Pattern:
        """Look for places in areas that have none, in all exposures so far."""
        found = [
            Place(name=_name(len(self.places) + number), area=area, x=x, y=y, reach=reach)
            for number, (area, x, y, reach) in enumerate(_clear_places(shifts_xy, areas=areas, known=self), start=1)
        ]
        again = math.ceil(max(self.exposures, self.look_at) * LOOK_AGAIN)
        return replace(self, places=(*self.places, *found)[:MOST_PLACES], look_at=again)

    def nearest(self, shift_xy: Shift, *, area: str) -> Place | None:
        """Return the place of an exposure; None where it lies beyond the reach of all."""
        distances = [(math.dist(shift_xy, (place.x, place.y)), place) for place in self.places if place.area == area]
        if not distances:
            return None
        distance, place = min(distances, key=lambda pair: pair[0])
        return place if distance <= place.reach else None

    def placed(self, shift_xy: Shift, *, area: str) -> tuple[Pattern, Place | None]:
        """Return an exposure's place, and the pattern, which has a new place for a shift beyond the reach of all.

        There is no place where those of the area are not known yet, or where there are too many.
        """
        near = self.nearest(shift_xy, area=area)
        if near is not None or not self.has_places(area) or len(self.places) >= MOST_PLACES:
            return self, near
        reach = min(place.reach for place in self.places if place.area == area)
        new = Place(name=_name(len(self.places) + 1), area=area, x=shift_xy[0], y=shift_xy[1], reach=reach)
        return replace(self, places=(*self.places, new)), new


def area_of(run_name: str) -> str:
    """Return the area of its hole that a run's name tells; empty where it tells none."""
    found = _EPU_AREA.match(run_name)
    return found["area"] if found is not None else ""


def group_beam_shifts(shifts_xy: Sequence[Shift | None], *, areas: Sequence[str]) -> list[str]:
    """Return the name of each exposure's group, in order, all of them being known; empty where its shift is not.

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
        labels, _ = _clusters(np.array([shifts_xy[index] for index in members], float))
        for index, label in zip(members, labels.tolist(), strict=True):
            names[index] = _name(count + label + 1)
        count += int(labels.max()) + 1
    return names


def _name(number: int) -> str:
    return f"beamShift{number:03d}"


def _clear_places(
    shifts_xy: Sequence[Shift], *, areas: Sequence[str], known: Pattern
) -> list[tuple[str, float, float, float]]:
    """Return area, x, y and reach of the places that are clear, in areas without any."""
    import numpy as np

    points, named = np.array(shifts_xy, float).reshape(-1, 2), np.array(areas)
    found: list[tuple[str, float, float, float]] = []
    for area in sorted(set(areas)):
        members = points[named == area]
        if known.has_places(area) or len(members) < FEWEST:
            continue
        labels, reach = _clusters(members)
        if labels.max() == 0:
            reach = _reach_of_one(members, points[named != area])
        if reach > 0:
            middles = [members[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)]
            found += [(area, float(x), float(y), reach) for x, y in middles]
    return found


def _reach_of_one(members: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the reach of an area that has one place: its spread is small beside the way to other areas; else 0."""
    import numpy as np

    if not len(others):
        return 0.0
    spread = float(np.ptp(members, axis=0).max())
    way = float(np.hypot(*(others - members.mean(axis=0)).T).min())
    return way / 2 if way > CLEAR_GAP * spread else 0.0


def _clusters(points: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:  # (exposure, xy) -> (exposure,)
    """Return the number of each point's cluster, from 0, and how far one reaches; 0 where there is only one."""
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage

    alone = np.zeros(len(points), np.int64), 0.0
    spread = float(np.ptp(points, axis=0).max())
    if len(points) < FEWEST or spread <= 0:
        return alone
    cell = spread * FINEST
    while True:
        places, place_of = np.unique(np.round(points / cell).astype(np.int64), axis=0, return_inverse=True)
        if len(places) <= MOST_DISTINCT:
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
    labels = fcluster(tree, levels[best] * 1.01, "distance")[np.ravel(place_of)] - 1
    if labels.max() + 1 > len(points) / 2:
        return alone
    return labels.astype(np.int64), float(np.sqrt(levels[best] * levels[best + 1]))
