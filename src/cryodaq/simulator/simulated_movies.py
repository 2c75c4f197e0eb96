"""Simulated movies of one session: one protein, one camera, a new specimen and drift for every exposure."""

from __future__ import annotations

import zlib
from datetime import datetime
from pathlib import Path

import numpy as np

from cryodaq.simulator.acquisition import Shot
from cryodaq.simulator.exposure import draw_defocus, draw_exposure, expose
from cryodaq.simulator.gain_store import provide_detector
from cryodaq.simulator.plan import SessionPlan
from cryodaq.simulator.specimen import build_protein

DEFOCUS_TARGETS_ANG = tuple(range(11_000, 24_001, 1_000))


class SimulatedMovies:
    """Takes exposures by physics; the same seed, session and number give the same movie."""

    def __init__(self, plan: SessionPlan, *, session_name: str, gains: Path, now: datetime) -> None:
        self._plan = plan
        self._session_key = zlib.crc32(session_name.encode())
        self._detector, self._gain_name = provide_detector(
            gains,
            shape_yx=plan.shape_yx,
            pixel_size_ang=plan.conditions.pixel_size_ang,
            seed=plan.seed,
            now=now,
        )
        self._protein = build_protein(plan.particle_diameter_ang, rng=self._rng(0))

    def take(self, number: int) -> Shot:
        """Take the exposure of this number, counted from 0 within the session."""
        plan, rng = self._plan, self._rng(1 + number)
        target_ang = float(rng.choice(DEFOCUS_TARGETS_ANG))
        exposure = draw_exposure(
            self._protein,
            conditions=plan.conditions,
            shape_yx=plan.shape_yx,
            frame_count=plan.frame_count,
            defocus=draw_defocus(rng, target_ang=target_ang),
            rng=rng,
        )
        return Shot(
            conditions=plan.conditions,
            frame_count=plan.frame_count,
            shape_yx=plan.shape_yx,
            frames=expose(exposure, detector=self._detector, rng=rng),
            target_defocus_ang=target_ang,
            gain_name=self._gain_name,
            displacement_px_xy=tuple((float(x), float(y)) for x, y in exposure.displacement_px_xy),
            defocus=exposure.defocus,
            particles_px_xy=tuple((float(x), float(y)) for x, y in exposure.field.particles_px_xy),
            particle_diameter_ang=plan.particle_diameter_ang,
            hot_pixels=len(self._detector.hot_flat_indices),
            seed=plan.seed,
        )

    def _rng(self, stream: int) -> np.random.Generator:
        seeds = np.random.SeedSequence([self._plan.seed, self._session_key, stream])
        return np.random.Generator(np.random.SFC64(seeds))
