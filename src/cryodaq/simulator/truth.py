"""What a perfect analysis of a simulated movie would find."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Everything known about one movie; None where an existing movie came without it."""

    software: str
    movie: str
    """Path of the movie below the share, with forward slashes."""
    session: str
    acquired_at: str
    """UTC, ISO 8601."""
    pixel_size_ang: float
    dose_per_frame_e_ang2: float
    voltage_kv: float
    cs_mm: float
    amplitude_contrast: float
    frames: int
    """Frames the exposure has; a movie with a fault may hold fewer."""
    shape_yx: tuple[int, int]
    displacement_px_xy: tuple[tuple[float, float], ...] | None
    """Of the specimen relative to frame 0, per frame; x along a stored row, y along the rows as stored."""
    defocus_u_ang: float | None = None
    defocus_v_ang: float | None = None
    defocus_angle_deg: float | None = None
    """RELION's convention: of U, from x towards +y of stored rows."""
    particles_px_xy: tuple[tuple[float, float], ...] | None = None
    """Centres in frame 0."""
    particle_diameter_ang: float | None = None
    gain: str | None = None
    """File name below the gain folder; None if the movie needs no gain correction."""
    hot_pixels: int | None = None
    seed: int | None = None
    fault: str | None = None
    source: str | None = None
    """File name of the existing movie that was sent."""


def write_truth(folder: Path, name: str, truth: Truth) -> Path:
    """Write `name`.json whole or not at all; two sessions never have the same movie name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    part = folder / f".{name}.json.part"
    with part.open("w", encoding="utf-8") as handle:
        json.dump(dataclasses.asdict(truth), handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(path)
    return path
