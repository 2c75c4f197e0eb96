"""Sums of aligned frames: plain and dose weighted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.imaging.compiled import available_cores, for_each
from cryodaq.imaging.detector import Detector, row_blocks
from cryodaq.imaging.dose_weighting import low_rank
from cryodaq.imaging.motion_field import MotionField
from cryodaq.imaging.movie_kernels import add_weighted, divide_out, sum_moved_tiles

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

TILE_ROWS = 32
TILE_COLUMNS = (512, 256, 128, 64, 32)
CACHED_COLUMNS = 1024
LARGEST_STEP_PX = 0.12
"""Largest difference between the displacements of neighbouring tiles."""
FLATTEST = 0.05
"""Smallest transfer that is divided out."""
SHIFT_CLASSES = 16
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
    sums = _sum_terms(frames, detector, displacement, weights=coefficients.astype(np.float32), tile_yx=tile_yx)
    shape: tuple[int, int] = frames.shape[1], frames.shape[2]
    kept = binned_shape_yx or shape
    plain, weighted = (np.zeros((kept[0], kept[1] // 2 + 1), np.complex64) for _ in range(2))
    axes = scipy.fft.fftfreq(shape[0]), scipy.fft.rfftfreq(shape[1])
    rows, columns = _kept_rows(shape[0], kept[0]), kept[1] // 2 + 1
    frequencies = axes[0][rows].astype(np.float32), axes[1][:columns].astype(np.float32)
    for term in range(len(coefficients)):
        part = _cropped(scipy.fft.rfft2(sums[term], workers=available_cores()), rows, columns)
        sums[term] = np.empty((0, 0), np.float32)
        both = np.stack([np.full(len(curves) - 1, curves[-1, term]), curves[:-1, term]]).astype(np.float32)
        _by_rows(lambda block: add_weighted(part, frequencies, 1 / dose.step, both, plain, weighted, block), kept[0])  # noqa: B023
    along_y, along_x, shares = _transfer_power(displacement, frequencies, dose.weights)
    rest = (along_y, along_x, (*frequencies, 1 / dose.step), shares, FLATTEST)
    _by_rows(lambda block: divide_out(plain, weighted, *rest, block), kept[0])
    unweighted = _back(plain, kept)
    return AlignedSums(unweighted=unweighted, dose_weighted=_back(weighted, kept))


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
    steepest = field.steepest()
    return next((n for n in TILE_COLUMNS if n * steepest <= LARGEST_STEP_PX), TILE_COLUMNS[-1])


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
) -> list[Float]:
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
    return list(sums)


def _by_rows(job: Callable[[tuple[int, int]], object], height: int) -> None:
    for_each(job, row_blocks(height, -(-height // (2 * available_cores()))))


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
    frequencies: tuple[Float, Float],
    weights: Float64,  # (frequency, frame)
) -> tuple[Float, Float, Float]:
    """Power that B-spline and shifts leave, as sums of products of (group, class, y) and (group, class, x).

    Frames are taken in a few groups, because dose weights prefer the early ones; within each, shifts are sorted into
    classes of their fraction along y, and each class has its mean power along x. The third result is the part
    (group, frequency) that each group has in the noise; at frequency 0 weights are alike.
    """
    frame_count = len(displacement)
    groups = np.array_split(np.arange(frame_count), min(frame_count, FRAME_GROUPS))
    middles = np.arange(SHIFT_CLASSES) / SHIFT_CLASSES
    classes_y, classes_x = (np.array([_spline_power(axis, shift) for shift in middles]) for axis in frequencies)
    along_y, along_x = [], []
    for frames in groups:
        number = np.rint(displacement[frames].reshape(-1, 2) * SHIFT_CLASSES).astype(int) % SHIFT_CLASSES
        shares = np.zeros((SHIFT_CLASSES, SHIFT_CLASSES))
        np.add.at(shares, (number[:, 0], number[:, 1]), 1 / len(number))
        along_y.append(classes_y)
        along_x.append(shares @ classes_x)
    part = np.array([(weights[:, frames] ** 2).sum(axis=1) / frame_count for frames in groups])
    return np.asarray(along_y, np.float32), np.asarray(along_x, np.float32), part.astype(np.float32)


def _spline_power(frequencies: Float, fraction: float) -> Float64:
    """Squared transfer of the taps of a shift by a fraction of a pixel."""
    rest = 1 - fraction
    taps = [rest**3, 4 - 6 * fraction**2 + 3 * fraction**3, 4 - 6 * rest**2 + 3 * rest**3, fraction**3]
    waves = np.exp(2j * np.pi * frequencies[:, None] * np.arange(-1, 3))
    return np.asarray(np.abs(waves @ (np.array(taps) / 6)) ** 2)
