"""Micrographs whose particles are known, for the picking benchmark. Uses nothing of the imaging room."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from cryodaq.simulator.optics import Defocus, ImagingConditions, contrast_transfer

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

MARGIN_PX = 128
"""What is drawn beyond each border: fringes reach less far."""
GOLD_PHASE_PER_ANG = 0.016
"""Radians at 300 kV: some 25 V of gold's inner potential are not ice's."""
GOLD_PATH_ANG = 150.0
"""Thickness of gold behind which a fraction of 1/e of the electrons still pass the aperture."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """What lies in the hole."""

    diameter_ang: float = 160.0
    shape: str = "globule"
    """globule, shell, or rod (turned at random, half as wide as long)."""
    packing: float = 0.25
    """Share of the ice that is covered."""
    pixel_size_ang: float = 1.4
    defocus_ang: float = 18000.0
    dose_e_ang2: float = 40.0
    phase_per_ang: float = 6e-4
    """Phase of 1 Å of a particle in ice, radians at 300 kV, as measured on real micrographs.

    Apoferritin (EMPIAR-10146, nine micrographs, shells from 39 to 61 Å at 1476 places picked by hand, through the
    CTF that the Thon rings fit): 6.2e-4 by regression on the pixels, if the noise between the rings is all of it
    and 50 frames of 2.0 e/Å² (by the skewness of one frame's counts) were summed; 40 or 60 would change it by a
    tenth. By the scores of picks: 7.5e-4. Falcon 3 frame (41.17 e/Å², absolute counts, lumps of some 105 Å): 6.2e-4
    by the scores of picks, 5.6e-4 by their mean profile. Solid protein, 2 to 3 V above ice, would give two to three
    times as much; the rest went into water between its chains, motion, damage, and electrons that lost energy.
    """
    carbon: bool = False
    contamination: int = 0
    """Lumps of ice, ethane, and dirt."""
    lump_ang: tuple[float, float] = (150.0, 700.0)
    """Smallest and largest diameter of a lump."""
    crystals: int = 0
    """Ice crystals: edged, striped where they diffract, and dark because what they diffract is lost."""
    gold_beads: int = 0
    bead_ang: float = 100.0
    uneven_ice: float = 0.03
    """How much darker the thickest ice is, share of the brightness."""
    b_factor_ang2: float = 150.0


@dataclass(frozen=True, kw_only=True)
class Pictured:
    """A micrograph and its truth."""

    micrograph: Float
    particles_px_xy: Float64  # (particle, xy), those that a person would pick
    field: Field
    spoilt: Mask = field(repr=False)
    """(y, x): carbon and contamination."""


def expose(scene: Field, *, size_px: int, rng: np.random.Generator) -> Pictured:
    """Draw the specimen, pass it through the lens, count electrons.

    What lies beside the picture is drawn, too: a lens made of Fourier transforms would show it at the other side.
    """
    whole_px = scipy.fft.next_fast_len(size_px + 2 * MARGIN_PX, real=True)
    dirt, lost, spoilt = _dirt(scene, whole_px, rng)
    places = _places(scene, whole_px, rng)
    phase = np.zeros((whole_px, whole_px), np.float32)
    for place in places:
        _add_particle(phase, place, scene, rng)
    phase *= scene.phase_per_ang
    phase += 0.012 * rng.standard_normal(phase.shape, dtype=np.float32) + dirt
    inner = slice(MARGIN_PX, MARGIN_PX + size_px)
    seen, lost, spoilt = (picture[inner, inner] for picture in (_through_lens(phase, scene), lost, spoilt))
    expected = (1 + seen + _uneven(scene, size_px, rng)) * (1 - gaussian_filter(lost, 4))
    counts = rng.poisson(np.clip(scene.dose_e_ang2 * scene.pixel_size_ang**2 * expected, 0, None)).astype(np.float32)
    places = _pickable(places - MARGIN_PX, spoilt, diameter_px=scene.diameter_ang / scene.pixel_size_ang)
    return Pictured(micrograph=counts, particles_px_xy=places, field=scene, spoilt=spoilt)


def _uneven(scene: Field, size_px: int, rng: np.random.Generator) -> Float64:
    """Slow changes of brightness, (y, x)."""
    thickness = gaussian_filter(rng.standard_normal((32, 32)), 5)
    slope = np.kron(thickness / np.abs(thickness).max(), np.ones((size_px // 32 + 1,) * 2))[:size_px, :size_px]
    return np.asarray(scene.uneven_ice * gaussian_filter(slope, size_px / 32))


def _pickable(places: Float64, spoilt: Mask, *, diameter_px: float) -> Float64:
    """Particles that are whole and clear of dirt."""
    height, width = spoilt.shape
    whole = ((places > diameter_px / 2) & (places < np.array([width, height]) - diameter_px / 2)).all(axis=1)
    places = places[whole]
    if not spoilt.any():
        return places
    column, row = np.rint(places).astype(int).T
    return np.asarray(places[distance_transform_edt(~spoilt)[row, column] > diameter_px / 2])


def _places(scene: Field, size_px: int, rng: np.random.Generator) -> Float64:  # (particle, xy)
    """At random, no two overlapping, as many as the packing says."""
    diameter_px = scene.diameter_ang / scene.pixel_size_ang
    wanted = int(scene.packing * size_px**2 / (np.pi / 4 * diameter_px**2))
    cell = 1.05 * diameter_px
    grid: dict[tuple[int, int], Float64] = {}
    for place in rng.uniform(0, size_px, (30 * wanted + 1, 2)):
        if len(grid) >= wanted:
            break
        y, x = int(place[1] // cell), int(place[0] // cell)
        near = [grid[y + i, x + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if (y + i, x + j) in grid]
        if all(np.hypot(*(place - other)) > cell for other in near) and (y, x) not in grid:
            grid[y, x] = place
    return np.array(list(grid.values())).reshape(-1, 2)


def _add_particle(phase: Float, place: Float64, scene: Field, rng: np.random.Generator) -> None:
    """Add the thickness (Å) of one lumpy particle."""
    radius = scene.diameter_ang / scene.pixel_size_ang / 2
    left, top = (int(n - radius - 2) for n in place)
    side = int(2 * radius + 5)
    y, x = np.mgrid[top : top + side, left : left + side].astype(np.float32)
    y, x = (y - np.float32(place[1])) / radius, (x - np.float32(place[0])) / radius
    squared = x**2 + y**2
    if scene.shape == "rod":
        turn = rng.uniform(0, np.pi)
        squared = (np.cos(turn) * x + np.sin(turn) * y) ** 2 + 4 * (np.cos(turn) * y - np.sin(turn) * x) ** 2
    thickness = np.sqrt(np.clip(1 - squared, 0, None)) * (0.5 if scene.shape == "rod" else 1)
    if scene.shape == "shell":
        thickness -= np.sqrt(np.clip(0.72**2 - squared, 0, None))
    lumps = gaussian_filter(rng.standard_normal(thickness.shape), max(1.0, 0.09 * radius))
    thickness *= 1 + 0.35 * lumps / lumps.std()
    rows, columns = slice(max(0, top), top + side), slice(max(0, left), left + side)
    part = phase[rows, columns]
    part += scene.diameter_ang * thickness[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]]


def _dirt(scene: Field, size_px: int, rng: np.random.Generator) -> tuple[Float, Float, Mask]:
    """Phase of carbon and of dirt, the share of electrons that they take away, and where they are."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    dirt, lost = (np.zeros((size_px, size_px), np.float32) for _ in range(2))
    spoilt = np.zeros((size_px, size_px), np.bool_)
    if scene.carbon:
        direction, share = rng.uniform(0, 2 * np.pi), rng.uniform(-0.35, 0.0)
        along = (x * np.cos(direction) + y * np.sin(direction)) / size_px
        along -= (np.cos(direction) + np.sin(direction)) / 2
        bent = 0.1 * ((x * np.sin(direction) - y * np.cos(direction)) / size_px) ** 2
        spoilt |= along + bent < share
        grain = gaussian_filter(rng.standard_normal(dirt.shape, dtype=np.float32), 1.5)
        dirt += spoilt * (0.05 + 0.05 * grain / grain.std()).astype(np.float32)
        lost += 0.15 * spoilt
    sizes = [rng.uniform(*scene.lump_ang) for _ in range(scene.contamination)] + [scene.bead_ang] * scene.gold_beads
    for number, diameter_ang in enumerate(sizes):
        bead = number >= scene.contamination
        centre, radius = rng.uniform(0, size_px, 2), diameter_ang / scene.pixel_size_ang / 2
        turn, longish = rng.uniform(0, np.pi), 1.0 if bead else rng.uniform(1, 1.6)
        a = np.cos(turn) * (x - centre[0]) + np.sin(turn) * (y - centre[1])
        b = longish * (np.cos(turn) * (y - centre[1]) - np.sin(turn) * (x - centre[0]))
        lump = np.sqrt(np.clip(1 - (a**2 + b**2) / radius**2, 0, None))
        dirt += lump * np.float32(GOLD_PHASE_PER_ANG * diameter_ang if bead else rng.uniform(0.3, 1.2))
        lost += bead * (1 - lost) * (1 - np.exp(-lump * np.float32(diameter_ang / GOLD_PATH_ANG)))
        spoilt |= lump > 0
    for _ in range(scene.crystals):
        _add_crystal(dirt, lost, spoilt, scene, rng)
    return dirt, lost, spoilt


def _add_crystal(dirt: Float, lost: Float, spoilt: Mask, scene: Field, rng: np.random.Generator) -> None:
    """A polygon of ice, as thick everywhere, with bends in it that take away more or fewer electrons."""
    size_px = len(dirt)
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    centre, radius = rng.uniform(0, size_px, 2), rng.uniform(300, 1500) / scene.pixel_size_ang / 2
    y, x = y - np.float32(centre[1]), x - np.float32(centre[0])
    inside = np.ones(dirt.shape, np.bool_)
    for side in np.sort(rng.uniform(0, 2 * np.pi, 3))[:, None] + np.array([0, np.pi]):
        for angle in side:
            inside &= x * np.cos(angle) + y * np.sin(angle) < radius * rng.uniform(0.7, 1)
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.4, 2) * radius
    stripes = 1 + 0.6 * np.sin(2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle)) + 0.3 * x * y / radius**2)
    lost += inside * (1 - lost) * rng.uniform(0.1, 0.35) * stripes
    dirt += inside * np.float32(rng.uniform(0.1, 0.4))
    spoilt |= inside


def _through_lens(phase: Float, scene: Field) -> Float:
    size_px = len(phase)
    y = np.fft.fftfreq(size_px, scene.pixel_size_ang).astype(np.float32)[:, None]
    x = np.fft.rfftfreq(size_px, scene.pixel_size_ang).astype(np.float32)[None, :]
    conditions = ImagingConditions(pixel_size_ang=scene.pixel_size_ang)
    defocus = Defocus(u_ang=scene.defocus_ang + 100, v_ang=scene.defocus_ang - 100, angle_deg=30)
    transfer = contrast_transfer(y, x, conditions=conditions, defocus=defocus)
    half = scipy.fft.rfft2(phase, workers=2) * (-2 * transfer * np.exp(-scene.b_factor_ang2 / 4 * (x**2 + y**2)))
    return np.asarray(scipy.fft.irfft2(half, s=phase.shape, workers=2), dtype=np.float32)
