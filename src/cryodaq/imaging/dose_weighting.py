"""Weights for the radiation damage that each frame has seen.

Method: T. Grant and N. Grigorieff, eLife 4 (2015) e06980, doi 10.7554/eLife.06980.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

LOW_RANK_ERROR = 2e-3
"""Largest error of a weight, relative to the largest, that is accepted for needing fewer Fourier transforms."""


def critical_exposure(frequency_per_ang: Float64, *, voltage_kv: float) -> Float64:
    """Exposure after which the signal has fallen to 1/e, e⁻/Å², infinite at frequency 0.

    The published curve was measured at 300 kV; the damage at lower voltages is larger, by a factor of 0.8 in
    critical exposure for each 100 kV, as unblur and RELION take it.
    """
    with np.errstate(divide="ignore"):
        at_300_kv = 0.245 * np.power(frequency_per_ang, -1.665) + 2.81
    return np.asarray(at_300_kv * 0.8 ** max(0.0, (300.0 - voltage_kv) / 100.0))


def dose_weights(
    frequency_per_ang: Float64,  # (frequency,)
    *,
    frame_count: int,
    dose_per_frame_e_ang2: float | Float64,
    voltage_kv: float,
    earlier_dose_e_ang2: float = 0.0,
) -> Float64:  # (frequency, frame)
    """Weight of each frame at each frequency, such that the noise is that of a plain sum.

    Parameters
    ----------
    frequency_per_ang
        Spatial frequencies, 1/Å.
    dose_per_frame_e_ang2
        One value for all frames, or one for each (frame,); sums are of counts, so that a frame of twice the dose has
        twice the signal and twice the noise variance.
    earlier_dose_e_ang2
        What the specimen had received before the first of these frames, e⁻/Å².

    Returns
    -------
    exp(-N / 2Nc), N the dose at the end of the frame, divided by the root mean square over electrons.
    """
    received = np.broadcast_to(np.asarray(dose_per_frame_e_ang2, dtype=np.float64), (frame_count,))
    dose = earlier_dose_e_ang2 + np.cumsum(received)
    critical = critical_exposure(frequency_per_ang, voltage_kv=voltage_kv)
    # Relative to the first frame, so that nothing underflows where all weights are tiny.
    weights = np.exp(-0.5 * (dose - dose[0])[None, :] / critical[:, None])
    return np.asarray(weights / np.sqrt(np.average(weights**2, axis=1, weights=received, keepdims=True)))


def low_rank(
    weights: Float64,  # (frequency, frame)
    *,
    emphasis: Float64 | None = None,  # (frequency,)
) -> tuple[Float64, Float64]:
    """Split weights into as few products as keep them within `LOW_RANK_ERROR`.

    Parameters
    ----------
    emphasis
        How much an error counts at each frequency: those of some may be made small at the cost of the others.

    Returns
    -------
    (frequency, term) curves and (term, frame) coefficients; their matrix product is the weights. Frames are
    added up with each row of coefficients, and only these few sums need a Fourier transform.
    """
    scale = np.ones((len(weights), 1)) if emphasis is None else emphasis[:, None]
    scaled = weights * scale
    # Singular vectors from the small matrix of products: a BLAS would set all cores to work, for longer.
    right = np.linalg.eigh(np.einsum("kf,kg->fg", scaled, scaled))[1].T[::-1]
    for rank in range(1, len(right) + 1):
        coefficients = right[:rank]
        curves = np.einsum("kf,tf->kt", scaled, coefficients) / scale
        if np.abs(curves @ coefficients - weights).max() <= LOW_RANK_ERROR * weights.max():
            break
    return curves, coefficients
