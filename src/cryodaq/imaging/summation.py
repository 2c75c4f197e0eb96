"""Sums of aligned frames: plain and dose weighted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.imaging.cores import available_cores, for_each
from cryodaq.imaging.detector import Detector, row_blocks
from cryodaq.imaging.motion_field import MotionField
from cryodaq.imaging.movie_kernels import sum_moved_tiles
from cryodaq.imaging.sum_plan import DoseCurve, SumPlan, kept_rows, plan_sums
from cryodaq.imaging.term_kernels import combine_pairs
from cryodaq.imaging.workspace import Workspace

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
    stacks: Iterable[NDArray[np.generic]],  # (frame, y, x) each, as `countable` returns them
    *,
    detector: Detector,
    field: MotionField,
    dose: DoseCurve,
    binned_shape_yx: tuple[int, int] | None = None,
    device: str | None = None,
    workspace: Workspace | None = None,
) -> AlignedSums:
    """Unweighted and dose-weighted sum of frames moved back by their displacement.

    Interpolates with cubic B-splines (M. Unser, IEEE Signal Processing Magazine 16 (1999) 22), each small tile
    with one displacement. All frames are added into the few sums that the dose weights are products of; the
    spline's prefilter, and the loss of high frequencies by the fractional shifts, are divided out of the
    sums once, so noise stays white.

    Parameters
    ----------
    stacks
        All frames in order, some at a time; one stack of all is fastest.
    binned_shape_yx
        Size of the sums when they are binned, by leaving out high frequencies; counts of pixels add up.
    device
        torch's name of a GPU; None: this machine's cores.
    workspace
        Memory that earlier steps are done with; the sums lie in it.
    """
    plan = plan_sums(field, dose, kept_yx=binned_shape_yx or field.shape_yx)
    if device is not None:
        from cryodaq.imaging.torch_sums import sum_on_device

        unweighted, dose_weighted = sum_on_device(stacks, detector=detector, plan=plan, device=device)
        return AlignedSums(unweighted=unweighted, dose_weighted=dose_weighted)
    workspace = workspace or Workspace()
    pairs = _sum_terms(stacks, detector, plan, workspace)
    for pair in pairs:
        _transform_in_place(scipy.fft.fft2, pair)
    both = workspace.empty(plan.whole_kept_yx, np.complex64)
    curves = plan.plain_factors, plan.dose_curves, plan.shares
    given = curves, plan.power, plan.waves, (*plan.axes, plan.per_step)
    rows = len(both) // 2 + 1
    for_each(
        lambda block: combine_pairs(pairs, *given, both, block), row_blocks(rows, -(-rows // (4 * available_cores())))
    )
    workspace.give_back(pairs)
    _transform_in_place(scipy.fft.ifft2, both)
    sums = workspace.empty((2, *plan.kept_yx), np.float32)
    for_each(lambda block: _split(both, sums, block), row_blocks(plan.kept_yx[0], 64))
    workspace.give_back(both)
    return AlignedSums(unweighted=sums[0], dose_weighted=sums[1])


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


def _sum_terms(
    stacks: Iterable[NDArray[np.generic]], detector: Detector, plan: SumPlan, workspace: Workspace
) -> Complex:  # (pair, y, x)
    """Terms of the sums, two of them as the real and the imaginary part of one picture."""
    pairs = workspace.empty(((len(plan.weights) + 1) // 2, *plan.whole_yx), np.complex64)
    wide = max(plan.tile_yx[1], CACHED_COLUMNS // plan.tile_yx[1] * plan.tile_yx[1])
    areas = [
        (*rows, *columns)
        for rows in row_blocks(plan.whole_yx[0], plan.tile_yx[0])
        for columns in row_blocks(plan.whole_yx[1], wide)
    ]
    first = 0
    for frames in stacks:
        some = slice(first, first + len(frames))
        moves = plan.displacement[some], np.ascontiguousarray(plan.weights[:, some])
        given = plan.tile_yx, *moves, detector.correction, pairs, first
        for_each(partial(_move_and_add, frames, given), areas)
        first += len(frames)
        # The next stack may need the memory of this one.
        del frames
    return pairs


def _move_and_add(
    frames: NDArray[np.generic],
    given: tuple[Any, ...],  # Any: what the compiled loop takes
    area: tuple[int, int, int, int],
) -> None:
    sum_moved_tiles(frames, area, *given)


def _transform_in_place(transform: Callable[..., Any], picture: Complex) -> None:  # Any: scipy has no types
    made = transform(picture, workers=available_cores(), overwrite_x=True)
    if not np.may_share_memory(made, picture):
        picture[:] = made


def _split(pair: Complex, pictures: Float, rows: tuple[int, int]) -> None:
    """Real and imaginary part of some rows as two pictures (2, y, x), which are perhaps a little smaller."""
    some, columns = slice(*rows), slice(pictures.shape[2])
    pictures[0, some], pictures[1, some] = pair[some, columns].real, pair[some, columns].imag


def _cropped(transform: Complex, rows: NDArray[np.int64], columns: int) -> Complex:
    if len(rows) == len(transform) and columns == transform.shape[1]:
        return transform
    return np.ascontiguousarray(transform[rows, :columns])


def _back(transform: Complex, shape_yx: tuple[int, int]) -> Float:
    picture = scipy.fft.irfft2(transform, s=shape_yx, workers=available_cores(), overwrite_x=True)
    return np.asarray(picture, dtype=np.float32)
