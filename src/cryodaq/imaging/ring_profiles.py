"""Ring profiles without their background, and models to compare them with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from cryodaq.imaging.ctf_model import Defocus, Lens
from cryodaq.imaging.power_spectrum import PolarSpectrum, logarithm_of

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

BACKGROUND_CURVES = 7
INDEPENDENT_SHARE = 0.7
ROWS_AT_ONCE = 64
"""Products of more rows would be shared out to threads that burn more time waiting than they save."""
DRIFT_OF_DECAY = 1.5 / np.pi**2
"""Square of a drift's length over the decay by which sinc² of it begins to fall."""
LEAST_UNEVEN_ANG2 = 5.0
"""Rounds the corner where a decay begins to differ by direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Height of rings along frequency: a sum of decays exp(-B k² / 2), and a drift within frames."""

    decays_ang2: tuple[float, ...]
    """Every B, Å²."""
    shares: tuple[float, ...] = (1.0,)
    """How much of the height each of them has."""
    uneven_cosine_ang2: float = 0.0
    uneven_sine_ang2: float = 0.0
    """What drift adds to B at low frequencies with cos and sin of twice the direction: it blurs along itself only."""

    def height(self, frequency: Float64) -> Float64:  # (frequency,)
        """Where it is largest."""
        square = -0.5 * frequency**2
        return np.asarray(
            sum(share * np.exp(decay * square) for decay, share in zip(self.decays_ang2, self.shares, strict=True))
        )

    def heights(self, frequency: Float64, angle: Float64) -> Float64:  # (direction, frequency)
        """In directions given in radians from x towards +y."""
        return np.asarray(self.height(frequency) * np.sinc(self.drift_ang(angle)[:, None] * frequency) ** 2)

    @property
    def most_uneven_ang2(self) -> float:
        """What drift adds to B along itself, but for the sign: half of the difference to B across."""
        return float(np.sqrt(self.uneven_cosine_ang2**2 + self.uneven_sine_ang2**2 + LEAST_UNEVEN_ANG2**2))

    def drift_ang(self, angle: Float64) -> Float64:  # (direction,)
        """Length of a steady drift in these directions, Å; it leaves sinc², which begins to fall as the decay does."""
        uneven = self.uneven_cosine_ang2 * np.cos(2 * angle) + self.uneven_sine_ang2 * np.sin(2 * angle)
        return np.asarray(np.sqrt(DRIFT_OF_DECAY * (self.most_uneven_ang2 + uneven)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RingModel:
    """All that decides how rings look."""

    defocus: Defocus
    envelope: Envelope
    phase_shift: float = 0.0
    """Of a phase plate, radians."""


def smooth_curves(place: Float64, curves: int) -> Float64:
    """Cubic B-splines (place, curve), equally spaced, at places from 0 to 1."""
    knots = np.concatenate([np.zeros(3), np.linspace(0, 1, curves - 2), np.ones(3)])
    return np.asarray(BSpline.design_matrix(np.clip(place, 0, 1 - 1e-9), knots, 3).toarray())


def background_curves(count: int, curves: int) -> Float64:
    """Smooth curves (frequency, curve) that stand for any background."""
    return smooth_curves(np.linspace(0, 1, count), curves)


def length(profiles: Float64) -> float:
    """Root of the sum of squares, without the threads that linear algebra starts for it and lets wait."""
    return float(np.sqrt(np.square(profiles).sum()))


class Rings:
    """Ring profiles with the background taken away, to be compared with models.

    Profiles are (direction, frequency); products are weighted by frequency, because a ring has as many
    independent pixels as it is long. Frequencies of `ignored` have no weight.
    """

    def __init__(
        self, spectrum: PolarSpectrum, lens: Lens, *, curves: int = BACKGROUND_CURVES, ignored: Mask | None = None
    ) -> None:
        self.lens = lens
        self.angle = spectrum.angle
        self.frequency = spectrum.frequency
        self.root_weight = np.sqrt(spectrum.frequency / spectrum.frequency.mean())
        if ignored is not None:
            self.root_weight[ignored] = 0
        smooth = background_curves(len(spectrum.frequency), curves) * self.root_weight[:, None]
        self.background, _ = np.linalg.qr(smooth)
        self.profiles = self.without_background(logarithm_of(spectrum.power))

    def without_background(self, profiles: Float64) -> Float64:  # (direction, frequency)
        """Weighted, and freed of all that smooth curves can describe."""
        weighted: Float64 = profiles * self.root_weight
        flat: Float64 = np.empty_like(weighted)
        for first in range(0, len(weighted), ROWS_AT_ONCE):
            rows = weighted[first : first + ROWS_AT_ONCE]
            flat[first : first + ROWS_AT_ONCE] = rows - (rows @ self.background) @ self.background.T
        return flat

    def waves(self, defocus_ang: Float64, *, phase_shift: float = 0.0) -> Float64:
        """Rings of these defoci (defocus, frequency), of height 1 where they are seen whole."""
        k = self.frequency[None, :]
        phase = self.lens.phase(k**2, defocus_ang[:, None]) + phase_shift
        return np.asarray(-np.cos(2 * phase) * self.seen(defocus_ang))

    def seen(self, defocus_ang: Float64) -> Float64:  # (defocus, frequency)
        """Share of a ring's height that sampling leaves: those that turn within one pixel are averaged away."""
        step = self.frequency[1] - self.frequency[0]
        return np.asarray(np.sinc(self.lens.turns_per_frequency(self.frequency[None, :], defocus_ang[:, None]) * step))

    def profiles_of(self, model: RingModel) -> Float64:  # (direction, frequency)
        """Profiles that these rings would have, background taken away."""
        heights = model.envelope.heights(self.frequency, self.angle)
        waves = self.waves(model.defocus.along(self.angle), phase_shift=model.phase_shift)
        return self.without_background(waves * heights)

    def score(self, model: RingModel) -> float:
        """Correlation of rings seen and expected, -1 to 1."""
        expected = self.profiles_of(model)
        norm = length(expected) * length(self.profiles)
        return float((expected * self.profiles).sum() / norm) if norm > 0 else 0.0

    def significance(self, score: float) -> float:
        """Score in standard deviations of what noise gives, if neighbouring samples share a third of theirs."""
        independent = INDEPENDENT_SHARE * self.profiles.size
        return float(score * np.sqrt(independent / max(1 - score**2, 1e-9)))
