"""Tracks of the specimen: the likeliest one behind noisy displacements, and how far it went."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cryodaq.domain.results import MotionStatistics

Float64 = NDArray[np.float64]

EARLY_DOSE_E_ANG2 = 4.0
"""Dose after which motion counts as late, e⁻/Å²."""
SETTLING_RATES = (0.0, 2.0, 5.0, 12.0, 30.0)
"""How fast motion may die away, per exposure; 0 is a steady drift."""
SETTLING_RATIOS = (0.0, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e5)
WALK_RATIOS = (0.0, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e3, 1e6)
JITTER_RATIOS = (1.0, 1e1, 1e2, 1e4)
"""Displacements of single frames, as a shaking stage makes them; tried with these walks."""
WALKS_WITH_JITTER = (0.0, 1e-1, 1e1)
BEND_RATIOS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1e1)


NOISE_WALKS = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
"""Random walk that the noise may contain, in units of its variance in each frame."""
REST_BELIEF = 0.5
"""How likely it is, before looking, that something does not move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Errors of measured displacements: independent ones of each frame, and ones that add up from frame to frame."""

    variance: float
    """Of the independent part."""
    walk: float
    """Variance of a step of the part that adds up, relative to `variance`."""
    spread: tuple[float, ...] = ()
    """Variance of each frame relative to `variance`; empty where frames are alike."""


UNJUDGED_VARIANCE = 2.0
"""Noise in units of what the correlation promises, where nothing tells; tapered windows promise too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPriors:
    """Kinds of motion to choose from; offsets are free in all of them."""

    contrasts: NDArray[np.float32]  # (kind, frame, frame), precision of the measurements without their offset
    gains: NDArray[np.float32]  # (kind, frame, frame), measurements to expected track
    log_volume: Float64  # (kind,)
    log_belief: Float64  # (kind,)


def likeliest_tracks(
    measured: Float64,  # (series, frame)
    noise: Noise,
    *,
    jumps: tuple[int, ...] = (),
) -> Float64:  # (series, frame)
    """Smooth measured tracks as much as they can bear, and no more.

    A true track is taken as motion that settles at one of several rates, plus a random walk, plus the integral
    of a random walk, plus jitter. How strong each of them is, is found from all series together by their marginal
    likelihood, and the answers of all strengths are averaged with it, so that a still specimen stays still, a
    steady drift stays smooth, and real jumps survive (C. Rasmussen and C. Williams, Gaussian Processes for
    Machine Learning, 2006, chapter 5).

    Parameters
    ----------
    jumps
        Frames before which everything may have jumped by any amount.
    """
    frame_count = measured.shape[1]
    if frame_count < 3 + len(jumps) or noise.variance <= 0:
        return measured.copy()
    priors = _track_priors(frame_count, noise.walk, noise.spread, jumps)
    offset = measured.mean(axis=1, keepdims=True)
    centred = measured - offset
    misfit = _misfits(centred, priors) / noise.variance
    score = priors.log_belief - 0.5 * misfit - 0.5 * len(measured) * priors.log_volume
    share = np.exp(score - score.max())
    share /= share.sum()
    if share[0] > 0.5:
        # Exactly at rest: a trace of noise taken for motion would breed more of it in the next round.
        share[1:] = 0
    likely = np.flatnonzero(share >= 1e-4)
    gain = np.tensordot(share[likely] / share[likely].sum(), priors.gains[likely], axes=1)
    return np.asarray(centred @ gain.T + offset)


def likeliest_track(
    measured: Float64,  # (frame,)
    *,
    variance: float,
) -> Float64:  # (frame,)
    """Smooth one track whose errors are independent; see `likeliest_tracks`."""
    return np.asarray(likeliest_tracks(measured[None, :], Noise(variance=variance, walk=0.0))[0])


def likeliest_noise(
    measured: Float64,  # (series, frame)
    *,
    spread: tuple[float, ...] = (),
) -> Noise:
    """Describe the noise of tracks in which nothing moves; offsets are free.

    Parameters
    ----------
    spread
        Relative variance of each frame; empty where frames are alike.
    """
    unjudged = Noise(variance=UNJUDGED_VARIANCE, walk=0.0, spread=spread)
    series, frame_count = measured.shape
    if series < 3 or frame_count < 4:
        return unjudged
    centred = measured - measured.mean(axis=1, keepdims=True)
    best, best_score = unjudged, -np.inf
    for walk in NOISE_WALKS:
        precision = np.linalg.inv(_noise_covariance(frame_count, walk, spread))
        heard = precision.sum(axis=0)
        contrast = precision - np.outer(heard, heard) / heard.sum()
        freedom = series * (frame_count - 1)
        variance = float(np.einsum("sf,fg,sg->", centred, contrast, centred)) / freedom
        volume = np.log(heard.sum()) - np.linalg.slogdet(precision)[1]
        score = -0.5 * (freedom * np.log(variance) + series * volume)
        if score > best_score:
            best, best_score = Noise(variance=variance, walk=walk, spread=spread), score
    return best


def _misfits(centred: Float64, priors: TrackPriors) -> Float64:  # (kind,)
    second = np.asarray(centred.T @ centred, np.float32).ravel()
    return np.asarray(priors.contrasts.reshape(len(priors.contrasts), -1) @ second, dtype=np.float64)


@lru_cache(maxsize=2 * len(NOISE_WALKS))
def _track_priors(
    frame_count: int, noise_walk: float, spread: tuple[float, ...], jumps: tuple[int, ...]
) -> TrackPriors:
    contrasts, gains, volumes = [], [], []
    noise = _noise_covariance(frame_count, noise_walk, spread)
    free = np.stack([np.arange(frame_count) >= first for first in (0, *jumps)], axis=1).astype(float)
    for covariance in _covariances(frame_count):
        precision = np.linalg.inv(covariance + noise)
        heard = precision @ free
        contrast = precision - heard @ np.linalg.solve(free.T @ heard, heard.T)
        contrasts.append(contrast.astype(np.float32))
        # Track, offset and jumps are what is left when the noise is taken away.
        gains.append((np.eye(frame_count) - noise @ contrast).astype(np.float32))
        volumes.append(np.linalg.slogdet(free.T @ heard)[1] - np.linalg.slogdet(precision)[1])
    belief = np.full(len(volumes), (1 - REST_BELIEF) / (len(volumes) - 1))
    belief[0] = REST_BELIEF
    return TrackPriors(
        contrasts=np.array(contrasts),
        gains=np.array(gains),
        log_volume=np.array(volumes),
        log_belief=np.log(belief),
    )


def _noise_covariance(frame_count: int, walk: float, spread: tuple[float, ...]) -> Float64:
    return np.asarray(np.diag(spread or (1.0,) * frame_count) + walk * _walk_covariance(frame_count))


def _walk_covariance(frame_count: int) -> Float64:
    steps = np.tril(np.ones((frame_count, frame_count)))
    steps[:, 0] = 0
    return np.asarray(steps @ steps.T)


def _covariances(frame_count: int) -> list[Float64]:
    """Covariances (frame, frame) of tracks to choose from, in units of the noise; the first is rest."""
    time = np.linspace(0, 1, frame_count)
    curves = [time if rate == 0 else np.expm1(-rate * time) / np.expm1(-rate) for rate in SETTLING_RATES]
    settling = np.sum([np.outer(curve, curve) for curve in curves], axis=0)
    steps = np.tril(np.ones((frame_count, frame_count)))
    steps[:, 0] = 0
    walk = _walk_covariance(frame_count)
    bend = steps @ walk @ steps.T
    smooth = [s * settling + a * walk + b * bend for s in SETTLING_RATIOS for a in WALK_RATIOS for b in BEND_RATIOS]
    jitter = np.eye(frame_count)
    shaken = [
        s * settling + a * walk + j * jitter for s in SETTLING_RATIOS for a in WALKS_WITH_JITTER for j in JITTER_RATIOS
    ]
    return smooth + shaken


def motion_statistics(
    displacement_yx: Float64,  # (frame, 2), pixels
    *,
    pixel_size_ang: float,
    dose_per_frame_e_ang2: float | Float64,
    earlier_dose_e_ang2: float = 0.0,
) -> MotionStatistics:
    """Sum up a track in Å, split where the specimen had received `EARLY_DOSE_E_ANG2`.

    The step between two frames counts at the dose between them; a step across the limit is shared.
    """
    steps = np.hypot(*np.diff(displacement_yx, axis=0).T) * pixel_size_ang
    dose = np.broadcast_to(np.asarray(dose_per_frame_e_ang2, dtype=np.float64), (len(displacement_yx),))
    # From the middle of one frame to the middle of the next.
    received = earlier_dose_e_ang2 + np.cumsum(dose) - dose / 2
    early = np.clip((EARLY_DOSE_E_ANG2 - received[:-1]) / np.diff(received), 0, 1)
    relative = displacement_yx - displacement_yx[0]
    return MotionStatistics(
        displacement_px_xy=tuple((float(x), float(y)) for y, x in relative),
        total_ang=float(steps.sum()),
        early_ang=float((steps * early).sum()),
        late_ang=float((steps * (1 - early)).sum()),
    )
