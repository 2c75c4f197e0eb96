"""Sums of aligned frames: plain and dose weighted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.imaging.compiled import available_cores, for_each
from cryodaq.imaging.detector import Detector, row_blocks
from cryodaq.imaging.dose_weighting import low_rank
from cryodaq.imaging.motion_field import MotionField
from cryodaq.imaging.movie_kernels import sum_moved_tiles
from cryodaq.imaging.term_kernels import combine_terms

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

TILE_ROWS = 16
TILE_COLUMNS = (256, 128, 64, 32)
CACHED_COLUMNS = 512
LARGEST_STEP_PX = 0.2
"""Root mean square difference between the displacements of neighbouring tiles; within one it errs by its 12th root."""
FRAME_GROUPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseCurve:
    """Weights (frequency, frame) at equally spaced frequencies from 0, cycles per pixel."""

    step: float
    weights: Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedSums:
    """Sums (y, x) of frames that were moved back, electrons per pixel."""

    unweighted: Float
    dose_weighted: Float


def sum_aligned(
    frames: NDArray[np.generic],  # (frame, y, x), as `countable` returns them
    *,
    detector: Detector,
    field: MotionField,
    dose: DoseCurve,
    binned_shape_yx: tuple[int, int] | None = None,
) -> AlignedSums:
    """Unweighted and dose-weighted sum of frames moved back by their displacement.

    Interpolates with cubic B-splines (M. Unser, IEEE Signal Processing Magazine 16 (1999) 22), each small tile
    with one displacement. All frames are added into the few sums that the dose weights are products of; the
    spline's prefilter, and the loss of high frequencies by the fractional shifts, are divided out of the sums,
    so noise stays white.

    Parameters
    ----------
    binned_shape_yx
        Size of the sums when they are binned, by leaving out high frequencies; counts of pixels add up.
    """
    # The last row asks for the plain sum, which the same products then give as well.
    curves, coefficients = low_rank(np.concatenate([dose.weights, np.ones((1, len(frames)))]))
    tile_yx = TILE_ROWS, _tile_columns(field)
    tiles = -(-frames.shape[1] // tile_yx[0]), -(-frames.shape[2] // tile_yx[1])
    displacement = _tile_displacements(field, tile_yx=tile_yx, tiles=tiles)
    shape: tuple[int, int] = frames.shape[1], frames.shape[2]
    kept = binned_shape_yx or shape
    terms = _transformed(
        _sum_terms(frames, detector, displacement, weights=coefficients.astype(np.float32), tile_yx=tile_yx), kept
    )
    frequency_y = scipy.fft.fftfreq(shape[0])[_kept_rows(shape[0], kept[0])]
    axes = frequency_y.astype(np.float32), scipy.fft.rfftfreq(shape[1])[: terms.shape[2]].astype(np.float32)
    power, shares = _transfer_power(displacement, dose.weights)
    split = curves[-1].astype(np.float32), np.ascontiguousarray(curves[:-1].T, dtype=np.float32), shares
    given = split, power, (_waves(axes[0]), _waves(axes[1])), (*axes, 1 / dose.step)
    both = np.empty((2, *terms.shape[1:]), np.complex64)
    for_each(
        lambda block: combine_terms(terms, *given, both, block),
        row_blocks(kept[0], -(-kept[0] // (2 * available_cores()))),
    )
    return AlignedSums(unweighted=_back(both[0], kept), dose_weighted=_back(both[1], kept))


def binned_shape(shape_yx: tuple[int, int], factor: float) -> tuple[int, int]:
    """Even size of a picture that is binned by leaving out high frequencies."""
    if factor == 1:
        return shape_yx
    return int(shape_yx[0] / factor / 2) * 2, int(shape_yx[1] / factor / 2) * 2


def bin_in_fourier(picture: Float, shape_yx: tuple[int, int]) -> Float:
    """Leave out high frequencies; counts of pixels add up."""
    if picture.shape == shape_yx:
        return picture
    transform = np.asarray(scipy.fft.rfft2(picture, workers=available_cores()))
    return _back(_cropped(transform, _kept_rows(len(picture), shape_yx[0]), shape_yx[1] // 2 + 1), shape_yx)


def _tile_columns(field: MotionField) -> int:
    steepness = field.steepness()
    return next((n for n in TILE_COLUMNS if n * steepness <= LARGEST_STEP_PX), TILE_COLUMNS[-1])


def _tile_displacements(field: MotionField, *, tile_yx: tuple[int, int], tiles: tuple[int, int]) -> Float64:
    """(frame, tile y, tile x, yx) in the middles of tiles, the last of which may reach out of the frame."""
    middles = [(np.arange(n) + 0.5) * size - 0.5 for n, size in zip(tiles, tile_yx, strict=True)]
    y, x = np.meshgrid(*middles, indexing="ij")
    places = field.displacement_px_yx(np.stack([y.ravel(), x.ravel()], axis=1))
    return np.ascontiguousarray(places.reshape(-1, *tiles, 2))


def _sum_terms(
    frames: NDArray[np.generic],
    detector: Detector,
    displacement: Float64,
    *,
    weights: Float,  # (term, frame)
    tile_yx: tuple[int, int],
) -> Float:  # (term, y, x)
    sums = np.zeros((len(weights), *frames.shape[1:]), np.float32)
    wide = max(tile_yx[1], CACHED_COLUMNS // tile_yx[1] * tile_yx[1])
    areas = [
        (*rows, *columns)
        for rows in row_blocks(frames.shape[1], tile_yx[0])
        for columns in row_blocks(frames.shape[2], wide)
    ]
    for_each(
        lambda area: sum_moved_tiles(frames, area, tile_yx, displacement, weights, detector.correction, sums), areas
    )
    return sums


def _transformed(pictures: Float, kept_yx: tuple[int, int]) -> Complex:  # (term, y, x)
    """Half transforms of pictures (term, y, x), with the frequencies that a picture of the kept size has."""
    terms = np.empty((len(pictures), kept_yx[0], kept_yx[1] // 2 + 1), np.complex64)
    rows = _kept_rows(pictures.shape[1], kept_yx[0])
    for term, picture in zip(terms, pictures, strict=True):
        transform = np.asarray(scipy.fft.rfft2(picture, workers=available_cores()))
        term[:] = _cropped(transform, rows, terms.shape[2])
    return terms


def _kept_rows(height: int, kept: int) -> NDArray[np.int64]:
    """Rows of a transform that remain when high frequencies are left out."""
    return np.concatenate([np.arange((kept + 1) // 2), np.arange(height - kept // 2, height)])


def _cropped(transform: Complex, rows: NDArray[np.int64], columns: int) -> Complex:
    if len(rows) == len(transform) and columns == transform.shape[1]:
        return transform
    return np.ascontiguousarray(transform[rows, :columns])


def _back(transform: Complex, shape_yx: tuple[int, int]) -> Float:
    picture = scipy.fft.irfft2(transform, s=shape_yx, workers=available_cores(), overwrite_x=True)
    return np.asarray(picture, dtype=np.float32)


def _transfer_power(
    displacement: Float64,  # (frame, tile y, tile x, yx)
    weights: Float64,  # (frequency, frame)
) -> tuple[Float, Float]:
    """Power that B-spline and shifts leave, as amplitudes (group, m, n) of cos(2π m fy) cos(2π n fx).

    Frames are taken in a few groups, because dose weights prefer the early ones. The second result is the part
    (group, frequency) that each group has in the noise; at frequency 0 weights are alike.
    """
    frame_count = len(displacement)
    groups = np.array_split(np.arange(frame_count), min(frame_count, FRAME_GROUPS))
    power = []
    for frames in groups:
        along_y, along_x = (_spline_power(displacement[frames, ..., axis].ravel()) for axis in (0, 1))
        power.append(along_y.T @ along_x / len(along_y))
    part = np.array([(weights[:, frames] ** 2).sum(axis=1) / frame_count for frames in groups])
    return np.asarray(power, np.float32), part.astype(np.float32)


def _spline_power(shifts: Float64) -> Float64:  # (shift, wave)
    """Squared transfer of the taps of shifts, Σ amplitude[m] cos(2π m f)."""
    fraction = shifts - np.floor(shifts)
    rest = 1 - fraction
    taps = np.array(
        [rest**3, 4 - 6 * fraction**2 + 3 * fraction**3, 4 - 6 * rest**2 + 3 * rest**3, fraction**3],
    )
    products = [(taps[: 4 - lag] * taps[lag:]).sum(axis=0) * (1 if lag == 0 else 2) for lag in range(4)]
    return np.stack(products, axis=1) / 36


def _waves(frequencies: Float) -> Float:  # (wave, frequency)
    return np.asarray(np.cos(2 * np.pi * np.arange(4)[:, None] * frequencies), np.float32)
