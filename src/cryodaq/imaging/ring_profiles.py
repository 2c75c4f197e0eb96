"""Ring profiles without their background, and models to compare them with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from cryodaq.imaging.ctf_model import Defocus, Lens
from cryodaq.imaging.power_spectrum import PolarSpectrum

Float64 = NDArray[np.float64]

BACKGROUND_CURVES = 7
INDEPENDENT_SHARE = 0.7


def smooth_curves(count: int, curves: int) -> Float64:
    """Cubic B-splines (frequency, curve), equally spaced, that stand for any background."""
    knots = np.concatenate([np.zeros(3), np.linspace(0, 1, curves - 2), np.ones(3)])
    return np.asarray(BSpline.design_matrix(np.linspace(0, 1 - 1e-9, count), knots, 3).toarray())


class Rings:
    """Ring profiles with the background taken away, to be compared with models.

    Profiles are (direction, frequency); products are weighted by frequency, because a ring has as many
    independent pixels as it is long.
    """

    def __init__(self, spectrum: PolarSpectrum, lens: Lens) -> None:
        self.lens = lens
        self.angle = spectrum.angle
        self.frequency = spectrum.frequency
        self._root_weight = np.sqrt(spectrum.frequency / spectrum.frequency.mean())
        curves = smooth_curves(len(spectrum.frequency), BACKGROUND_CURVES) * self._root_weight[:, None]
        self._background, _ = np.linalg.qr(curves)
        logarithm = np.log(np.maximum(spectrum.power, 1e-6 * np.median(spectrum.power)))
        self.profiles = self._flattened(logarithm * self._root_weight)

    def _flattened(self, weighted: Float64) -> Float64:
        return np.asarray(weighted - (weighted @ self._background) @ self._background.T)

    def models(self, defocus_ang: Float64, *, envelope_ang2: float) -> Float64:
        """Profiles (defocus, frequency) that rings of these defoci would have, background taken away."""
        k = self.frequency[None, :]
        phase = self.lens.phase(k**2, defocus_ang[:, None])
        step = self.frequency[1] - self.frequency[0]
        # Rings that turn within one pixel of frequency are averaged away by the sampling.
        seen = np.sinc(self.lens.turns_per_frequency(k, defocus_ang[:, None]) * step)
        height = np.exp(-0.5 * envelope_ang2 * k**2) * self._root_weight
        return self._flattened(-np.cos(2 * phase) * seen * height)

    def score(self, defocus: Defocus, *, envelope_ang2: float) -> float:
        """Correlation, -1 to 1."""
        models = self.models(defocus.along(self.angle), envelope_ang2=envelope_ang2)
        norm = np.linalg.norm(models) * np.linalg.norm(self.profiles)
        return float((models * self.profiles).sum() / norm) if norm > 0 else 0.0

    def significance(self, score: float) -> float:
        """Score in standard deviations of what noise gives, if neighbouring samples share a third of theirs."""
        independent = INDEPENDENT_SHARE * self.profiles.size
        return float(score * np.sqrt(independent / max(1 - score**2, 1e-9)))
