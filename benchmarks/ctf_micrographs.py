"""Micrographs of known defocus, and empty ones, for the CTF benchmark. Uses nothing of the imaging room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.simulator.optics import Defocus, ImagingConditions, electron_wavelength_ang
from cryodaq.simulator.optics import contrast_transfer as contrast_of_optics

Float = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What decides how a micrograph comes out, except for chance."""

    conditions: ImagingConditions
    defocus: Defocus
    snr: float
    """Variance of what the specimen adds over that of the counting noise, all frequencies together."""
    phase_shift_deg: float = 0.0
    b_factor_ang2: float = 60.0
    """Of the amplitude, exp(-B k²/4)."""
    drift_ang: float = 0.0
    """Even motion during the exposure."""
    drift_deg: float = 0.0
    lumps: float = 1.0
    """Particles' share: power at low frequencies, 0 for ice alone."""

    @property
    def mean_defocus_ang(self) -> float:
        return (self.defocus.u_ang + self.defocus.v_ang) / 2


def draw_scene(rng: np.random.Generator, *, snr: tuple[float, float], **fields: float) -> Scene:
    """Draw optics, defocus and astigmatism as sessions have them; SNR between two bounds."""
    mean, half = rng.uniform(6000, 32000), rng.uniform(0, 1) ** 2 * 600
    voltage_kv, cs_mm = ((300.0, 2.7), (300.0, 0.01), (200.0, 2.7), (200.0, 1.4))[rng.integers(4)]
    conditions = ImagingConditions(
        pixel_size_ang=float(rng.uniform(0.65, 1.5)),
        voltage_kv=voltage_kv,
        cs_mm=cs_mm,
        amplitude_contrast=float(rng.choice([0.07, 0.1])),
    )
    angle_deg = float(rng.uniform(0, 180))
    return Scene(
        conditions=conditions,
        defocus=Defocus(u_ang=mean + half, v_ang=mean - half, angle_deg=angle_deg),
        snr=float(np.exp(rng.uniform(*np.log(snr)))),
        b_factor_ang2=float(rng.uniform(40, 120)),
        lumps=float(rng.uniform(0, 2)),
        **fields,
    )


def expose(scene: Scene, *, size_px: int, rng: np.random.Generator) -> Float:  # (y, x)
    """Take the picture: ice and lumps of protein through the lens, moved, and counted."""
    y = np.fft.fftfreq(size_px, scene.conditions.pixel_size_ang).astype(np.float32)[:, None]
    x = np.fft.rfftfreq(size_px, scene.conditions.pixel_size_ang).astype(np.float32)[None, :]
    square = x**2 + y**2
    matter = scipy.fft.rfft2(rng.standard_normal((size_px, size_px), dtype=np.float32), workers=2)
    matter *= np.sqrt(1 + scene.lumps * 30 * np.exp(-square * 120.0**2 / 4) + scene.lumps * 2 / (1 + square * 900))
    matter *= transfer(scene, y, x) * np.exp(-scene.b_factor_ang2 / 4 * square)
    if scene.drift_ang:
        along = np.cos(np.deg2rad(scene.drift_deg)) * x + np.sin(np.deg2rad(scene.drift_deg)) * y
        matter *= np.sinc(scene.drift_ang * along)
    seen = scipy.fft.irfft2(matter, workers=2)
    seen *= np.sqrt(scene.snr) / seen.std()
    slope = np.linspace(0, rng.uniform(0, 2), size_px, dtype=np.float32)
    noise = rng.standard_normal((size_px, size_px), dtype=np.float32)
    return np.asarray(20 + seen + noise + slope[:, None] * rng.uniform(-1, 1), dtype=np.float32)


def transfer(scene: Scene, y: Float, x: Float) -> Float:
    """Contrast transfer with a phase plate's shift (the simulator's optics have none)."""
    if not scene.phase_shift_deg:
        return contrast_of_optics(y, x, conditions=scene.conditions, defocus=scene.defocus)
    lens, wavelength = scene.conditions, electron_wavelength_ang(scene.conditions.voltage_kv)
    square = x**2 + y**2
    half = (scene.defocus.u_ang - scene.defocus.v_ang) / 2
    local = scene.mean_defocus_ang + half * np.cos(2 * (np.arctan2(y, x) - np.deg2rad(scene.defocus.angle_deg)))
    phase = np.pi * wavelength * square * (local - wavelength**2 / 2 * lens.cs_mm * 1e7 * square)
    constant = np.arcsin(lens.amplitude_contrast) + np.deg2rad(scene.phase_shift_deg)
    return np.asarray(np.sin(phase + constant), dtype=np.float32)


def empty_pictures(rng: np.random.Generator, *, size_px: int) -> dict[str, Float]:
    """Pictures in which there is no CTF to find."""
    white = rng.standard_normal((size_px, size_px), dtype=np.float32)
    half, k = scipy.fft.rfft2(rng.standard_normal((size_px, size_px), dtype=np.float32)), _frequency(size_px)
    clouds = scipy.fft.irfft2(half / (k + 1 / size_px) ** 1.5)
    grain = scipy.fft.irfft2(half / (1 + (k * 40) ** 2))
    y, x = np.ogrid[:size_px, :size_px]
    crystals = np.zeros((size_px, size_px), np.float32)
    for _ in range(40):
        centre = rng.uniform(0, size_px, 2)
        radius = np.hypot(y - centre[0], (x - centre[1]) * rng.uniform(0.7, 1.3))
        crystals += rng.uniform(1, 4) * (radius < rng.uniform(8, 120))
    lattice = np.cos(2 * np.pi * (x * 0.21 + y * 0.13)) + np.cos(2 * np.pi * (x * -0.13 + y * 0.21))
    pictures = {
        "white": white,
        "vacuum": rng.poisson(rng.uniform(1, 40), white.shape),
        "clouds": white + 3 * clouds / clouds.std(),
        "grain": white + grain / grain.std(),
        "dirt": white + crystals,
        "edge": white + 20 * (x > size_px * rng.uniform(0.2, 0.8)),
        "crystal": white + 0.2 * lattice,
    }
    return {name: np.asarray(picture + 10, dtype=np.float32) for name, picture in pictures.items()}


def _frequency(size_px: int) -> Float:
    y, x = np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None, :]
    return np.asarray(np.hypot(y, x), dtype=np.float32)
