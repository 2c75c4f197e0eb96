"""How the microscope images a thin specimen: wavelength, contrast transfer, conditions of a session."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VOLT_ANG2 = 150.412
"""h²/(2 m e) in V Å²: the square of a slow electron's wavelength times its voltage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagingConditions:
    """What stays the same for every exposure of a session."""

    pixel_size_ang: float = 1.0
    """Å/px of the stored frames."""
    dose_per_frame_e_ang2: float = 2.0
    """Electrons that reach the camera, e⁻/Å² per frame."""
    voltage_kv: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.1
    envelope_b_factor_ang2: float = 35.0
    """Loss of contrast by coherence, camera and vibration: amplitude exp(-B k²/4)."""
    ice_thickness_ang: float = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Defocus:
    """Underfocus of one exposure; U is the larger one, its angle runs from x towards +y of stored rows."""

    u_ang: float
    v_ang: float
    angle_deg: float


def electron_wavelength_ang(voltage_kv: float) -> float:
    """Relativistic de Broglie wavelength in Å (Reimer & Kohl 2008, eq. 2.12)."""
    volts = voltage_kv * 1e3
    return 12.2642596 / math.sqrt(volts * (1 + 0.978475598e-6 * volts))


def interaction_constant_rad_per_volt_ang(voltage_kv: float) -> float:
    """Phase that 1 V over 1 Å gives an electron, in radians: 2 π m e λ / h² with the relativistic mass."""
    relativistic_mass_ratio = 1 + voltage_kv / 510.99895
    return math.pi * relativistic_mass_ratio * electron_wavelength_ang(voltage_kv) / VOLT_ANG2


def contrast_transfer(
    frequency_y: NDArray[np.float32],
    frequency_x: NDArray[np.float32],
    *,
    conditions: ImagingConditions,
    defocus: Defocus,
) -> NDArray[np.float32]:  # (ky, kx)
    """Give the oscillating part of the transfer function, in RELION's convention but positive at k = 0.

    Parameters
    ----------
    frequency_y, frequency_x
        1/Å; broadcast against each other. y runs along the rows in stored order.

    Returns
    -------
    sin(π λ Δz k² - π/2 Cs λ³ k⁴ + asin(amplitude contrast)); a phase object of phase φ gives the image
    1 - 2 (φ convolved with it), so protein is dark at underfocus.
    """
    wavelength = electron_wavelength_ang(conditions.voltage_kv)
    k2 = frequency_y**2 + frequency_x**2
    azimuth = np.arctan2(frequency_y, frequency_x)
    mean, half_difference = (defocus.u_ang + defocus.v_ang) / 2, (defocus.u_ang - defocus.v_ang) / 2
    local_defocus = mean + half_difference * np.cos(2 * (azimuth - math.radians(defocus.angle_deg)))
    aberration = math.pi / 2 * conditions.cs_mm * 1e7 * wavelength**3 * k2**2
    phase = math.pi * wavelength * local_defocus * k2 - aberration
    transfer = np.sin(phase + math.asin(conditions.amplitude_contrast))
    return np.asarray(transfer, dtype=np.float32)
