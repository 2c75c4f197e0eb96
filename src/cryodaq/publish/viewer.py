"""What a page draws of one movie besides its pictures, as JSON: how the specimen moved, and the particles.

Lengths on the micrograph are in its pixels, x along a stored row, y along the rows, 0 at the middle of the first
pixel stored; motion is in Å, of the specimen, relative to the first frame used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryodaq.domain.results import AlignmentResult, PickResult
from cryodaq.errors import FormatError
from cryodaq.formats.star import read_star

_COLUMNS = (
    "rlnMicrographFrameNumber",
    "rlnCoordinateX",
    "rlnCoordinateY",
    "rlnMicrographShiftX",
    "rlnMicrographShiftY",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTrack:
    """How one patch moved beyond the whole field."""

    centre_px_xy: tuple[float, float]
    """In pixels of the movie."""
    displacement_px_xy: tuple[tuple[float, float], ...]
    """In each frame used, less the whole field's, pixels of the movie."""


def read_patch_tracks(path: Path) -> list[PatchTrack]:
    """Read the patches' block `local_shift`, which moves them back.

    Raises
    ------
    FormatError
        It is no such file, or its patches differ in frames.
    """
    block = read_star(path).get("local_shift", {})
    columns = [block.get(name) for name in _COLUMNS]
    if not all(isinstance(column, list) and all(isinstance(n, int | float) for n in column) for column in columns):
        raise FormatError(path, problem="it has no table local_shift of frames, coordinates and shifts")
    patches: dict[tuple[float, float], list[tuple[float, float, float]]] = {}
    for frame, x, y, shift_x, shift_y in zip(*columns, strict=True):
        patches.setdefault((x, y), []).append((frame, 0.0 - shift_x, 0.0 - shift_y))
    if len({len(steps) for steps in patches.values()}) > 1:
        raise FormatError(path, problem="not every patch has every frame")
    return [
        PatchTrack(centre_px_xy=centre, displacement_px_xy=tuple((x, y) for _, x, y in sorted(steps)))
        for centre, steps in patches.items()
    ]


def motion_track(
    align: AlignmentResult, patches: Sequence[PatchTrack], *, movie_pixel_size_ang: float
) -> dict[str, object]:
    """Return how the specimen moved: the whole field, and each patch with the field's motion in it."""
    whole = [(x * align.pixel_size_ang, y * align.pixel_size_ang) for x, y in align.motion.displacement_px_xy]
    to_micrograph = movie_pixel_size_ang / align.pixel_size_ang

    def absolute(patch: PatchTrack) -> list[tuple[float, float]]:
        pairs = zip(whole, patch.displacement_px_xy, strict=True)
        return [(x + u * movie_pixel_size_ang, y + v * movie_pixel_size_ang) for (x, y), (u, v) in pairs]

    return {
        "pixel_size_ang": align.pixel_size_ang,
        "shape_yx": align.shape_yx,
        "total_ang": round(align.motion.total_ang, 3),
        "early_ang": round(align.motion.early_ang, 3),
        "late_ang": round(align.motion.late_ang, 3),
        "displacement_ang_xy": _rounded(whole, digits=3),
        "patches": [
            {
                "centre_px_xy": [round(n * to_micrograph, 1) for n in patch.centre_px_xy],
                "displacement_ang_xy": _rounded(absolute(patch), digits=3),
            }
            for patch in patches
        ],
    }


def pick_overlay(
    pick: PickResult,
    *,
    coordinates_px_xy: Sequence[tuple[float, float]],
    scores: Sequence[float] | None,
    align: AlignmentResult,
) -> dict[str, object]:
    """Return the particles with what a page needs to draw them to scale."""
    return {
        "pixel_size_ang": align.pixel_size_ang,
        "shape_yx": align.shape_yx,
        "diameter_ang": pick.diameter_ang,
        "masked_fraction": round(pick.masked_fraction, 4),
        "coordinates_px_xy": _rounded(coordinates_px_xy, digits=1),
        "scores": None if scores is None else [round(score, 3) for score in scores],
    }


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write one object beside its final name, then rename it."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)


def _rounded(pairs: Sequence[tuple[float, float]], *, digits: int) -> list[tuple[float, float]]:
    return [(round(x, digits), round(y, digits)) for x, y in pairs]
