"""Small physical generators, written apart from the imaging room so that no error cancels itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class MadeMovie:
    frames: NDArray[np.uint8]
    gain: NDArray[np.float32]
    displacement_xy: NDArray[np.float64]
    specimen: NDArray[np.float64]
    hot: NDArray[np.bool_]
    counts_per_px_frame: float


@dataclass(frozen=True, kw_only=True)
class MovieRecipe:
    seed: int = 1
    shape_yx: tuple[int, int] = (384, 320)
    frame_count: int = 12
    counts: float = 2.0
    """Per pixel and frame."""
    contrast: float = 0.15
    displacement_xy: tuple[tuple[float, float], ...] = field(default=())
    hot_pixels: int = 30
    gain_spread: float = 0.03


def thon_rings(
    shape_yx: tuple[int, int],
    *,
    pixel_size_ang: float,
    defocus_ang: float | NDArray[np.float64],
    voltage_kv: float = 300.0,
    cs_mm: float = 2.7,
    amplitude_contrast: float = 0.07,
    phase_shift_deg: float = 0.0,
) -> NDArray[np.float64]:
    """CTF on the full grid of np.fft.fft2."""
    y, x = np.meshgrid(*(np.fft.fftfreq(n, pixel_size_ang) for n in shape_yx), indexing="ij")
    volts = voltage_kv * 1e3
    wavelength = 12.2642596 / np.sqrt(volts * (1 + 0.978475598e-6 * volts))
    square = x**2 + y**2
    phase = np.pi * wavelength * square * (defocus_ang - 0.5 * wavelength**2 * square * cs_mm * 1e7)
    return np.sin(phase + np.arcsin(amplitude_contrast) + np.deg2rad(phase_shift_deg))


def moved(picture: NDArray[np.float64], xy: tuple[float, float]) -> NDArray[np.float64]:
    """Content moved by +x along rows, +y down the stored rows."""
    y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in picture.shape), indexing="ij")
    return np.fft.ifft2(np.fft.fft2(picture) * np.exp(-2j * np.pi * (x * xy[0] + y * xy[1]))).real


def build_movie(recipe: MovieRecipe) -> MadeMovie:
    rng = np.random.default_rng(recipe.seed)
    margin = 48
    shape = tuple(n + 2 * margin for n in recipe.shape_yx)
    matter = np.fft.fft2(rng.normal(size=shape))
    y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    rings = thon_rings(shape, pixel_size_ang=1.5, defocus_ang=15000.0) + 0.1
    specimen = np.fft.ifft2(matter * rings * np.exp(-30 * (x**2 + y**2))).real
    specimen *= recipe.contrast / specimen.std()
    gain = 1 + rng.normal(0, recipe.gain_spread, recipe.shape_yx)
    hot = np.zeros(recipe.shape_yx, bool)
    hot.flat[rng.choice(hot.size, recipe.hot_pixels, replace=False)] = True
    frames = []
    for xy in recipe.displacement_xy:
        seen = 1 + moved(specimen, xy)[margin:-margin, margin:-margin]
        frames.append(rng.poisson(np.where(hot, 12, np.clip(seen, 0, None)) * recipe.counts / gain))
    return MadeMovie(
        frames=np.clip(frames, 0, 255).astype(np.uint8),
        gain=gain.astype(np.float32),
        displacement_xy=np.array(recipe.displacement_xy) - recipe.displacement_xy[0],
        specimen=specimen[margin:-margin, margin:-margin],
        hot=hot,
        counts_per_px_frame=recipe.counts,
    )


@pytest.fixture(scope="session")
def make_movie() -> Callable[..., MadeMovie]:
    """Build a movie from the fields of MovieRecipe."""

    def make(**fields: object) -> MadeMovie:
        return build_movie(MovieRecipe(**fields))

    return make


@pytest.fixture(scope="session")
def make_rings() -> Callable[..., NDArray[np.float64]]:
    return thon_rings


def slowing_drift(frame_count: int, *, total_xy: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """Fast at first, then settling."""
    share = (1 - np.exp(-3 * np.linspace(0, 1, frame_count))) / (1 - np.exp(-3))
    return tuple((float(total_xy[0] * s), float(total_xy[1] * s)) for s in share)


@pytest.fixture(scope="session")
def make_drift() -> Callable[..., tuple[tuple[float, float], ...]]:
    return slowing_drift
