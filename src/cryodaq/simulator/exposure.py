"""One exposure: the specimen drifts while the camera counts frame after frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.simulator.detector import Detector, count_electrons
from cryodaq.simulator.optics import Defocus, ImagingConditions, contrast_transfer
from cryodaq.simulator.specimen import (
    Field,
    Protein,
    draw_field,
    ice_memory_per_frame,
    ice_phase_amplitude,
    protein_survival,
    squared_frequency,
)

MARGIN_PX = 64
"""The field reaches at least this far beyond the camera, so that drift brings in what was not seen before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """All that decides how a movie comes out, except for chance."""

    conditions: ImagingConditions
    shape_yx: tuple[int, int]
    defocus: Defocus
    displacement_px_xy: NDArray[np.float64]  # (frame, xy) of the specimen relative to frame 0
    field: Field
    field_shape_yx: tuple[int, int]


def draw_defocus(rng: np.random.Generator, *, target_ang: float) -> Defocus:
    """Draw what an autofocused exposure gets when `target_ang` was asked for, with some astigmatism."""
    mean = target_ang + rng.normal(0, 300)
    half_difference = rng.uniform(50, 250)
    return Defocus(
        u_ang=float(mean + half_difference),
        v_ang=float(mean - half_difference),
        angle_deg=float(rng.uniform(0, 180)),
    )


def draw_drift(
    frame_count: int, *, pixel_size_ang: float, rng: np.random.Generator
) -> NDArray[np.float64]:  # (frame, xy)
    """Draw a drift track in pixels relative to frame 0: fast at first, slowing, curved, with jitter."""
    time = np.linspace(0, 1, frame_count)
    early = rng.uniform(3.0, 7.0) * (1 - np.exp(-7 * time))
    late = rng.uniform(0.5, 3.0) * time
    first_angle = rng.uniform(0, 2 * np.pi)
    second_angle = first_angle + rng.uniform(-1.2, 1.2)
    track_ang = np.outer(early, [np.cos(first_angle), np.sin(first_angle)])
    track_ang += np.outer(late, [np.cos(second_angle), np.sin(second_angle)])
    track_ang += rng.normal(0, 0.12, track_ang.shape)
    return np.asarray((track_ang - track_ang[0]) / pixel_size_ang, dtype=np.float64)


def draw_exposure(
    protein: Protein,
    *,
    conditions: ImagingConditions,
    shape_yx: tuple[int, int],
    frame_count: int,
    defocus: Defocus,
    rng: np.random.Generator,
) -> Exposure:
    """Draw the specimen and its drift for one exposure."""
    from scipy.fft import next_fast_len

    height, width = (next_fast_len(length + 2 * MARGIN_PX, real=True) for length in shape_yx)
    margins = ((height - shape_yx[0]) // 2, (width - shape_yx[1]) // 2)
    field = draw_field(
        protein,
        shape_yx=shape_yx,
        margin_px=margins,
        conditions=conditions,
        field_shape_yx=(height, width),
        rng=rng,
    )
    return Exposure(
        conditions=conditions,
        shape_yx=shape_yx,
        defocus=defocus,
        displacement_px_xy=draw_drift(frame_count, pixel_size_ang=conditions.pixel_size_ang, rng=rng),
        field=field,
        field_shape_yx=(height, width),
    )


def expose(
    exposure: Exposure, *, detector: Detector, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:  # (y, x) each
    """Count the frames of a movie, one after another, as the camera delivers them before gain correction."""
    from scipy.fft import irfft2

    conditions, shape = exposure.conditions, exposure.field_shape_yx
    k2 = squared_frequency(shape, conditions.pixel_size_ang)
    transfer = -2 * _contrast_with_envelope(exposure, k2)
    protein = exposure.field.protein_phase * transfer
    ice_scale = ice_phase_amplitude(k2, conditions) / np.float32(conditions.pixel_size_ang) * transfer
    dose = conditions.dose_per_frame_e_ang2
    protein *= protein_survival(k2, dose / 2, voltage_kv=conditions.voltage_kv)
    fading = protein_survival(k2, dose, voltage_kv=conditions.voltage_kv)
    ice_patterns = _shaken_noise(shape, memory=ice_memory_per_frame(k2, dose), rng=rng)
    electrons_per_px = np.float32(dose * conditions.pixel_size_ang**2)
    for shift_xy, ice in zip(exposure.displacement_px_xy, ice_patterns, strict=False):
        spectrum = (protein + ice_scale * ice) * _shift_phases(shape, shift_xy)
        contrast = _camera_view(irfft2(spectrum, s=shape), exposure.shape_yx)
        yield count_electrons(np.maximum(1 + contrast, 0) * electrons_per_px, detector=detector, rng=rng)
        protein *= fading


def _shaken_noise(
    shape_yx: tuple[int, int], *, memory: NDArray[np.float32], rng: np.random.Generator
) -> Iterator[NDArray[np.complex64]]:  # (ky, kx) each
    """Give half-plane spectra of white noise without end, each keeping `memory` of the one before."""
    from scipy.fft import rfft2

    renewal = np.sqrt(1 - memory**2)
    pattern = np.asarray(rfft2(rng.standard_normal(shape_yx, dtype=np.float32)), dtype=np.complex64)
    while True:
        yield pattern
        pattern *= memory
        pattern += renewal * rfft2(rng.standard_normal(shape_yx, dtype=np.float32))


def _contrast_with_envelope(exposure: Exposure, k2: NDArray[np.float32]) -> NDArray[np.float32]:
    conditions, (height, width) = exposure.conditions, exposure.field_shape_yx
    transfer = contrast_transfer(
        np.fft.fftfreq(height, conditions.pixel_size_ang).astype(np.float32)[:, None],
        np.fft.rfftfreq(width, conditions.pixel_size_ang).astype(np.float32)[None, :],
        conditions=conditions,
        defocus=exposure.defocus,
    )
    envelope = np.exp(np.float32(-conditions.envelope_b_factor_ang2 / 4) * k2)
    return np.asarray(transfer * envelope, dtype=np.float32)


def _shift_phases(shape_yx: tuple[int, int], shift_px_xy: NDArray[np.float64]) -> NDArray[np.complex64]:
    """Fourier factors that move the specimen by +x along a row and +y along the rows."""
    column = np.exp(-2j * np.pi * np.fft.fftfreq(shape_yx[0]) * shift_px_xy[1]).astype(np.complex64)
    row = np.exp(-2j * np.pi * np.fft.rfftfreq(shape_yx[1]) * shift_px_xy[0]).astype(np.complex64)
    return np.asarray(column[:, None] * row[None, :], dtype=np.complex64)


def _camera_view(field: NDArray[np.float32], shape_yx: tuple[int, int]) -> NDArray[np.float32]:
    top, left = ((outer - inner) // 2 for outer, inner in zip(field.shape, shape_yx, strict=True))
    return field[top : top + shape_yx[0], left : left + shape_yx[1]]
