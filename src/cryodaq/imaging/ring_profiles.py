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
        uneven = self.uneven_cosine_ang2 * np.cos(2 * angle) + self.uneven_sine_ang2 * np.sin(2 * angle)
        most = np.sqrt(self.uneven_cosine_ang2**2 + self.uneven_sine_ang2**2 + LEAST_UNEVEN_ANG2**2)
        # A steady drift over this length leaves sinc², which begins to fall as that decay does.
        drift_ang = np.sqrt(1.5 * np.maximum(most + uneven, 0)) / np.pi
        return np.asarray(self.height(frequency) * np.sinc(drift_ang[:, None] * frequency) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class RingModel:
    """All that decides how rings look."""

    defocus: Defocus
    envelope: Envelope
    phase_shift: float = 0.0
    """Of a phase plate, radians."""


def smooth_curves(count: int, curves: int) -> Float64:
    """Cubic B-splines (frequency, curve), equally spaced, that stand for any background."""
    knots = np.concatenate([np.zeros(3), np.linspace(0, 1, curves - 2), np.ones(3)])
    return np.asarray(BSpline.design_matrix(np.linspace(0, 1 - 1e-9, count), knots, 3).toarray())


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
        self._root_weight = np.sqrt(spectrum.frequency / spectrum.frequency.mean())
        if ignored is not None:
            self._root_weight[ignored] = 0
        smooth = smooth_curves(len(spectrum.frequency), curves) * self._root_weight[:, None]
        self._background, _ = np.linalg.qr(smooth)
        self.profiles = self.without_background(logarithm_of(spectrum.power))

    def without_background(self, profiles: Float64) -> Float64:  # (direction, frequency)
        """Weighted, and freed of all that smooth curves can describe."""
        weighted: Float64 = profiles * self._root_weight
        flat: Float64 = np.empty_like(weighted)
        for first in range(0, len(weighted), ROWS_AT_ONCE):
            rows = weighted[first : first + ROWS_AT_ONCE]
            flat[first : first + ROWS_AT_ONCE] = rows - (rows @ self._background) @ self._background.T
        return flat

    def waves(self, defocus_ang: Float64, *, phase_shift: float = 0.0) -> Float64:
        """Rings of these defoci (defocus, frequency), of height 1 where they are seen whole."""
        k = self.frequency[None, :]
        phase = self.lens.phase(k**2, defocus_ang[:, None]) + phase_shift
        step = self.frequency[1] - self.frequency[0]
        # Rings that turn within one pixel of frequency are averaged away by the sampling.
        seen: Float64 = np.sinc(self.lens.turns_per_frequency(k, defocus_ang[:, None]) * step)
        return -np.cos(2 * phase) * seen

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
