"""How much crystalline ice a spectrum shows: power at 3.66-3.9 Å over what its surroundings let expect.

Hexagonal and cubic ice have their strongest rings between 3.66 and 3.9 Å; vitreous ice has a wide, weak halo
there. Crystals too few to close a ring show as spots, so directions are averaged by power, not its logarithm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.power_spectrum import PolarSpectrum

Float64 = NDArray[np.float64]

RING_ANG = (3.66, 3.9)
FINER_ANG = (3.15, 3.55)
COARSER_ANG = (4.05, 4.7)
"""Surroundings: on both sides, wide enough to hold whole rings of the lens, free of rings of ice."""
AROUND_RING_ANG = (FINER_ANG[1], COARSER_ANG[0])
"""Where a ring of ice leaves nothing of those of the lens, its flanks included."""
FEWEST_SAMPLES = 3


def within(frequency: Float64, band_ang: tuple[float, float]) -> NDArray[np.bool_]:  # (frequency,)
    """Which frequencies (1/Å) lie in a band of resolutions (Å)."""
    return np.asarray((frequency >= 1 / band_ang[1]) & (frequency <= 1 / band_ang[0]))


def measure_ice_ring(spectrum: PolarSpectrum) -> float | None:
    """Power in the band of ice rings over that of its surroundings: 1 is no ring.

    Returns None where the spectrum ends before the surroundings do: at pixels of more than 1.55 Å, or where
    a coarser resolution was asked for.
    """
    logarithm = np.log(np.maximum(spectrum.power.mean(axis=0), 1e-30))
    ring, finer, coarser = (within(spectrum.frequency, band) for band in (RING_ANG, FINER_ANG, COARSER_ANG))
    complete = spectrum.frequency[-1] >= 1 / FINER_ANG[0]
    if not complete or min(ring.sum(), finer.sum(), coarser.sum()) < FEWEST_SAMPLES:
        return None
    around = finer | coarser
    slope, height = np.polyfit(spectrum.frequency[around], logarithm[around], 1)
    expected = np.exp(height + slope * spectrum.frequency[ring])
    return float((np.exp(logarithm[ring]) / expected).mean())
