"""Sums of aligned frames: plain and dose weighted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.imaging.compiled import available_cores, for_each
from cryodaq.imaging.detector import Detector, row_blocks
from cryodaq.imaging.motion_field import MotionField
from cryodaq.imaging.movie_kernels import sum_moved_tiles
from cryodaq.imaging.sum_plan import DoseCurve, SumPlan, kept_rows, plan_sums
from cryodaq.imaging.term_kernels import combine_terms

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

CACHED_COLUMNS = 512


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
    device: str | None = None,
) -> AlignedSums:
    """Unweighted and dose-weighted sum of frames moved back by their displacement.

    Interpolates with cubic B-splines (M. Unser, IEEE Signal Processing Magazine 16 (1999) 22), each small tile
    with one displacement. All frames are added into the few sums that the dose weights are products of; the
    spline's prefilter, and the loss of high frequencies by the fractional shifts, are divided out of the
    sums once, so noise stays white.

    Parameters
    ----------
    binned_shape_yx
        Size of the sums when they are binned, by leaving out high frequencies; counts of pixels add up.
    device
        torch's name of a GPU; None: this machine's cores.
    """
    plan = plan_sums(field, dose, kept_yx=binned_shape_yx or (frames.shape[1], frames.shape[2]))
    if device is not None:
        from cryodaq.imaging.torch_sums import sum_on_device

        unweighted, dose_weighted = sum_on_device(frames, detector=detector, plan=plan, device=device)
        return AlignedSums(unweighted=unweighted, dose_weighted=dose_weighted)
    terms = _transformed(_sum_terms(frames, detector, plan), plan.kept_yx)
    both = np.empty((2, *terms.shape[1:]), np.complex64)
    curves = plan.plain_factors, plan.dose_curves, plan.shares
    given = curves, plan.power, plan.waves, (*plan.axes, plan.per_step)
    for_each(
        lambda block: combine_terms(terms, *given, both, block),
        row_blocks(plan.kept_yx[0], -(-plan.kept_yx[0] // (2 * available_cores()))),
    )
    return AlignedSums(unweighted=_back(both[0], plan.kept_yx), dose_weighted=_back(both[1], plan.kept_yx))


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
    return _back(_cropped(transform, kept_rows(len(picture), shape_yx[0]), shape_yx[1] // 2 + 1), shape_yx)


def _sum_terms(frames: NDArray[np.generic], detector: Detector, plan: SumPlan) -> Float:  # (term, y, x)
    sums = np.zeros((len(plan.weights), *frames.shape[1:]), np.float32)
    wide = max(plan.tile_yx[1], CACHED_COLUMNS // plan.tile_yx[1] * plan.tile_yx[1])
    areas = [
        (*rows, *columns)
        for rows in row_blocks(frames.shape[1], plan.tile_yx[0])
        for columns in row_blocks(frames.shape[2], wide)
    ]
    given = plan.tile_yx, plan.displacement, plan.weights, detector.correction, sums
    for_each(lambda area: sum_moved_tiles(frames, area, *given), areas)
    return sums


def _transformed(pictures: Float, kept_yx: tuple[int, int]) -> Complex:  # (term, y, x)
    """Half transforms of pictures (term, y, x), with the frequencies that a picture of the kept size has."""
    terms = np.empty((len(pictures), kept_yx[0], kept_yx[1] // 2 + 1), np.complex64)
    rows = kept_rows(pictures.shape[1], kept_yx[0])
    for term, picture in zip(terms, pictures, strict=True):
        transform = np.asarray(scipy.fft.rfft2(picture, workers=available_cores()))
        term[:] = _cropped(transform, rows, terms.shape[2])
    return terms


def _cropped(transform: Complex, rows: NDArray[np.int64], columns: int) -> Complex:
    if len(rows) == len(transform) and columns == transform.shape[1]:
        return transform
    return np.ascontiguousarray(transform[rows, :columns])


def _back(transform: Complex, shape_yx: tuple[int, int]) -> Float:
    picture = scipy.fft.irfft2(transform, s=shape_yx, workers=available_cores(), overwrite_x=True)
    return np.asarray(picture, dtype=np.float32)
