"""Refinement on the power itself: rings stand on their own mean, and the logarithm flattens their tops.

Near frequency 0 rings are as strong as the noise or stronger. Their logarithm is no sine there, and what stands
under them (half their height) falls with the drift within frames, which blurs along itself. A model in which the
logarithm is a sine takes both for rings in another place: along a drift of 12 Å, where little else is seen, by
tens of ångströms, and always to the same side.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.ctf_model import Defocus
from cryodaq.imaging.power_spectrum import smear_px2
from cryodaq.imaging.ring_profiles import DRIFT_OF_DECAY, Envelope, RingModel, Rings, smooth_curves

Float64 = NDArray[np.float64]

HEIGHT_CURVES = 6
"""That make the logarithm of the rings' power over that of the noise, along the logarithm of frequency."""
HEIGHT_DOUBT = 2.0
"""Standard deviation of their coefficients from what was measured before; decides where no ring is seen."""
LEAST_POWER, MOST_POWER = 1e-3, 1e2
"""Of rings over noise, at first."""
MOST_STEPS = 12
SETTLED_ANG = 0.5
LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e6
DEFOCUS, UNEVEN, PHASE_SHIFT = slice(0, 3), slice(3, 5), 5
HEIGHTS = slice(6, None)
"""Places in the vector of parameters."""


def refine_on_power(rings: Rings, start: RingModel, *, free_phase: bool) -> RingModel:
    """Least squares on the logarithm of 1 + rings, with the slopes of all parameters (K. Levenberg, D. Marquardt).

    Defocus, drift, phase shift and the height of the rings along frequency are free; `start` must lie within a
    fraction of a ring. Its decays are kept.
    """
    model = _RingPower(rings, start)
    here = first = model.parameters(start)
    expected, slopes = model.profiles_and_slopes(here)
    misfit = rings.profiles - expected
    doubt = np.full(len(first), np.inf)
    doubt[HEIGHTS] = HEIGHT_DOUBT
    doubt[PHASE_SHIFT] = np.inf if free_phase else 1e-9
    weight = float(np.square(misfit).mean()) / np.square(doubt)
    damping = LEAST_DAMPING
    for _ in range(MOST_STEPS):
        squares, slope = _normal_equations(rings, slopes, misfit)
        damped = squares + np.diag(weight + damping * np.diag(squares))
        step = np.linalg.solve(damped, slope - weight * (here - first))
        there = here + step
        expected, new_slopes = model.profiles_and_slopes(there)
        new_misfit = rings.profiles - expected
        better = _cost(new_misfit, weight, there - first) < _cost(misfit, weight, here - first)
        if better:
            here, misfit, slopes = there, new_misfit, new_slopes
        damping = max(LEAST_DAMPING, damping / 10) if better else damping * 10
        if damping > MOST_DAMPING or float(np.abs(step[DEFOCUS]).max()) < SETTLED_ANG:
            break
    return model.at(here, start)


def _cost(misfit: Float64, weight: Float64, moved: Float64) -> float:
    return float(np.square(misfit).sum() + (weight * np.square(moved)).sum())


def _normal_equations(rings: Rings, slopes: Float64, misfit: Float64) -> tuple[Float64, Float64]:
    """Products of the slopes, freed of background, with each other and with the misfit, over all directions.

    Direction by direction: one large product would be shared out to threads that wait for 60 ms.
    """
    shares = slopes @ rings.background
    squares = (slopes @ slopes.transpose(0, 2, 1) - shares @ shares.transpose(0, 2, 1)).sum(axis=0)
    return squares, np.einsum("ipk,ik->p", slopes, misfit)


class _RingPower:
    """Profiles of the logarithm of 1 + rings."""

    def __init__(self, rings: Rings, start: RingModel) -> None:
        self.rings = rings
        place = np.log(rings.frequency / rings.frequency[0])
        self._curves = smooth_curves(place / place[-1], HEIGHT_CURVES)
        self._by_log = np.gradient(self._curves, place, axis=0)
        step = rings.frequency[1] - rings.frequency[0]
        along = start.defocus.along(rings.angle)[:, None]
        turns = rings.lens.turns_per_frequency(rings.frequency, along) * step
        self._smear = 4 * np.pi * rings.lens.wavelength_ang * step**2 * smear_px2(turns)
        self._double = np.stack([np.cos(2 * rings.angle), np.sin(2 * rings.angle)])

    def parameters(self, model: RingModel) -> Float64:
        """Vector of what is free, heights as the model's sines have them."""
        sines = self.rings.profiles_of(model)
        share = (sines * self.rings.profiles).sum() / max(float(np.square(sines).sum()), 1e-30)
        top = 2 * share * model.envelope.height(self.rings.frequency)
        power = np.log(np.clip(np.expm1(np.clip(top, 0, np.log1p(MOST_POWER))), LEAST_POWER, MOST_POWER))
        heights, *_ = np.linalg.lstsq(self._curves, power, rcond=None)
        defocus, drift = model.defocus, model.envelope
        return np.array(
            [
                *(defocus.mean_ang, defocus.cosine_ang, defocus.sine_ang),
                *(drift.uneven_cosine_ang2, drift.uneven_sine_ang2, model.phase_shift),
                *heights,
            ]
        )

    def at(self, parameters: Float64, model: RingModel) -> RingModel:
        """Model with its defocus, drift and phase shift replaced by those of the vector."""
        mean, cosine, sine = (float(value) for value in parameters[DEFOCUS])
        uneven_cosine, uneven_sine = (float(value) for value in parameters[UNEVEN])
        return RingModel(
            defocus=Defocus(mean_ang=mean, cosine_ang=cosine, sine_ang=sine),
            envelope=dataclasses.replace(
                model.envelope, uneven_cosine_ang2=uneven_cosine, uneven_sine_ang2=uneven_sine
            ),
            phase_shift=float(parameters[PHASE_SHIFT]),
        )

    def profiles_and_slopes(self, parameters: Float64) -> tuple[Float64, Float64]:
        """Expected profiles (direction, frequency) and weighted slopes (direction, parameter, frequency).

        Only the profiles are freed of their background.
        """
        rings, k = self.rings, self.rings.frequency
        mean, cosine, sine, uneven_cosine, uneven_sine, phase_shift = parameters[:6]
        along = Defocus(mean_ang=mean, cosine_ang=cosine, sine_ang=sine).along(rings.angle)
        envelope = Envelope(decays_ang2=(0.0,), uneven_cosine_ang2=uneven_cosine, uneven_sine_ang2=uneven_sine)
        length = envelope.drift_ang(rings.angle)[:, None]
        left = np.sinc(length * k)
        falling = np.cos(np.pi * length * k) - left
        phase = 2 * (rings.lens.phase(k**2, along[:, None]) + phase_shift)
        cosine_of, sine_of, seen = np.cos(phase), np.sin(phase), rings.seen(along)
        power = np.exp(self._curves @ parameters[HEIGHTS]) * left
        # A spectrum is smeared: where rings lose height, their inner flank outshouts the outer.
        slant = left * (1 + self._by_log @ parameters[HEIGHTS]) + 2 * falling
        slant *= self._smear * (along[:, None] - rings.lens.wavelength_ang**2 * rings.lens.cs_ang * k**2)
        wave = 0.5 * power * (left - seen * (left * cosine_of - slant * sine_of))
        weight = rings.root_weight / (1 + wave)
        by_phase = weight * power * left * seen * sine_of
        by_height = weight * wave
        # By the square of the drift's length, and that by its two parts.
        by_drift = weight * 0.5 * power * (1 - seen * cosine_of) * falling / length**2
        uneven = parameters[UNEVEN]
        turned = DRIFT_OF_DECAY * (uneven / envelope.most_uneven_ang2 + self._double.T)
        slopes = np.empty((len(along), len(parameters), len(k)))
        slopes[:, 0] = by_phase * (np.pi * rings.lens.wavelength_ang * k**2)
        slopes[:, 1:3] = slopes[:, :1] * self._double.T[:, :, None]
        slopes[:, UNEVEN] = by_drift[:, None] * turned[:, :, None]
        slopes[:, PHASE_SHIFT] = by_phase
        slopes[:, HEIGHTS] = by_height[:, None] * self._curves.T
        return rings.without_background(np.log1p(wave)), slopes
