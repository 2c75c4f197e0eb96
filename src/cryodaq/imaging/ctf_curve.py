"""One curve for all directions of an astigmatic spectrum, and how far its rings follow the fit.

Directions are averaged where they have the same phase, not the same frequency, so astigmatism blurs nothing;
A. Rohou and N. Grigorieff, Journal of Structural Biology 192 (2015) 216.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cryodaq.imaging.ctf_model import Defocus, Lens
from cryodaq.imaging.power_spectrum import PolarSpectrum, logarithm_of
from cryodaq.imaging.ring_profiles import RingModel, background_curves

Float64 = NDArray[np.float64]

CREDIBLE = 0.5
"""Local correlation above which rings count as following the fit."""
WINDOW_RINGS = 1.25
"""Half width of the window of the local correlation, in rings."""
NARROWEST_WINDOW = 4
"""Half width in samples, below which a correlation says nothing."""
CURVE_BACKGROUND_CURVES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RingCurve:
    """Rings along frequency, at the mean defocus. All arrays (frequency,)."""

    frequency: Float64
    """1/Å."""
    experimental: Float64
    """Background taken away and scaled such that rings reach from 0 to 1 where they follow the fit."""
    fitted: Float64
    """Squared CTF, 0 to 1."""
    correlation: Float64
    """Of both within a few rings around each frequency, -1 to 1."""
    resolution_ang: float
    """How far the rings follow the fit without a break, Å; the coarsest when they nowhere do."""
    rings_followed: float
    """Number of rings in the range that follows the fit."""


def measure_curve(spectrum: PolarSpectrum, *, model: RingModel, lens: Lens) -> RingCurve:
    """Average directions at equal phase and compare with the squared CTF of the mean defocus."""
    frequency, defocus = spectrum.frequency, model.defocus
    profile = _equal_phase_mean(spectrum, defocus=defocus, lens=lens)
    phase = lens.phase(frequency**2, np.array(defocus.mean_ang)) + model.phase_shift
    fitted = np.sin(phase) ** 2
    rings = fitted - 0.5
    seen = rings * model.envelope.height(frequency)
    design = np.column_stack([background_curves(len(frequency), CURVE_BACKGROUND_CURVES), seen])
    coefficients, *_ = np.linalg.lstsq(design, profile, rcond=None)
    flat = profile - design[:, :-1] @ coefficients[:-1]
    turns = phase / np.pi
    correlation = _local_correlation(flat, rings, turns)
    first, last = _followed(correlation, turns)
    return RingCurve(
        frequency=frequency,
        experimental=_scaled(flat, rings),
        fitted=fitted,
        correlation=correlation,
        resolution_ang=float(1 / frequency[last]),
        rings_followed=float(abs(turns[last] - turns[first])),
    )


def _equal_phase_mean(spectrum: PolarSpectrum, *, defocus: Defocus, lens: Lens) -> Float64:
    """Mean logarithm of the power (frequency,), each sample put where the mean defocus has its phase."""
    square = spectrum.frequency[None, :] ** 2
    along = defocus.along(spectrum.angle)[:, None]
    equivalent = np.sqrt(np.maximum(lens.same_phase_at(square, defocus_ang=along, other_ang=defocus.mean_ang), 0))
    step = spectrum.frequency[1] - spectrum.frequency[0]
    count = len(spectrum.frequency)
    place = np.clip((equivalent - spectrum.frequency[0]) / step, 0, count - 1 - 1e-9).ravel()
    lower = place.astype(np.int64)
    share = place - lower
    values = logarithm_of(spectrum.power).ravel()
    total = np.bincount(lower, values * (1 - share), count) + np.bincount(lower + 1, values * share, count)
    weight = np.bincount(lower, 1 - share, count) + np.bincount(lower + 1, share, count)
    filled = weight > 0
    return np.asarray(np.interp(np.arange(count), np.flatnonzero(filled), total[filled] / weight[filled]))


def _local_correlation(profile: Float64, rings: Float64, turns: Float64) -> Float64:
    """Correlation (frequency,) within `WINDOW_RINGS` on both sides."""
    result = np.zeros(len(profile))
    for place in range(len(profile)):
        near = np.abs(turns - turns[place]) <= WINDOW_RINGS
        near[max(0, place - NARROWEST_WINDOW) : place + NARROWEST_WINDOW + 1] = True
        a, b = profile[near] - profile[near].mean(), rings[near] - rings[near].mean()
        norm = np.sqrt((a @ a) * (b @ b))
        result[place] = a @ b / norm if norm > 0 else 0.0
    return result


def _followed(correlation: Float64, turns: Float64) -> tuple[int, int]:
    """First and last sample of the range around the best correlation that stays credible.

    A dip of less than a ring does not end it: a ring of ice or a peak of the specimen may lie there.
    """
    good = correlation >= CREDIBLE
    if not good.any():
        return 0, 0
    best = int(np.argmax(np.where(good, gaussian_filter1d(correlation, 4.0), -np.inf)))
    ends = []
    for direction in (-1, 1):
        end = best
        place = best
        while 0 <= place < len(good) and abs(turns[place] - turns[end]) <= 1.0:
            end = place if good[place] else end
            place += direction
        ends.append(end)
    return ends[0], ends[1]


def _scaled(profile: Float64, rings: Float64) -> Float64:
    """Divide by the local height of the rings; where they vanish, by a tenth of the highest."""
    height = gaussian_filter1d(profile * rings, 12.0) / gaussian_filter1d(rings**2, 12.0)
    highest = float(height.max())
    if highest <= 0:
        return np.zeros_like(profile)
    return np.asarray(profile / np.maximum(height, 0.1 * highest) + 0.5)
