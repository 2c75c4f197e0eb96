"""Defocus, astigmatism and phase shift that make rings most like those seen.

Rings of all defoci are correlated with each direction's profile at once, by one matrix product; every
astigmatism is read off that table, and so is the best phase shift, because rings of any phase are a sum of
two. The best place is refined with exact models, first by a simplex, then by least squares on all frequencies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from cryodaq.imaging.ctf_model import Defocus
from cryodaq.imaging.ring_profiles import Envelope, RingModel, Rings, length

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

DEFOCUS_STEP_ANG = 100.0
ENVELOPES_ANG2 = (20.0, 80.0, 200.0, 500.0)
"""Decays of the rings' height that are tried, exp(-B k² / 2), Å²."""
ASTIGMATISMS_ANG = (0.0, 150.0, 400.0, 800.0, 1600.0, 3000.0)
"""Half of U - V, first tried."""
DIRECTIONS = 12
NO_PHASE_PLATE = (0.0,)
ANY_PHASE_SHIFT = (0.0, np.pi / 4)
"""Phase shifts, radians, of the sets of rings of whose sum those of any phase shift consist."""
LEAST_DECAY_ANG2, MOST_DECAY_ANG2 = 1.0, 5000.0
DECAYS_ANG2 = (5.0, 30.0, 80.0, 200.0, 600.0, 2000.0)
"""Decays of whose sum the heights of rings are made."""
MODELS_AT_ONCE = 16
RIDGE = 1e-6
UNEVEN_ANG2 = 100.0
"""Scale on which decays differ by direction."""


def find_rings(rings: Rings, *, least_ang: float, most_ang: float, phase_shifts: tuple[float, ...]) -> RingModel:
    """Search every defocus and astigmatism on a grid, then refine by a simplex.

    Parameters
    ----------
    phase_shifts
        `NO_PHASE_PLATE` or `ANY_PHASE_SHIFT`.
    """
    grid = np.arange(least_ang, most_ang + DEFOCUS_STEP_ANG, DEFOCUS_STEP_ANG)
    best = RingModel(defocus=Defocus(mean_ang=float(grid[0])), envelope=Envelope(decays_ang2=ENVELOPES_ANG2[:1]))
    best_score = -np.inf
    profiles = rings.profiles.astype(np.float32)
    waves = [rings.waves(grid, phase_shift=shift) for shift in phase_shifts]
    for decay in ENVELOPES_ANG2:
        envelope = Envelope(decays_ang2=(decay,))
        height = envelope.height(rings.frequency)
        models = [rings.without_background(wave * height) for wave in waves]
        products = np.stack([_products(profiles, one.astype(np.float32)) for one in models])
        squares = np.mean([(one**2).sum(axis=1) for one in models], axis=0).astype(np.float32)
        for astigmatism in _astigmatisms():
            place, shift, score = _best_in_table(products, squares, astigmatism.along(rings.angle))
            if score > best_score:
                best_score = score
                defocus = dataclasses.replace(astigmatism, mean_ang=float(grid[place]))
                best = RingModel(defocus=defocus, envelope=envelope, phase_shift=shift)
    return _refined_by_simplex(rings, best, free_phase=len(phase_shifts) > 1)


def _products(profiles: Float, models: Float) -> Float:  # (direction, defocus)
    """Sums of products, few models at once: see `ROWS_AT_ONCE`."""
    result = np.empty((len(profiles), len(models)), np.float32)
    for first in range(0, len(models), MODELS_AT_ONCE):
        few = slice(first, first + MODELS_AT_ONCE)
        result[:, few] = profiles @ models[few].T
    return result


def _astigmatisms() -> Iterator[Defocus]:
    for half in ASTIGMATISMS_ANG:
        for direction in np.arange(DIRECTIONS if half else 1) * np.pi / DIRECTIONS:
            cosine, sine = half * float(np.cos(2 * direction)), half * float(np.sin(2 * direction))
            yield Defocus(mean_ang=0.0, cosine_ang=cosine, sine_ang=sine)


def _best_in_table(products: Float, squares: Float, offsets_ang: Float64) -> tuple[int, float, float]:
    """Row of the mean defocus at which the directions' products, each at its own defocus, are largest.

    Also the phase shift there, in [0, pi), and the score. `products` is (phase, direction, defocus).
    """
    steps = np.rint(offsets_ang / DEFOCUS_STEP_ANG).astype(np.int64)
    margin = int(np.abs(steps).max())
    inside = products.shape[2] - 2 * margin
    if inside <= 0:
        return 0, 0.0, -np.inf
    total, norm = np.zeros((len(products), inside), np.float32), np.zeros(inside, np.float32)
    for direction, step in enumerate(steps + margin):
        total += products[:, direction, step : step + inside]
        norm += squares[step : step + inside]
    height = total[0] if len(total) == 1 else np.hypot(total[0], total[1])
    score = height / np.sqrt(np.maximum(norm, 1e-12))
    place = int(np.argmax(score))
    shift = 0.0 if len(total) == 1 else float(np.arctan2(total[1, place], total[0, place]) / 2 % np.pi)
    return place + margin, shift, float(score[place])


def _refined_by_simplex(rings: Rings, start: RingModel, *, free_phase: bool) -> RingModel:
    """Nelder-Mead with exact models; the envelope is searched by its logarithm."""

    def model(point: Float64) -> RingModel:
        decay = float(np.exp(np.clip(point[3], np.log(LEAST_DECAY_ANG2), np.log(MOST_DECAY_ANG2))))
        return RingModel(
            defocus=Defocus(mean_ang=float(point[0]), cosine_ang=float(point[1]), sine_ang=float(point[2])),
            envelope=Envelope(decays_ang2=(decay,)),
            phase_shift=float(point[4]) if free_phase else start.phase_shift,
        )

    def cost(point: Float64) -> float:
        return -rings.score(model(point))

    defocus = start.defocus
    decay = np.log(start.envelope.decays_ang2[0])
    middle: Float64 = np.array([defocus.mean_ang, defocus.cosine_ang, defocus.sine_ang, decay, start.phase_shift])
    middle = middle if free_phase else middle[:4]
    steps = np.diag([60.0, 100.0, 100.0, 0.5, 0.2][: len(middle)])
    found = scipy.optimize.minimize(
        cost,
        middle,
        method="Nelder-Mead",
        options={"initial_simplex": middle + np.vstack([0 * middle, steps]), "xatol": 5, "fatol": 1e-5, "maxfev": 250},
    )
    return model(found.x)


def refine_rings(rings: Rings, start: RingModel, *, free_phase: bool) -> RingModel:
    """Least squares on profiles, with decays that differ by direction (K. Levenberg, D. Marquardt)."""
    seen = rings.profiles / max(length(rings.profiles), 1e-30)
    uneven = start.envelope.uneven_cosine_ang2, start.envelope.uneven_sine_ang2
    scale = np.array([50.0, 50.0, 50.0, UNEVEN_ANG2, UNEVEN_ANG2, 0.1])[: 6 if free_phase else 5]
    origin = start.defocus

    def model(moved: Float64) -> RingModel:
        mean, cosine, sine, uneven_cosine, uneven_sine = (float(n) for n in (moved * scale)[:5])
        return RingModel(
            defocus=Defocus(
                mean_ang=origin.mean_ang + mean,
                cosine_ang=origin.cosine_ang + cosine,
                sine_ang=origin.sine_ang + sine,
            ),
            envelope=dataclasses.replace(
                start.envelope,
                uneven_cosine_ang2=uneven[0] + uneven_cosine,
                uneven_sine_ang2=uneven[1] + uneven_sine,
            ),
            phase_shift=start.phase_shift + (float(moved[5] * scale[5]) if free_phase else 0.0),
        )

    def misfit(moved: Float64) -> Float64:
        expected = rings.profiles_of(model(moved))
        expected /= max(length(expected), 1e-30)
        # The best height of the rings is their correlation.
        return np.asarray((seen - (seen * expected).sum() * expected).ravel())

    # `least_squares` would do the same with products whose threads burn 60 ms waiting for more.
    even = np.ones(len(scale))
    found, *_ = scipy.optimize.leastsq(
        misfit, 0 * even, epsfcn=1e-6, xtol=1e-3, ftol=1e-6, maxfev=12 * len(scale), diag=even, full_output=True
    )
    return model(found)


def measure_envelope(rings: Rings, model: RingModel) -> Envelope:
    """Heights along frequency of rings at a known place, as a sum of decays; rings never grow with frequency."""
    shapes = []
    for decay in DECAYS_ANG2:
        envelope = dataclasses.replace(model.envelope, decays_ang2=(decay,), shares=(1.0,))
        shapes.append(rings.profiles_of(dataclasses.replace(model, envelope=envelope)).ravel())
    basis = np.stack(shapes)
    products = np.einsum("is,js->ij", basis, basis)
    # A small penalty decides between decays that these rings cannot tell apart.
    products += RIDGE * (1e-30 + np.trace(products)) * np.eye(len(products))
    lower = np.linalg.cholesky(products)
    seen = np.linalg.solve(lower, np.einsum("is,s->i", basis, rings.profiles.ravel()))
    shares = scipy.optimize.lsq_linear(lower.T, seen, bounds=(0, np.inf), method="bvls").x
    if not shares.any():
        return model.envelope
    kept = shares > 0
    return dataclasses.replace(
        model.envelope,
        decays_ang2=tuple(float(decay) for decay in np.array(DECAYS_ANG2)[kept]),
        shares=tuple(float(share) for share in shares[kept] / shares.sum()),
    )
