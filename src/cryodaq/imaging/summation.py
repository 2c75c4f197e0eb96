"""Sums of aligned frames: plain and dose weighted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.imaging.compiled import available_cores, for_each
from cryodaq.imaging.detector import Detector, row_blocks
from cryodaq.imaging.dose_weighting import low_rank
from cryodaq.imaging.movie_kernels import sum_moved_rows

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

ROWS_IN_CACHE = 16
FLATTEST = 0.05
"""Smallest transfer that is divided out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseCurve:
    """Weights (frequency, frame) at equally spaced frequencies from 0, cycles per pixel."""

    step: float
    weights: Float64


def sum_aligned(
    frames: NDArray[np.generic],  # (frame, y, x), as `countable` returns them
    *,
    detector: Detector,
    displacement_yx: Float64,  # (frame, 2), pixels
    dose: DoseCurve,
) -> tuple[Float, Float]:  # (y, x) each
    """Unweighted and dose-weighted sum of frames moved back by their displacement.

    Interpolates with cubic B-splines (M. Unser, IEEE Signal Processing Magazine 16 (1999) 22). All frames are
    added into the few sums that the dose weights are products of; the spline's prefilter, and the loss of
    high frequencies by the fractional shifts, are divided out of the sums, so noise stays white.
    """
    curves, coefficients = low_rank(dose.weights)
    weights = np.concatenate([np.ones((1, len(frames))), coefficients]).astype(np.float32)
    sums = np.zeros((len(weights), *frames.shape[1:]), np.float32)

    def add(rows: tuple[int, int]) -> None:
        sum_moved_rows(frames, rows, displacement_yx, weights, detector.correction, sums)

    for_each(add, row_blocks(frames.shape[1], ROWS_IN_CACHE))
    restore = _restoring_filter(frames.shape[1:], displacement_yx)
    plain = _transform(sums[0])
    plain *= restore
    weighted = np.zeros_like(plain)
    radius = _radius(frames.shape[1:]) / dose.step
    grid = np.arange(len(curves))
    for term, curve in zip(sums[1:], curves.T, strict=True):
        part = _transform(term)
        part *= np.interp(radius, grid, curve).astype(np.float32)
        weighted += part
    weighted *= restore
    return _back(plain, frames.shape[1:]), _back(weighted, frames.shape[1:])


def _transform(picture: Float) -> NDArray[np.complex64]:
    return np.asarray(scipy.fft.rfft2(picture, workers=available_cores()))


def _back(transform: NDArray[np.complex64], shape_yx: tuple[int, ...]) -> Float:
    picture = scipy.fft.irfft2(transform, s=shape_yx, workers=available_cores(), overwrite_x=True)
    return np.asarray(picture, dtype=np.float32)


def _radius(shape_yx: tuple[int, ...]) -> Float:
    """Frequency (y, x) of a half transform, cycles per pixel."""
    along_y, along_x = scipy.fft.fftfreq(shape_yx[0]), scipy.fft.rfftfreq(shape_yx[1])
    return np.hypot(along_y[:, None].astype(np.float32), along_x[None, :].astype(np.float32))


def _restoring_filter(shape_yx: tuple[int, ...], displacement_yx: Float64) -> Float:
    """What a half transform (y, x) is multiplied with to undo the B-spline and the blur of its shifts."""
    along_y, along_x = (
        np.array([_spline_power(frequencies, shift % 1.0) for shift in displacement_yx[:, axis]], np.float32)
        for axis, frequencies in enumerate((scipy.fft.fftfreq(shape_yx[0]), scipy.fft.rfftfreq(shape_yx[1])))
    )
    power = along_y.T @ along_x
    power /= len(displacement_yx)
    np.maximum(power, FLATTEST**2, out=power)
    return np.asarray(1 / np.sqrt(power))


def _spline_power(frequencies: Float64, fraction: float) -> Float64:
    """Squared transfer of the taps of a shift by a fraction of a pixel."""
    rest = 1 - fraction
    taps = [rest**3, 4 - 6 * fraction**2 + 3 * fraction**3, 4 - 6 * rest**2 + 3 * rest**3, fraction**3]
    waves = np.exp(2j * np.pi * frequencies[:, None] * np.arange(-1, 3))
    return np.asarray(np.abs(waves @ (np.array(taps) / 6)) ** 2)
