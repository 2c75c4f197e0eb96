"""One exposure: what the camera delivers, and what the acquisition software knows about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.simulator.optics import Defocus, ImagingConditions

FRAME_TIME_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What the camera delivers for one exposure, with all that is known about it."""

    conditions: ImagingConditions
    frame_count: int
    shape_yx: tuple[int, int]
    frames: Iterable[NDArray[np.generic]]  # (y, x) each, before gain correction; may be read once
    target_defocus_ang: float
    """Underfocus that was asked for, positive."""
    gain_name: str | None
    displacement_px_xy: tuple[tuple[float, float], ...] | None
    """Of the specimen relative to frame 0; None if not known."""
    defocus: Defocus | None = None
    particles_px_xy: tuple[tuple[float, float], ...] | None = None
    particle_diameter_ang: float | None = None
    hot_pixels: int | None = None
    seed: int | None = None
    existing_path: Path | None = None
    """The movie that is sent; None for a simulated one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureFiles:
    """Where the files of one exposure go."""

    name: str
    """The movie's base name: what the elogbook calls the run."""
    movie: Path
    metadata: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One exposure as the acquisition software sees it."""

    number: int
    """Counts the exposures of a session from 0."""
    acquired_at: datetime
    shot: Shot

    @property
    def exposure_time_s(self) -> float:
        """Open shutter, s."""
        return self.shot.frame_count * FRAME_TIME_S

    @property
    def dose_e_ang2(self) -> float:
        """Total exposure, e⁻/Å²."""
        return self.shot.frame_count * self.shot.conditions.dose_per_frame_e_ang2

    @property
    def dose_e_px(self) -> float:
        """Total exposure, e⁻ per pixel of the camera."""
        return self.dose_e_ang2 * self.shot.conditions.pixel_size_ang**2
