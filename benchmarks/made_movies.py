"""Movies whose truth is known: specimen, motion, dose and camera by physics, written apart from the imaging room.

The specimen (protein in ice, optionally carbon and contamination) is imaged through a CTF, loses structure to
radiation, flows in ways that no low-order polynomial describes, blurs within each frame, and is counted one
electron at a time by a camera with an uneven gain and hot pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numba
import numpy as np
import scipy.fft
from made_cameras import Camera, bar_of_the_grid, make_camera
from numpy.typing import NDArray

from cryodaq.simulator.detector import make_gain
from cryodaq.simulator.optics import (
    Defocus,
    ImagingConditions,
    contrast_transfer,
    interaction_constant_rad_per_volt_ang,
)
from cryodaq.simulator.specimen import (
    POTENTIAL_VOLT_ANG2,
    Protein,
    atom_scattering_factor_ang,
    build_protein,
    displaced_ice_factor_ang,
    ice_memory_per_frame,
    ice_phase_amplitude,
    protein_survival,
    squared_frequency,
)

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

MARGIN_PX = 96
GRID_PX = 32
"""Distance of the points at which the displacement is given."""
PROJECTIONS = 24
CARBON_ANG = 120.0
SUB_EXPOSURES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieCase:
    """One kind of movie."""

    name: str
    seed: int
    shape_yx: tuple[int, int] = (2048, 2048)
    frame_count: int = 40
    pixel_size_ang: float = 0.83
    dose_per_frame_e_ang2: float = 1.0
    drift_ang: float = 12.0
    """How far the whole field drifts."""
    flow: Literal["none", "quadratic", "rough"] = "rough"
    """How its parts move against each other."""
    flow_ang: float = 6.0
    """Largest displacement of a part against the whole."""
    jump_ang: float = 0.0
    """By which the whole frame jumps in mid-exposure."""
    carbon: bool = False
    contamination: bool = False
    bar: bool = False
    """Whether a bar of the grid covers a third of the field; it moves with the specimen."""
    stale_gain: float = 0.0
    """By how much the pixels' gain is not that of the reference, RMS."""
    bad_columns: int = 0
    """Columns that count twice, and as many that count nothing, none of them known to the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Displacement of the specimen (y, x) in pixels at any time; 0 in the middle of frame 0."""

    grid: Float64  # (pattern, y, x, yx), displacement patterns on a grid of GRID_PX
    rates: tuple[float, ...]
    """How fast each pattern settles, per exposure."""
    jitter: Float64  # (frame, yx)
    jump: Float64  # (yx,)
    frame_count: int

    def at(self, time: float) -> Float64:  # (y, x, yx)
        """At a time counted in frames from the middle of frame 0."""
        total = self.jitter[min(max(round(time), 0), self.frame_count - 1)] - self.jitter[0]
        total = total + (self.jump if time > self.frame_count / 2 - 0.5 else 0.0)
        share = time / (self.frame_count - 1) if self.frame_count > 1 else 0.0
        result = np.zeros(self.grid.shape[1:]) + total
        for pattern, rate in zip(self.grid, self.rates, strict=True):
            result += pattern * (-math.expm1(-rate * share)) / -math.expm1(-rate)
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeMovie:
    """A movie and everything that is true about it."""

    case: MovieCase
    frames: NDArray[np.uint8]  # (frame, y, x)
    gain: Float  # (y, x), multiplies
    truth: Float  # (y, x), the specimen without noise as it lay in frame 0
    motion: Motion = field(repr=False)
    dose_per_frame_e_ang2: float
    camera: Camera = field(repr=False)

    def displacement_yx(self, points_yx: Float64, frame: int) -> Float64:  # (point, yx)
        """True displacement at pixels."""
        grid = self.motion.at(float(frame))
        at = points_yx / GRID_PX
        low = np.minimum(at.astype(int), np.array(grid.shape[:2]) - 2)
        part = at - low
        y, x = low.T
        wy, wx = part[:, :1], part[:, 1:]
        upper = grid[y, x] * (1 - wx) + grid[y, x + 1] * wx
        lower = grid[y + 1, x] * (1 - wx) + grid[y + 1, x + 1] * wx
        return np.asarray(upper * (1 - wy) + lower * wy)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _gather(coefficients, grid, margin, step, sign, weight, target):  # type: ignore[no-untyped-def]  # numba
    """Add to `target[y, x]` the spline's value at (y, x) - sign * displacement; rows go round."""
    height, width = coefficients.shape
    for y in range(target.shape[0]):
        gy = y / step
        iy = min(int(gy), grid.shape[0] - 2)
        fy = gy - iy
        for x in range(target.shape[1]):
            gx = x / step
            ix = min(int(gx), grid.shape[1] - 2)
            fx = gx - ix
            a, b = (1 - fy) * (1 - fx), (1 - fy) * fx
            c, d = fy * (1 - fx), fy * fx
            dy = grid[iy, ix, 0] * a + grid[iy, ix + 1, 0] * b + grid[iy + 1, ix, 0] * c + grid[iy + 1, ix + 1, 0] * d
            dx = grid[iy, ix, 1] * a + grid[iy, ix + 1, 1] * b + grid[iy + 1, ix, 1] * c + grid[iy + 1, ix + 1, 1] * d
            py, px = y + margin - sign * dy, x + margin - sign * dx
            wy, wx = math.floor(py), math.floor(px)
            ty, tx = np.float32(py - wy), np.float32(px - wx)
            ry, rx = 1 - ty, 1 - tx
            by = (
                ry * ry * ry / 6,
                (4 - 6 * ty * ty + 3 * ty * ty * ty) / 6,
                (4 - 6 * ry * ry + 3 * ry * ry * ry) / 6,
                ty * ty * ty / 6,
            )
            bx = (
                rx * rx * rx / 6,
                (4 - 6 * tx * tx + 3 * tx * tx * tx) / 6,
                (4 - 6 * rx * rx + 3 * rx * rx * rx) / 6,
                tx * tx * tx / 6,
            )
            value = np.float32(0)
            for j in range(4):
                sy = (wy - 1 + j) % height
                row = np.float32(0)
                for i in range(4):
                    row += bx[i] * coefficients[sy, (wx - 1 + i) % width]
                value += by[j] * row
            target[y, x] += weight * value


def gather(
    picture_spectrum: NDArray[np.complex64],
    shape_yx: tuple[int, int],
    *,
    grid: Float64,
    target: Float,
    sign: int,
    margin_px: int,
    weight: float,
) -> None:
    """Add a picture, given by its half transform, moved by a displacement (sign 1) or against it (-1)."""
    along = [(2 + np.cos(2 * np.pi * f)) / 3 for f in (scipy.fft.fftfreq(shape_yx[0]), scipy.fft.rfftfreq(shape_yx[1]))]
    spline = picture_spectrum / (along[0][:, None] * along[1][None, :]).astype(np.float32)
    coefficients = scipy.fft.irfft2(spline, s=shape_yx, workers=2)
    _gather(coefficients, grid, margin_px, GRID_PX, float(sign), np.float32(weight), target)


def build_motion(case: MovieCase, rng: np.random.Generator) -> Motion:
    """Draw how the field drifts and how its parts flow."""
    rows, columns = (n // GRID_PX + 2 for n in case.shape_yx)
    y, x = np.mgrid[:rows, :columns].astype(float)
    y, x = 2 * y * GRID_PX / case.shape_yx[0] - 1, 2 * x * GRID_PX / case.shape_yx[1] - 1
    angle = rng.uniform(0, 2 * np.pi)
    directions = [np.array([np.sin(a), np.cos(a)]) for a in (angle, angle + rng.uniform(-1, 1))]
    drift = [np.ones_like(y)[..., None] * d * size for d, size in zip(directions, (0.7, 0.3), strict=True)]
    patterns = [p * case.drift_ang for p in drift]
    rates = [6.0, 0.7]
    for rate in (4.0, 1.5):
        pattern = _flow(case, y, x, rng)
        scale = np.abs(pattern - pattern.mean(axis=(0, 1))).max()
        patterns.append(pattern * (0.0 if scale == 0 else (0.7 if rate == 4.0 else 0.3) * case.flow_ang / scale))
        rates.append(rate)
    jump_angle = rng.uniform(0, 2 * np.pi)
    return Motion(
        grid=np.array(patterns) / case.pixel_size_ang,
        rates=tuple(rates),
        jitter=rng.normal(0, 0.08 if case.drift_ang else 0.0, (case.frame_count, 2)) / case.pixel_size_ang,
        jump=np.array([np.sin(jump_angle), np.cos(jump_angle)]) * case.jump_ang / case.pixel_size_ang,
        frame_count=case.frame_count,
    )


def _flow(case: MovieCase, y: Float64, x: Float64, rng: np.random.Generator) -> Float64:  # (y, x, yx)
    if case.flow == "none":
        return np.zeros((*y.shape, 2))
    terms = np.stack([x, y, x * x, y * y, x * y], axis=-1)
    smooth = terms @ rng.normal(0, 1, (5, 2))
    if case.flow == "quadratic":
        return np.asarray(smooth)
    # A dome that flattens off centre, a fold across the field, and an edge beyond which little moves.
    centre = rng.uniform(-0.5, 0.5, 2)
    off = np.stack([y - centre[0], x - centre[1]], axis=-1)
    dome = off * np.exp(-(off**2).sum(axis=-1) / 0.5)[..., None] * 3
    turn = rng.uniform(0, np.pi)
    along = y * np.sin(turn) + x * np.cos(turn)
    fold = np.sin(2.2 * along + rng.uniform(0, 6))[..., None] * rng.normal(0, 0.7, 2)
    held = 1 / (1 + np.exp(-(_carbon_depth(case, y, x) + 0.1) / 0.12))
    return np.asarray((0.5 * smooth + dome + fold) * (1 - 0.8 * held * case.carbon)[..., None])


def _carbon_depth(case: MovieCase, y: Float64, x: Float64) -> Float64:
    """How far behind the edge of the carbon, in half fields; the hole is round and lies to the left."""
    return np.asarray(np.hypot(y + 0.3 * math.sin(case.seed), x + 1.0) - 1.45)


def make_movie(case: MovieCase) -> MadeMovie:
    """Expose the movie frame by frame."""
    rng = np.random.default_rng(case.seed)
    conditions = ImagingConditions(
        pixel_size_ang=case.pixel_size_ang,
        dose_per_frame_e_ang2=case.dose_per_frame_e_ang2,
        voltage_kv=300.0,
        envelope_b_factor_ang2=25.0,
        ice_thickness_ang=300.0,
    )
    outer = tuple(scipy.fft.next_fast_len(n + 2 * MARGIN_PX, real=True) for n in case.shape_yx)
    motion = build_motion(case, rng)
    specimen, absorbed = _specimen(case, conditions, (outer[0], outer[1]), rng)
    k2 = squared_frequency((outer[0], outer[1]), case.pixel_size_ang)
    defocus = Defocus(u_ang=rng.uniform(9000, 16000), v_ang=rng.uniform(8500, 9000), angle_deg=rng.uniform(0, 180))
    transfer = contrast_transfer(
        np.fft.fftfreq(outer[0], case.pixel_size_ang).astype(np.float32)[:, None],
        np.fft.rfftfreq(outer[1], case.pixel_size_ang).astype(np.float32)[None, :],
        conditions=conditions,
        defocus=defocus,
    )
    transfer *= -2 * np.exp(-conditions.envelope_b_factor_ang2 / 4 * k2)
    specimen *= transfer
    gain = make_gain(case.shape_yx, rng)
    hot = rng.choice(gain.size, gain.size // 30_000, replace=False)
    camera = make_camera(gain, hot, seed=case.seed, stale_gain=case.stale_gain, bad_columns=case.bad_columns)
    bar = bar_of_the_grid((outer[0], outer[1]), case.shape_yx, margin_px=MARGIN_PX, seed=case.seed)
    covered = scipy.fft.rfft2(bar, workers=2) if case.bar else None
    frames = np.empty((case.frame_count, *case.shape_yx), np.uint8)
    ice_scale = ice_phase_amplitude(k2, conditions) / np.float32(case.pixel_size_ang) * transfer
    memory = ice_memory_per_frame(k2, case.dose_per_frame_e_ang2)
    ice = _white(outer, rng)
    still = specimen + absorbed
    truth = _without_margin(scipy.fft.irfft2(still, s=outer, workers=2), case.shape_yx)
    for number in range(case.frame_count):
        dose = (number + 0.5) * case.dose_per_frame_e_ang2
        seen = specimen * protein_survival(k2, dose, voltage_kv=300.0) + absorbed + ice_scale * ice
        expected = _exposed(seen, (outer[0], outer[1]), motion, number, shape_yx=case.shape_yx)
        if covered is not None:
            expected *= 1 - _exposed(covered, (outer[0], outer[1]), motion, number, shape_yx=case.shape_yx, start=0.0)
        expected *= np.float32(case.dose_per_frame_e_ang2 * case.pixel_size_ang**2)
        frames[number] = camera.count(expected, rng)
        ice = memory * ice + np.sqrt(1 - memory**2) * _white(outer, rng)
    return MadeMovie(
        case=case,
        frames=frames,
        gain=gain,
        truth=np.ascontiguousarray(truth * (1 - _without_margin(bar, case.shape_yx) * case.bar), np.float32),
        motion=motion,
        dose_per_frame_e_ang2=case.dose_per_frame_e_ang2,
        camera=camera,
    )


def _without_margin(picture: Float, shape_yx: tuple[int, int]) -> Float:
    return picture[MARGIN_PX:, MARGIN_PX:][: shape_yx[0], : shape_yx[1]]


def _exposed(
    seen: NDArray[np.complex64],
    outer: tuple[int, int],
    motion: Motion,
    frame: int,
    *,
    shape_yx: tuple[int, int],
    start: float = 1.0,
) -> Float:  # (y, x)
    """A picture, given by its half transform, as it passes by during a frame, added to a level."""
    level = np.full(shape_yx, start, np.float32)
    for part in range(SUB_EXPOSURES):
        grid = motion.at(frame + (part + 0.5) / SUB_EXPOSURES - 0.5)
        gather(seen, outer, grid=grid, target=level, sign=1, margin_px=MARGIN_PX, weight=1 / SUB_EXPOSURES)
    return level


def _white(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.complex64]:
    return np.asarray(scipy.fft.rfft2(rng.standard_normal(shape, dtype=np.float32), workers=2), np.complex64)


def _specimen(
    case: MovieCase, conditions: ImagingConditions, outer: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Half transforms of the phase that fades with dose, and of the absorption contrast, which stays."""
    pixel = case.pixel_size_ang
    y, x = np.mgrid[: outer[0], : outer[1]].astype(np.float32)
    y = 2 * (y - MARGIN_PX) / case.shape_yx[0] - 1
    x = 2 * (x - MARGIN_PX) / case.shape_yx[1] - 1
    bare = _carbon_depth(case, y, x) < 0 if case.carbon else np.ones(outer, bool)
    atoms = _particles(build_protein(150.0, rng=rng), pixel, bare=bare, rng=rng)
    k2 = squared_frequency(outer, pixel)
    per_factor = POTENTIAL_VOLT_ANG2 * interaction_constant_rad_per_volt_ang(conditions.voltage_kv)
    phase = scipy.fft.rfft2(atoms, workers=2) * (
        (atom_scattering_factor_ang(k2) - displaced_ice_factor_ang(k2)) * np.float32(per_factor / pixel**2)
    )
    absorption = np.zeros(outer, np.float32)
    if case.carbon:
        # 0.1 atoms/Å³, without order beyond 2 Å: white positions times the scattering of carbon.
        scatter = np.sqrt(0.1 * CARBON_ANG) / pixel * rng.standard_normal(outer, dtype=np.float32) * ~bare
        phase += scipy.fft.rfft2(scatter, workers=2) * atom_scattering_factor_ang(k2) * np.float32(per_factor)
        absorption -= 0.12 * ~bare
    if case.contamination:
        absorption += _ice_crystals(case, y, x, rng)
    return np.asarray(phase, np.complex64), np.asarray(scipy.fft.rfft2(absorption, workers=2), np.complex64)


def _particles(protein: Protein, pixel: float, *, bare: NDArray[np.bool_], rng: np.random.Generator) -> Float:
    """Atoms per pixel: projections of one protein, pasted where there is no carbon, without overlap."""
    size = int(1.2 * protein.diameter_ang / pixel)
    pictures = []
    for _ in range(PROJECTIONS):
        turn, _unused = np.linalg.qr(rng.standard_normal((3, 3)))
        places = (protein.atoms_ang @ turn[:, :2]) / pixel + size / 2
        edges = np.arange(size + 1) - 0.5
        pictures.append(np.histogram2d(places[:, 1], places[:, 0], bins=(edges, edges))[0].astype(np.float32))
    atoms = np.zeros(bare.shape, np.float32)
    step = int(1.35 * protein.diameter_ang / pixel)
    for top in range(0, bare.shape[0] - size - step // 3, step):
        for left in range(0, bare.shape[1] - size - step // 3, step):
            y, x = top + rng.integers(step // 3), left + rng.integers(step // 3)
            if rng.random() < 0.85 and bare[y + size // 2, x + size // 2]:
                atoms[y : y + size, x : x + size] += pictures[rng.integers(PROJECTIONS)]
    return atoms


def _ice_crystals(case: MovieCase, y: Float, x: Float, rng: np.random.Generator) -> Float:
    """Dark lumps of 150 to 500 Å with lattice fringes of 3.67 Å."""
    dark = np.zeros(y.shape, np.float32)
    height, width = case.shape_yx
    for _ in range(max(3, height * width // 800_000)):
        cy, cx = rng.uniform(-1, 1, 2)
        radius = rng.uniform(75, 250) / case.pixel_size_ang
        py, px = (y - cy) * height / 2, (x - cx) * width / 2
        lump = np.clip(1 - (py**2 + px**2) / radius**2, 0, None) ** 0.5
        wave = rng.normal(0, 1, 2)
        wave *= 2 * np.pi * case.pixel_size_ang / 3.67 / np.hypot(*wave)
        dark -= 0.35 * lump * (1 + 0.1 * np.cos(py * wave[0] + px * wave[1]))
    return dark


def sum_by_truth(movie: MadeMovie) -> Float:  # (y, x)
    """Frames, gain applied and hot pixels flattened, moved back by the true displacement and added up."""
    total = movie.frames.sum(axis=0, dtype=np.float32) * movie.gain
    level = float(np.median(total))
    wild = np.abs(total - level) > 7 * np.sqrt(level)
    wild[:, movie.camera.columns] = True
    aligned = np.zeros(movie.truth.shape, np.float32)
    for number, frame in enumerate(movie.frames):
        counts = frame * movie.gain
        counts[wild] = level / len(movie.frames)
        spectrum = np.asarray(scipy.fft.rfft2(counts, workers=2), np.complex64)
        gather(
            spectrum,
            counts.shape,
            grid=movie.motion.at(float(number)),
            target=aligned,
            sign=-1,
            margin_px=0,
            weight=1.0,
        )
    return aligned
