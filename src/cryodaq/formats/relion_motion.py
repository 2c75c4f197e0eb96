"""RELION's record of one movie's motion: the STAR file beside each motion-corrected micrograph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePath

from cryodaq.errors import FormatError
from cryodaq.formats.star import Value, read_star

UNOBSERVED = -9999.0
"""RELION's shift of a frame that was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelionMotion:
    """One movie's global motion, and what RELION says about the movie."""

    movie_name: str
    shape_yx: tuple[int, int]
    frame_count: int
    """All frames of the movie; for EER the gathered ones."""
    first_frame: int
    """Counted from 1: the first one that was used."""
    pixel_size_ang: float
    """Of the movie, Å."""
    dose_per_frame_e_ang2: float
    voltage_kv: float
    shifts_px_xy: tuple[tuple[float, float], ...]
    """For each frame used, the shift that moves it back: minus the displacement, in RELION's order of rows."""
    hot_pixels: int
    has_local_motion: bool


def read_relion_motion(path: Path) -> RelionMotion:
    """Read the file.

    Raises
    ------
    FormatError
        It is no STAR file of RELION's motion correction, or contradicts itself.
    """
    blocks = read_star(path)
    if "general" not in blocks or "global_shift" not in blocks:
        raise FormatError(path, problem="it has no data_general and data_global_shift")
    general, table = blocks["general"], blocks["global_shift"]
    shifts = _columns(table, ("rlnMicrographShiftX", "rlnMicrographShiftY"), path=path)
    frames = _columns(table, ("rlnMicrographFrameNumber",), path=path)
    frame_count = int(_number(general, "rlnImageSizeZ", path=path))
    if len(frames) != frame_count or [int(row[0]) for row in frames] != list(range(1, frame_count + 1)):
        raise FormatError(path, problem=f"its shifts do not number the frames 1 to {frame_count}")
    used = [(x, y) for x, y in shifts if UNOBSERVED not in (x, y)]
    hot = blocks.get("hot_pixels", {}).get("rlnCoordinateX", [])
    return RelionMotion(
        movie_name=str(general.get("rlnMicrographMovieName", "")),
        shape_yx=(
            int(_number(general, "rlnImageSizeY", path=path)),
            int(_number(general, "rlnImageSizeX", path=path)),
        ),
        frame_count=frame_count,
        first_frame=int(_number(general, "rlnMicrographStartFrame", path=path)),
        pixel_size_ang=_number(general, "rlnMicrographOriginalPixelSize", path=path),
        dose_per_frame_e_ang2=_number(general, "rlnMicrographDoseRate", path=path),
        voltage_kv=_number(general, "rlnVoltage", path=path),
        shifts_px_xy=tuple((x, y) for x, y in used),
        hot_pixels=len(hot) if isinstance(hot, list) else 0,
        has_local_motion="local_motion_model" in blocks,
    )


def _number(block: dict[str, list[Value] | Value], name: str, *, path: PurePath) -> float:
    value = block.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise FormatError(path, problem=f"{name} is missing or no finite number")
    return float(value)


def _columns(block: dict[str, list[Value] | Value], names: tuple[str, ...], *, path: PurePath) -> list[list[float]]:
    """Return the rows of some columns, all numbers."""
    columns = [block.get(name) for name in names]
    rows: list[list[float]] = []
    lists = [column for column in columns if isinstance(column, list)]
    if len(lists) != len(names):
        raise FormatError(path, problem=f"it has no columns {' and '.join(names)}")
    for row in zip(*lists, strict=True):
        if any(isinstance(value, str) or not math.isfinite(value) for value in row):
            raise FormatError(path, problem=f"{' and '.join(names)} hold something that is no finite number")
        rows.append([float(value) for value in row])
    if not rows:
        raise FormatError(path, problem=f"it has no rows of {' and '.join(names)}")
    return rows
