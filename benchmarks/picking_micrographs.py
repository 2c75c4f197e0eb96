"""Micrographs whose particles are known, for the picking benchmark. Uses nothing of the imaging room."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cryodaq.simulator.optics import Defocus, ImagingConditions, contrast_transfer

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


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
    """Phase of 1 Å of protein in ice, radians."""
    carbon: bool = False
    contamination: int = 0
    """Ice crystals and other lumps."""
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
    """Draw the specimen, pass it through the lens, count electrons."""
    diameter_px = scene.diameter_ang / scene.pixel_size_ang
    dirt, spoilt = _dirt(scene, size_px, rng)
    places = _places(scene, size_px, rng)
    phase = np.zeros((size_px, size_px), np.float32)
    for place in places:
        _add_particle(phase, place, scene, rng)
    phase *= scene.phase_per_ang * scene.pixel_size_ang
    phase += 0.012 * rng.standard_normal(phase.shape, dtype=np.float32) + dirt
    seen = _through_lens(phase, scene)
    thickness = gaussian_filter(rng.standard_normal((32, 32)), 5)
    slope = np.kron(thickness / np.abs(thickness).max(), np.ones((size_px // 32 + 1,) * 2))[:size_px, :size_px]
    slow = 0.03 * gaussian_filter(slope, size_px / 32)
    absorbed = 1 - 0.15 * gaussian_filter(spoilt.astype(np.float32), 4) * scene.carbon
    dose = scene.dose_e_ang2 * scene.pixel_size_ang**2
    counts = rng.poisson(np.clip(dose * (1 + seen + slow) * absorbed, 0, None)).astype(np.float32)
    inside = (places > diameter_px / 2).all(axis=1) & (places < size_px - diameter_px / 2).all(axis=1)
    row, column = np.rint(places).astype(int).T[::-1].clip(0, size_px - 1)
    from scipy.ndimage import distance_transform_edt

    away = distance_transform_edt(~spoilt) if spoilt.any() else np.full(spoilt.shape, np.inf)
    clear = away[row, column] > diameter_px / 2
    return Pictured(micrograph=counts, particles_px_xy=places[inside & clear], field=scene, spoilt=spoilt)


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
    """Add the thickness (Å/px) of one lumpy particle."""
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


def _dirt(scene: Field, size_px: int, rng: np.random.Generator) -> tuple[Float, Mask]:
    """Phase of carbon and of contamination, and where they are."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    dirt, spoilt = np.zeros((size_px, size_px), np.float32), np.zeros((size_px, size_px), np.bool_)
    if scene.carbon:
        direction, share = rng.uniform(0, 2 * np.pi), rng.uniform(-0.35, 0.0)
        along = (x * np.cos(direction) + y * np.sin(direction)) / size_px
        along -= (np.cos(direction) + np.sin(direction)) / 2
        bent = 0.1 * ((x * np.sin(direction) - y * np.cos(direction)) / size_px) ** 2
        spoilt |= along + bent < share
        grain = gaussian_filter(rng.standard_normal(dirt.shape, dtype=np.float32), 1.5)
        dirt += spoilt * (0.05 + 0.05 * grain / grain.std()).astype(np.float32)
    for _ in range(scene.contamination):
        centre, radius = rng.uniform(0, size_px, 2), rng.uniform(150, 700) / scene.pixel_size_ang / 2
        turn, longish = rng.uniform(0, np.pi), rng.uniform(1, 1.6)
        a = np.cos(turn) * (x - centre[0]) + np.sin(turn) * (y - centre[1])
        b = longish * (np.cos(turn) * (y - centre[1]) - np.sin(turn) * (x - centre[0]))
        lump = np.sqrt(np.clip(1 - (a**2 + b**2) / radius**2, 0, None))
        dirt += rng.uniform(0.3, 1.2) * lump
        spoilt |= lump > 0
    return dirt, spoilt


def _through_lens(phase: Float, scene: Field) -> Float:
    size_px = len(phase)
    y = np.fft.fftfreq(size_px, scene.pixel_size_ang).astype(np.float32)[:, None]
    x = np.fft.rfftfreq(size_px, scene.pixel_size_ang).astype(np.float32)[None, :]
    conditions = ImagingConditions(pixel_size_ang=scene.pixel_size_ang)
    defocus = Defocus(u_ang=scene.defocus_ang + 100, v_ang=scene.defocus_ang - 100, angle_deg=30)
    transfer = contrast_transfer(y, x, conditions=conditions, defocus=defocus)
    half = scipy.fft.rfft2(phase, workers=2) * (-2 * transfer * np.exp(-scene.b_factor_ang2 / 4 * (x**2 + y**2)))
    return np.asarray(scipy.fft.irfft2(half, s=phase.shape, workers=2), dtype=np.float32)
