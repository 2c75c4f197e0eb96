"""Topaz's coordinates as text: a table of image name, x, y and score."""

from __future__ import annotations

import math
from pathlib import PurePath

from cryodaq.errors import FormatError

_HEAD = ["image_name", "x_coord", "y_coord", "score"]


def parse_topaz(text: str, *, path: PurePath) -> list[tuple[float, float, float]]:
    """Return (x, y, score) of each pick, in pixels of the image that `topaz extract` was told of.

    Raises `FormatError` when it is no such table, or a number is none.
    """
    head, *lines = text.split("\n") if text else [""]
    if head.split() != _HEAD:
        raise FormatError(path, problem=f"its first line is not {' '.join(_HEAD)}")
    picks: list[tuple[float, float, float]] = []
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        words = line.split("\t")
        try:
            x, y, score = (float(word) for word in words[1:])
        except ValueError as error:
            raise FormatError(path, problem=f"line {number} is not a name and three numbers") from error
        if not all(map(math.isfinite, (x, y, score))):
            raise FormatError(path, problem=f"line {number} holds a number that is not finite")
        picks.append((x, y, score))
    return picks
