"""Particle coordinates, as RELION and cryoSPARC import them: one STAR table for each micrograph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryodaq.errors import FormatError
from cryodaq.formats.star import Value, read_star, write_star


def write_coordinates(
    path: Path, coordinates_px_xy: Sequence[tuple[float, float]], *, scores: Sequence[float] | None = None
) -> None:
    """Write the (x, y) of particles in pixels of their micrograph, and what each pick scored.

    The file is written under its own name from the first byte on: give a temporary name and rename it.

    Raises
    ------
    FormatError
        A number is not finite, or there are more or fewer scores than particles.
    """
    columns = {
        "rlnCoordinateX": [float(x) for x, _ in coordinates_px_xy],
        "rlnCoordinateY": [float(y) for _, y in coordinates_px_xy],
    }
    if scores is not None:
        columns["rlnAutopickFigureOfMerit"] = [float(score) for score in scores]
    write_star(path, {"": columns})


def read_coordinates(path: Path) -> list[tuple[float, float]]:
    """Return the (x, y) of particles in pixels of their micrograph; raises FormatError."""
    return read_picks(path)[0]


def read_picks(path: Path) -> tuple[list[tuple[float, float]], list[float] | None]:
    """Return the (x, y) of particles in pixels of their micrograph, and what each scored (None: it does not say).

    Raises FormatError.
    """
    blocks = read_star(path)
    for block in blocks.values():
        xs, ys = block.get("rlnCoordinateX"), block.get("rlnCoordinateY")
        if isinstance(xs, list) and isinstance(ys, list):
            if any(isinstance(value, str) or not math.isfinite(value) for value in (*xs, *ys)):
                raise FormatError(path, problem="it has coordinates that are no finite numbers")
            return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)], _scores(block, path=path)
    raise FormatError(path, problem="it has no rlnCoordinateX and rlnCoordinateY")


def read_scores(path: Path) -> list[float] | None:
    """Return what each pick scored, in the order of the coordinates; None where the file does not say.

    Raises FormatError.
    """
    found = (_scores(block, path=path) for block in read_star(path).values())
    return next((scores for scores in found if scores is not None), None)


def _scores(block: Mapping[str, list[Value] | Value], *, path: Path) -> list[float] | None:
    scores = block.get("rlnAutopickFigureOfMerit")
    if not isinstance(scores, list):
        return None
    if any(isinstance(value, str) or not math.isfinite(value) for value in scores):
        raise FormatError(path, problem="it has scores that are no finite numbers")
    return [float(score) for score in scores]
