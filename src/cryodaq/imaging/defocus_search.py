"""Defocus and astigmatism that make rings most like those seen.

Rings of all defoci are correlated with each direction's profile at once, by one matrix product; every
astigmatism is read off that table, and the best place is refined with exact models.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from cryodaq.imaging.ctf_model import Defocus
from cryodaq.imaging.ring_profiles import Rings

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

DEFOCUS_STEP_ANG = 100.0
ENVELOPES_ANG2 = (20.0, 80.0, 200.0, 500.0)
"""Decays of the rings' height that are tried, exp(-B k² / 2), Å²."""
ASTIGMATISMS_ANG = (0.0, 150.0, 400.0, 800.0, 1600.0, 3000.0)
"""Half of U - V, first tried."""
DIRECTIONS = 12


def find_defocus(rings: Rings, *, least_ang: float, most_ang: float) -> tuple[Defocus, float]:
    """Best defocus and envelope (Å²): every defocus and astigmatism on a grid, then a simplex."""
    grid = np.arange(least_ang, most_ang + DEFOCUS_STEP_ANG, DEFOCUS_STEP_ANG)
    best, best_score = (Defocus(mean_ang=float(grid[0])), ENVELOPES_ANG2[0]), -np.inf
    for envelope in ENVELOPES_ANG2:
        models = rings.models(grid, envelope_ang2=envelope)
        products = (rings.profiles @ models.T).astype(np.float32)
        squares = (models**2).sum(axis=1).astype(np.float32)
        for half in ASTIGMATISMS_ANG:
            for direction in np.arange(DIRECTIONS if half else 1) * np.pi / DIRECTIONS:
                astigmatism = Defocus(
                    mean_ang=0.0,
                    cosine_ang=half * float(np.cos(2 * direction)),
                    sine_ang=half * float(np.sin(2 * direction)),
                )
                place, score = _best_in_table(products, squares, astigmatism.along(rings.angle))
                if score > best_score:
                    best_score = score
                    best = dataclasses.replace(astigmatism, mean_ang=float(grid[place])), envelope
    return _refined(rings, *best)


def _best_in_table(products: Float, squares: Float, offsets_ang: Float64) -> tuple[int, float]:
    """Row of the mean defocus at which the directions' products, each at its own defocus, are largest."""
    steps = np.rint(offsets_ang / DEFOCUS_STEP_ANG).astype(np.int64)
    margin = int(np.abs(steps).max())
    inside = products.shape[1] - 2 * margin
    if inside <= 0:
        return 0, -np.inf
    total, norm = np.zeros(inside, np.float32), np.zeros(inside, np.float32)
    for direction, step in enumerate(steps + margin):
        total += products[direction, step : step + inside]
        norm += squares[step : step + inside]
    score = total / np.sqrt(np.maximum(norm, 1e-12))
    return int(np.argmax(score)) + margin, float(score.max())


def _refined(rings: Rings, start: Defocus, envelope_ang2: float) -> tuple[Defocus, float]:
    """Nelder-Mead with exact models; the envelope is searched by its logarithm."""

    def cost(point: Float64) -> float:
        return -rings.score(_defocus(point), envelope_ang2=float(np.exp(point[3])))

    middle = np.array([start.mean_ang, start.cosine_ang, start.sine_ang, np.log(envelope_ang2)])
    simplex = middle + np.vstack([np.zeros(4), np.diag([60.0, 100.0, 100.0, 0.5])])
    found = scipy.optimize.minimize(
        cost,
        middle,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 0.5, "fatol": 1e-6, "maxfev": 250},
    )
    return _defocus(found.x), float(np.exp(found.x[3]))


def _defocus(point: Float64) -> Defocus:
    return Defocus(mean_ang=float(point[0]), cosine_ang=float(point[1]), sine_ang=float(point[2]))
