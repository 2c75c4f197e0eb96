"""What all external pickers have in common: a link to the micrograph, and coordinates as we keep them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import PickResult
from cryodaq.engines.native import COORDINATES
from cryodaq.errors import FormatError
from cryodaq.formats.star import read_star

Pick = tuple[float, float, float]
"""x and y in pixels of the micrograph, and the picker's own score."""
SCORES = ("rlnAutopickFigureOfMerit",)


def link_micrograph(micrograph: Path, folder: Path) -> Path:
    """Link a micrograph into the attempt's folder under a name that no program trips over."""
    link = folder / "micrograph.mrc"
    link.unlink(missing_ok=True)
    link.symlink_to(micrograph.resolve())
    return link


def read_star_picks(path: Path) -> list[Pick]:
    """Return the picks of a STAR file of RELION or crYOLO; 0 is the score where it has none.

    Raises `FormatError` when it has no coordinates, or texts where numbers are expected.
    """
    for block in read_star(path).values():
        xs, ys = block.get("rlnCoordinateX"), block.get("rlnCoordinateY")
        if isinstance(xs, list) and isinstance(ys, list):
            found = next((column for name in SCORES if isinstance(column := block.get(name), list)), [0.0] * len(xs))
            try:
                return [(float(x), float(y), float(score)) for x, y, score in zip(xs, ys, found, strict=True)]
            except ValueError as error:
                raise FormatError(path, problem="it has coordinates that are no numbers") from error
    raise FormatError(path, problem="it has no rlnCoordinateX and rlnCoordinateY")


def pick_result(
    picks: Sequence[Pick], *, parameters: ImagingParameters, folder: Path, engine: str, started: float
) -> PickResult:
    """Write the picks, best first, and return the result; `started` is the monotonic time of the beginning."""
    from cryodaq.formats.coordinates import write_coordinates

    best_first = sorted(picks, key=lambda pick: -pick[2])
    positions, scores = [(x, y) for x, y, _ in best_first], [score for _, _, score in best_first]
    write_coordinates(folder / COORDINATES, positions, scores=scores)
    return PickResult(
        coordinates=str(folder / COORDINATES),
        count=len(best_first),
        masked_fraction=0.0,
        diameter_ang=parameters.particle_diameter_ang.value,
        seconds=time.monotonic() - started,
        engine=engine,
    )
