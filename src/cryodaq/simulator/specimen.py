"""What lies in the hole: one kind of protein in vitreous ice, as the phase it gives to the electrons.

Everything is in physical units, so that contrast, Thon rings and signal to noise follow from dose, thickness
and defocus and cannot be tuned into something no microscope would see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.simulator.optics import ImagingConditions, interaction_constant_rad_per_volt_ang

PROTEIN_ATOMS_PER_ANG3 = 0.058
"""Non-hydrogen atoms, at 1.35 g/cm³ and 14 Da an atom with its hydrogens."""
WATER_PER_ANG3 = 0.0311
"""Molecules of vitreous ice at 0.93 g/cm³."""
POTENTIAL_VOLT_ANG2 = 47.878
"""h²/(2 π m e): turns a scattering factor in Å into the volume integral of a potential in V Å³."""
WATER_STEP_ANG2_PER_DOSE = 0.37
"""Mean square step of a water molecule along one axis, Å² per e⁻/Å² (McMullan et al. 2015: 1.1 Å² in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protein:
    """One macromolecular complex."""

    atoms_ang: NDArray[np.float32]  # (atom, xyz), relative to its centre
    diameter_ang: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """The specimen seen in one exposure, in a field larger than the camera: drift brings in new parts."""

    protein_phase: NDArray[np.complex64]  # (ky, kx), half plane of the projected phase's FFT
    particles_px_xy: NDArray[np.float64]  # (particle, xy), centres inside the camera's view at frame 0


def atom_scattering_factor_ang(k2: NDArray[np.float32]) -> NDArray[np.float32]:
    """Electron scattering factor of an average protein atom with its hydrogens, Å, at squared frequency 1/Å².

    Three Gaussians within 10 % of 0.64 C + 0.17 N + 0.19 O + 1.0 H of Peng et al. 1996;
    the atoms' B-factor is 20 Å².
    """
    bare = 0.75 * np.exp(-0.7 * k2) + 1.25 * np.exp(-4.2 * k2) + 0.86 * np.exp(-15.0 * k2)
    return np.asarray(bare * np.exp(-20.0 * k2 / 4), dtype=np.float32)


def displaced_ice_factor_ang(k2: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scattering factor of the ice that one protein atom pushes away, Å (Fraser et al. 1978)."""
    volume_ang3 = 1 / PROTEIN_ATOMS_PER_ANG3
    amount = WATER_PER_ANG3 * volume_ang3 * 3.04
    return np.asarray(amount * np.exp(-math.pi * volume_ang3 ** (2 / 3) * k2), dtype=np.float32)


def ice_phase_amplitude(k2: NDArray[np.float32], conditions: ImagingConditions) -> NDArray[np.float32]:
    """Square root of the power spectrum of the phase of vitreous ice, rad Å.

    Water molecules are neither on a lattice nor independent: long waves are suppressed, and there is the
    halo at 3.7 Å (structure factor after low-density amorphous ice).
    """
    k = np.sqrt(k2)
    structure_factor = 0.06 + 0.94 / (1 + np.exp(-(k - 0.23) / 0.03)) + 0.6 * np.exp(-(((k - 0.27) / 0.025) ** 2))
    water_factor_ang = 1.06 * np.exp(-9.0 * k2) + 1.98 * np.exp(-3.0 * k2)
    phase_per_molecule = _phase_per_factor(conditions) * water_factor_ang
    molecules_per_ang2 = WATER_PER_ANG3 * conditions.ice_thickness_ang
    return np.asarray(phase_per_molecule * np.sqrt(molecules_per_ang2 * structure_factor), dtype=np.float32)


def ice_memory_per_frame(k2: NDArray[np.float32], dose_e_ang2: float) -> NDArray[np.float32]:
    """How much of the ice pattern of a frequency is still there one frame later, 0..1.

    The beam shakes water molecules into a random walk (McMullan et al. 2015, Ultramicroscopy 158, 26).
    """
    walk_ang2 = WATER_STEP_ANG2_PER_DOSE * dose_e_ang2
    return np.asarray(np.exp(-2 * math.pi**2 * walk_ang2 * k2), dtype=np.float32)


def protein_survival(k2: NDArray[np.float32], dose_e_ang2: float, *, voltage_kv: float) -> NDArray[np.float32]:
    """Amplitude that radiation leaves of the protein's structure, 0..1 (Grant & Grigorieff 2015, eq. 3)."""
    with np.errstate(divide="ignore"):
        critical_dose = 0.245 * np.power(k2, -1.665 / 2) + 2.81
    if voltage_kv < 250:
        critical_dose = critical_dose * 0.8
    return np.asarray(np.exp(-dose_e_ang2 / (2 * critical_dose)), dtype=np.float32)


def build_protein(diameter_ang: float, *, rng: np.random.Generator) -> Protein:
    """Make a globular complex: a core with six subunits around it, filled with atoms at protein density."""
    radius = diameter_ang / 2
    directions = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
    lobe_radii = radius * rng.uniform(0.42, 0.54, 6)
    centres = np.vstack([np.zeros(3), directions * (radius - lobe_radii)[:, None]])
    radii = np.append(radius * 0.65, lobe_radii)
    candidates = rng.uniform(-radius, radius, (int(PROTEIN_ATOMS_PER_ANG3 * diameter_ang**3), 3))
    inside = np.zeros(len(candidates), dtype=bool)
    for centre, lobe_radius in zip(centres, radii, strict=True):
        inside |= ((candidates - centre) ** 2).sum(axis=1) < lobe_radius**2
    return Protein(atoms_ang=candidates[inside].astype(np.float32), diameter_ang=diameter_ang)


def draw_field(
    protein: Protein,
    *,
    shape_yx: tuple[int, int],
    margin_px: tuple[int, int],
    conditions: ImagingConditions,
    field_shape_yx: tuple[int, int],
    rng: np.random.Generator,
) -> Field:
    """Scatter particles over the field, each turned at random, and project their atoms.

    Parameters
    ----------
    shape_yx, field_shape_yx
        Pixels of the camera, and of the larger field around it.
    margin_px
        Row and column of the field at which the camera's first pixel lies.
    """
    from scipy.fft import rfft2

    centres = _scatter_centres(protein.diameter_ang / conditions.pixel_size_ang, field_shape_yx, rng)
    atoms_per_px = np.zeros(field_shape_yx, dtype=np.float64)
    for centre_xy in centres:
        turned = protein.atoms_ang @ _random_rotation(rng).T[:, :2] / conditions.pixel_size_ang
        _splat(atoms_per_px, turned + centre_xy)
    k2 = squared_frequency(field_shape_yx, conditions.pixel_size_ang)
    factor = atom_scattering_factor_ang(k2) - displaced_ice_factor_ang(k2)
    phase_per_atom = _phase_per_factor(conditions) / conditions.pixel_size_ang**2 * factor
    in_view = centres - np.array(margin_px[::-1])
    seen = (in_view >= 0).all(axis=1) & (in_view <= np.array(shape_yx[::-1]) - 1).all(axis=1)
    spectrum = rfft2(atoms_per_px.astype(np.float32)) * phase_per_atom
    return Field(protein_phase=spectrum.astype(np.complex64), particles_px_xy=in_view[seen])


def squared_frequency(shape_yx: tuple[int, int], pixel_size_ang: float) -> NDArray[np.float32]:  # (ky, kx)
    """Squared spatial frequency of each element of a half-plane FFT, 1/Å²."""
    ky = np.fft.fftfreq(shape_yx[0], pixel_size_ang)
    kx = np.fft.rfftfreq(shape_yx[1], pixel_size_ang)
    return (ky[:, None] ** 2 + kx[None, :] ** 2).astype(np.float32)


def _phase_per_factor(conditions: ImagingConditions) -> float:
    """Radians times Å² of projected phase for a scattering factor of 1 Å."""
    return POTENTIAL_VOLT_ANG2 * interaction_constant_rad_per_volt_ang(conditions.voltage_kv)


def _scatter_centres(
    diameter_px: float, shape_yx: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float64]:  # (particle, xy)
    """Place particles at random without overlap, at about half of the densest packing."""
    wanted = max(1, round(shape_yx[0] * shape_yx[1] / (1.3 * diameter_px) ** 2))
    centres: list[NDArray[np.float64]] = []
    for candidate in rng.uniform((0.0, 0.0), (shape_yx[1], shape_yx[0]), (wanted * 30, 2)):
        if all(np.hypot(*(candidate - other)) > 1.15 * diameter_px for other in centres):
            centres.append(candidate)
        if len(centres) == wanted:
            break
    return np.array(centres)


def _random_rotation(rng: np.random.Generator) -> NDArray[np.float32]:
    """Rotation matrix drawn evenly over all orientations (a random unit quaternion; Shoemake 1992)."""
    w, x, y, z = (quaternion := rng.standard_normal(4)) / np.linalg.norm(quaternion)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows, dtype=np.float32)


def _splat(density: NDArray[np.float64], points_px_xy: NDArray[np.float64]) -> None:
    """Add each point to the four pixels around it, bilinearly; the field is periodic."""
    height, width = density.shape
    corner = np.floor(points_px_xy).astype(np.int64)
    fraction = points_px_xy - corner
    for step_y in (0, 1):
        for step_x in (0, 1):
            weight = np.abs(1 - step_x - fraction[:, 0]) * np.abs(1 - step_y - fraction[:, 1])
            flat = (corner[:, 1] + step_y) % height * width + (corner[:, 0] + step_x) % width
            density += np.bincount(flat, weights=weight, minlength=height * width).reshape(density.shape)
