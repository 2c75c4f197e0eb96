"""Contrast transfer of a weak phase object, as RELION and CTFFIND write it.

sin(pi·lambda·dz·k² - pi/2·Cs·lambda³·k⁴ + phase), underfocus positive; J. Mindell and N. Grigorieff, Journal of
Structural Biology 142 (2003) 334.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defocus:
    """Defocus as the mean and a vector of astigmatism that has no jumps where an angle would."""

    mean_ang: float
    cosine_ang: float = 0.0
    """Half of U - V times cos(2 angle)."""
    sine_ang: float = 0.0

    def along(self, angle: Float64) -> Float64:
        """Å, in directions given in radians from x towards +y."""
        return np.asarray(self.mean_ang + self.cosine_ang * np.cos(2 * angle) + self.sine_ang * np.sin(2 * angle))

    @property
    def u_ang(self) -> float:
        """The larger defocus."""
        return self.mean_ang + float(np.hypot(self.cosine_ang, self.sine_ang))

    @property
    def v_ang(self) -> float:
        """The smaller defocus."""
        return self.mean_ang - float(np.hypot(self.cosine_ang, self.sine_ang))

    @property
    def angle_deg(self) -> float:
        """Direction of U, in [0, 180)."""
        return float(np.rad2deg(np.arctan2(self.sine_ang, self.cosine_ang)) / 2 % 180)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What the microscope adds to the phase, apart from defocus."""

    wavelength_ang: float
    cs_ang: float
    constant_phase: float
    """Of amplitude contrast and phase plate, radians."""

    @classmethod
    def at(cls, voltage_kv: float, *, cs_mm: float, amplitude_contrast: float, phase_shift_deg: float = 0.0) -> Lens:
        """Lens of a microscope at its voltage."""
        volts = voltage_kv * 1e3
        return cls(
            wavelength_ang=12.2642596 / float(np.sqrt(volts * (1 + 0.978475598e-6 * volts))),
            cs_ang=cs_mm * 1e7,
            constant_phase=float(np.arcsin(amplitude_contrast) + np.deg2rad(phase_shift_deg)),
        )

    def with_phase_shift(self, radians: float) -> Lens:
        """Lens with a phase plate of this further shift."""
        return dataclasses.replace(self, constant_phase=self.constant_phase + radians)

    def phase(self, frequency_squared: Float64, defocus_ang: Float64) -> Float64:
        """Radians; both arguments are broadcast against each other, 1/Å² and Å."""
        lead = np.pi * self.wavelength_ang * frequency_squared
        return np.asarray(
            lead * (defocus_ang - 0.5 * self.wavelength_ang**2 * self.cs_ang * frequency_squared) + self.constant_phase
        )

    def phase_at(self, y: Float, x: Float, defocus: Defocus) -> Float:
        """Radians at frequencies along both axes (1/Å, broadcast), in single precision: enough for a picture."""
        square = x * x + y * y
        # Defocus along a direction times k², without the direction.
        turned = defocus.mean_ang * square + defocus.cosine_ang * (x * x - y * y) + 2 * defocus.sine_ang * (x * y)
        bend = 0.5 * self.wavelength_ang**2 * self.cs_ang
        return np.asarray(np.pi * self.wavelength_ang * (turned - bend * square * square) + self.constant_phase)

    def turns_per_frequency(self, frequency: Float64, defocus_ang: Float64) -> Float64:
        """How fast the squared CTF oscillates, periods per (1/Å)."""
        cs_part = self.wavelength_ang**2 * self.cs_ang * frequency**2
        return np.asarray(2 * self.wavelength_ang * frequency * np.abs(defocus_ang - cs_part))

    def same_phase_at(self, frequency_squared: Float64, *, defocus_ang: Float64, other_ang: float) -> Float64:
        """Where a defocus of `other_ang` has the phase that `defocus_ang` has at `frequency_squared`, 1/Å²."""
        bend = 0.5 * self.wavelength_ang**2 * self.cs_ang
        turned = frequency_squared * (defocus_ang - bend * frequency_squared)
        # The smaller root of bend·q² - other·q + turned = 0, in the form that stays exact for small bend.
        root = np.sqrt(np.maximum(other_ang**2 - 4 * bend * turned, 0))
        return np.asarray(2 * turned / (other_ang + root))
