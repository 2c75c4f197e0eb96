"""Tracks of the specimen: the likeliest one behind noisy displacements, and how far it went."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cryodaq.domain.results import MotionStatistics
from cryodaq.imaging.cores import for_each

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
KINDS_AT_ONCE = 64
"""Kinds of motion that one thread prepares in one go."""
SMOOTH_KINDS = len(SETTLING_RATIOS) * len(WALK_RATIOS) * len(BEND_RATIOS)
SHAKEN_KINDS = len(SETTLING_RATIOS) * len(WALKS_WITH_JITTER) * len(JITTER_RATIOS)

NOISE_WALKS = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
"""Random walk that the noise may contain, in units of its variance in each frame."""
REST_BELIEF = 0.5
"""How likely it is, before looking, that the whole field does not move."""
FLOW_REST_BELIEF = 0.95
"""The same for its parts against each other.

The noise is judged by the finest structure of the field, and that of coarse structure is a little larger: movies of
specimens at rest show odds for flow of up to e² by that alone.
"""


@dataclass(frozen=True, slots=True, eq=False)
class FrameErrors:
    """Covariance (frame, frame) of the errors of one measured track, up to a factor and a common offset."""

    covariance: Float64

    @classmethod
    def independent(cls, frame_count: int) -> FrameErrors:
        """Errors that do not know of each other and are alike in all frames."""
        return cls(np.eye(frame_count))

    @classmethod
    def from_information(cls, information: Float64) -> FrameErrors:
        """Errors of places that were found from pairs of frames.

        Parameters
        ----------
        information
            Laplacian (frame, frame): how well each pair fixes the distance between its frames.
        """
        frame_count = len(information)
        return cls(np.asarray(np.linalg.inv(information + 1 / frame_count), dtype=np.float64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Errors of measured displacements: those of the measurement, and ones that add up from frame to frame."""

    variance: float
    """Factor of the measurement's covariance."""
    walk: float
    """Variance of a step of the part that adds up, relative to `variance`."""
    frames: FrameErrors


UNJUDGED_VARIANCE = 2.0
"""Noise in units of what the correlation promises, where nothing tells; tapered windows promise too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPriors:
    """Kinds of motion to choose from; offsets are free in all of them."""

    contrasts: NDArray[np.float32]  # (kind, frame, frame), precision of the measurements without their offset
    gains: NDArray[np.float32]  # (kind, frame, frame), measurements to expected track
    log_volume: Float64  # (kind,)


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
    return _likeliest(measured, _track_priors(noise.frames, noise.walk, jumps), noise, log_belief=_whole_beliefs())


def likeliest_flow(
    measured: Float64,  # (series, frame)
    noise: Noise,
) -> Float64:  # (series, frame)
    """Smooth measured coefficients of how parts of the field move against each other.

    As `likeliest_tracks`, but for what only the whole field can do: a stage shakes and jumps, ice flows.
    """
    if measured.shape[1] < 3 or noise.variance <= 0:
        return measured.copy()
    return _likeliest(measured, _track_priors(noise.frames, noise.walk, ()), noise, log_belief=_flow_beliefs())


def _likeliest(
    measured: Float64,  # (series, frame)
    priors: TrackPriors,
    noise: Noise,
    *,
    log_belief: Float64,  # (kind,)
) -> Float64:  # (series, frame)
    offset = measured.mean(axis=1, keepdims=True)
    centred = measured - offset
    misfit = _misfits(centred, priors) / noise.variance
    score = log_belief - 0.5 * misfit - 0.5 * len(measured) * priors.log_volume
    share = np.exp(score - score.max())
    share /= share.sum()
    if share[0] > 0.5:
        # Exactly at rest: a trace of noise taken for motion would breed more of it in the next round.
        share[1:] = 0
    likely = np.flatnonzero(share >= 1e-4)
    gain = np.einsum("k,kfg->fg", share[likely] / share[likely].sum(), priors.gains[likely])
    return np.asarray(centred @ gain.T + offset)


def likeliest_noise(
    measured: Float64,  # (series, frame)
    frames: FrameErrors,
) -> Noise:
    """Describe the noise of tracks in which nothing moves; offsets are free."""
    series, frame_count = measured.shape
    best, best_score = Noise(variance=UNJUDGED_VARIANCE, walk=0.0, frames=frames), -np.inf
    if series < 3 or frame_count < 4:
        return best
    centred = measured - measured.mean(axis=1, keepdims=True)
    for walk in NOISE_WALKS:
        precision = np.linalg.inv(_noise_covariance(frames, walk))
        heard = precision.sum(axis=0)
        contrast = precision - np.outer(heard, heard) / heard.sum()
        freedom = series * (frame_count - 1)
        variance = float(np.einsum("sf,fg,sg->", centred, contrast, centred)) / freedom
        volume = np.log(heard.sum()) - np.linalg.slogdet(precision)[1]
        score = -0.5 * (freedom * np.log(variance) + series * volume)
        if score > best_score:
            best, best_score = Noise(variance=variance, walk=walk, frames=frames), score
    return best


def _misfits(centred: Float64, priors: TrackPriors) -> Float64:  # (kind,)
    # Not as a matrix product: the threads of a BLAS go on spinning long after so small a one.
    second = np.asarray(centred.T @ centred, np.float32)
    return np.asarray(np.einsum("kfg,fg->k", priors.contrasts, second), np.float64)


@lru_cache(maxsize=2 * len(NOISE_WALKS))
def _track_priors(frames: FrameErrors, noise_walk: float, jumps: tuple[int, ...]) -> TrackPriors:
    noise = _noise_covariance(frames, noise_walk)
    frame_count = len(noise)
    free = np.stack([np.arange(frame_count) >= first for first in (0, *jumps)], axis=1).astype(float)
    covariances = _covariances(frame_count)
    priors = TrackPriors(
        contrasts=np.empty(covariances.shape, np.float32),
        gains=np.empty(covariances.shape, np.float32),
        log_volume=np.empty(len(covariances)),
    )

    def fill(kinds: slice) -> None:
        precision = np.linalg.inv(covariances[kinds] + noise)
        heard = precision @ free
        inner = free.T @ heard
        contrasts = precision - heard @ np.linalg.solve(inner, heard.transpose(0, 2, 1))
        priors.contrasts[kinds] = contrasts
        # Track, offset and jumps are what is left when the noise is taken away.
        priors.gains[kinds] = np.eye(frame_count) - noise @ contrasts
        priors.log_volume[kinds] = np.linalg.slogdet(inner)[1] - np.linalg.slogdet(precision)[1]

    for_each(fill, [slice(first, first + KINDS_AT_ONCE) for first in range(0, len(covariances), KINDS_AT_ONCE)])
    return priors


def _noise_covariance(frames: FrameErrors, walk: float) -> Float64:
    return np.asarray(frames.covariance + walk * _walk_covariance(len(frames.covariance)))


def _walk_covariance(frame_count: int) -> Float64:
    steps = np.tril(np.ones((frame_count, frame_count)))
    steps[:, 0] = 0
    return np.asarray(steps @ steps.T)


def _whole_beliefs() -> Float64:  # (kind,)
    """How likely each kind of `_covariances` is for the whole field, before looking; logarithms."""
    belief = np.full(SMOOTH_KINDS + SHAKEN_KINDS, (1 - REST_BELIEF) / (SMOOTH_KINDS + SHAKEN_KINDS - 1))
    belief[0] = REST_BELIEF
    return np.asarray(np.log(belief))


def _flow_beliefs() -> Float64:  # (kind,)
    """The same for parts of the field."""
    log_belief = np.full(SMOOTH_KINDS + SHAKEN_KINDS, -np.inf)
    log_belief[:SMOOTH_KINDS] = np.log((1 - FLOW_REST_BELIEF) / (SMOOTH_KINDS - 1))
    log_belief[0] = np.log(FLOW_REST_BELIEF)
    return log_belief


@lru_cache(maxsize=4)
def _covariances(frame_count: int) -> Float64:
    """Covariances (kind, frame, frame) of tracks to choose from, in units of the noise; the first is rest."""
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
    return np.array(smooth + shaken)


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
