"""Tracks of the specimen: the likeliest one behind noisy displacements, and how far it went."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.domain.results import MotionStatistics

Float64 = NDArray[np.float64]

EARLY_DOSE_E_ANG2 = 4.0
"""Dose after which motion counts as late, e⁻/Å²."""
STEP_RATIOS = np.geomspace(1e-3, 1e4, 15)
BEND_RATIOS = np.concatenate([[0.0], np.geomspace(1e-5, 1e3, 13)])


def likeliest_track(
    measured: Float64,  # (frame,)
    *,
    variance: float,
) -> Float64:  # (frame,)
    """Smooth a measured track as much as it can bear, and no more.

    The true track is taken as a straight line plus a random walk plus the integral of a random walk; how
    strong both walks are is found from the data by maximal marginal likelihood, so that a still specimen
    stays still, a steady drift stays smooth, and real jumps survive (C. Rasmussen and C. Williams, Gaussian
    Processes for Machine Learning, 2006, section 5.4).

    Parameters
    ----------
    measured
        Displacements, any unit.
    variance
        Of the measuring error of each, the unit's square.
    """
    count = len(measured)
    if count < 4 or variance <= 0:
        return measured.copy()
    best, best_score = None, -np.inf
    for covariance in _walks(count):
        score, track = _marginal_likelihood(measured, covariance * variance, variance=variance)
        if score > best_score:
            best, best_score = track, score
    return measured.copy() if best is None else best


def _walks(count: int) -> list[Float64]:
    """Covariances (frame, frame) of tracks to choose from, in units of the measuring variance."""
    steps = np.tril(np.ones((count, count)))
    steps[:, 0] = 0
    walk = steps @ steps.T
    bend = steps @ walk @ steps.T
    return [a * walk + b * bend for a in np.concatenate([[0.0], STEP_RATIOS]) for b in BEND_RATIOS]


def _marginal_likelihood(measured: Float64, covariance: Float64, *, variance: float) -> tuple[float, Float64]:
    """Restricted log likelihood of the measurements, and the track expected behind them."""
    count = len(measured)
    total = covariance + variance * np.eye(count)
    line = np.stack([np.ones(count), np.linspace(-1, 1, count)], axis=1)
    factor = np.linalg.cholesky(total)
    white_line = np.linalg.solve(factor, line)
    white = np.linalg.solve(factor, measured)
    normal = white_line.T @ white_line
    trend = np.linalg.solve(normal, white_line.T @ white)
    rest = white - white_line @ trend
    score = -np.log(np.diag(factor)).sum() - 0.5 * np.linalg.slogdet(normal)[1] - 0.5 * float(rest @ rest)
    track = line @ trend + covariance @ np.linalg.solve(factor.T, rest)
    return float(score), track


def motion_statistics(
    displacement_yx: Float64,  # (frame, 2), pixels
    *,
    pixel_size_ang: float,
    dose_per_frame_e_ang2: float,
    earlier_dose_e_ang2: float = 0.0,
) -> MotionStatistics:
    """Sum up a track in Å, split where the specimen had received `EARLY_DOSE_E_ANG2`.

    The step between two frames counts at the dose between them; a step across the limit is shared.
    """
    steps = np.hypot(*np.diff(displacement_yx, axis=0).T) * pixel_size_ang
    # From the middle of one frame to the middle of the next.
    received = earlier_dose_e_ang2 + dose_per_frame_e_ang2 * (np.arange(len(steps)) + 0.5)
    early = np.clip((EARLY_DOSE_E_ANG2 - received) / dose_per_frame_e_ang2, 0, 1)
    relative = displacement_yx - displacement_yx[0]
    return MotionStatistics(
        displacement_px_xy=tuple((float(x), float(y)) for y, x in relative),
        total_ang=float(steps.sum()),
        early_ang=float((steps * early).sum()),
        late_ang=float((steps * (1 - early)).sum()),
    )
