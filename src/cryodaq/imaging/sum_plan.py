"""What both sums of a movie are made of: which tile moves by how much, which few products the weights are.

The plan is the same wherever the sums are computed, on cores or on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.imaging.dose_weighting import low_rank
from cryodaq.imaging.motion_field import MotionField

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

TILE_ROWS = 16
TILE_COLUMNS = (256, 128, 64, 32)
LARGEST_STEP_PX = 0.2
"""Root mean square difference between the displacements of neighbouring tiles; within one it errs by its 12th root."""
FLATTEST_POWER = np.float32(0.05**2)
"""Smallest power transfer that is divided out."""
FRAME_GROUPS = 5
ENOUGH_SHIFTS = 20_000
"""Shifts of tiles whose mean is as good as that of all of them."""
PLAIN_EMPHASIS = 30.0
"""How much more than an error of a dose weight one of the plain sum counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseCurve:
    """Weights (frequency, frame) at equally spaced frequencies from 0, cycles per pixel."""

    step: float
    weights: Float64

    def of(self, frames: slice) -> DoseCurve:
        """The weights of some of the frames."""
        return DoseCurve(step=self.step, weights=self.weights[:, frames])


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPlan:
    """Everything about both sums but the counts."""

    kept_yx: tuple[int, int]
    """Of the sums, smaller than the frames where they are binned."""
    whole_yx: tuple[int, int]
    """Of what is added up and transformed: the frames, going round for as long as makes transforms fast."""
    whole_kept_yx: tuple[int, int]
    """What remains of that when it is binned; the sums are its beginning."""
    tile_yx: tuple[int, int]
    displacement: Float64  # (frame, tile y, tile x, yx), pixels of the frames
    weights: Float  # (term, frame), with which frames are added into terms
    plain_factors: Float  # (term,), with which terms make the plain sum
    dose_curves: Float  # (term, frequency), with which they make the weighted sum
    power: Float  # (group, m, n), amplitudes of what shifts and spline leave of each group's noise
    shares: Float  # (group, frequency), each group's part in the weighted sum's noise
    axes: tuple[Float, Float]  # frequencies that are kept, cycles per pixel along y and x
    per_step: float
    """Points of the curves per cycle per pixel."""

    @property
    def waves(self) -> tuple[Float, Float]:
        """Cosines (m, y) and (n, x) that `power` has the amplitudes of."""
        return _waves(self.axes[0]), _waves(self.axes[1])

    @property
    def kept_rows(self) -> NDArray[np.int64]:
        """Rows of the transforms that are kept."""
        return kept_rows(self.whole_yx[0], self.whole_kept_yx[0])


def plan_sums(field: MotionField, dose: DoseCurve, *, kept_yx: tuple[int, int]) -> SumPlan:
    """Choose tiles fine enough for the field, and as few terms as the weights allow."""
    # The last row asks for the plain sum, which the same products then give as well, all but exactly.
    wanted = np.concatenate([dose.weights, np.ones((1, field.frame_count))])
    emphasis = np.append(np.ones(len(dose.weights)), PLAIN_EMPHASIS)
    curves, coefficients = low_rank(wanted, emphasis=emphasis)
    tile_yx = TILE_ROWS, _tile_columns(field)
    sizes = [_fast_sizes(n, kept) for n, kept in zip(field.shape_yx, kept_yx, strict=True)]
    (height, width), (kept_height, kept_width) = zip(*sizes, strict=True)
    tiles = -(-height // tile_yx[0]), -(-width // tile_yx[1])
    displacement = _tile_displacements(field, tile_yx=tile_yx, tiles=tiles)
    power, shares = _transfer_power(displacement, dose.weights)
    frequency_y = scipy.fft.fftfreq(height)[kept_rows(height, kept_height)]
    frequency_x = scipy.fft.rfftfreq(width)[: kept_width // 2 + 1]
    return SumPlan(
        kept_yx=kept_yx,
        whole_yx=(height, width),
        whole_kept_yx=(kept_height, kept_width),
        tile_yx=tile_yx,
        displacement=displacement,
        weights=np.ascontiguousarray(coefficients, dtype=np.float32),
        plain_factors=curves[-1].astype(np.float32),
        dose_curves=np.ascontiguousarray(curves[:-1].T, dtype=np.float32),
        power=power,
        shares=shares,
        axes=(frequency_y.astype(np.float32), frequency_x.astype(np.float32)),
        per_step=1 / dose.step,
    )


def _fast_sizes(size: int, kept: int) -> tuple[int, int]:
    """Sizes, a little larger in the same ratio, whose transforms are fast; 31 is a factor of a K3's 4092 rows."""
    if size % kept:
        return size, kept
    fast = int(scipy.fft.next_fast_len(kept))
    return size // kept * fast, fast


def kept_rows(height: int, kept: int) -> NDArray[np.int64]:
    """Rows of a transform that remain when high frequencies are left out."""
    return np.concatenate([np.arange((kept + 1) // 2), np.arange(height - kept // 2, height)])


def _tile_columns(field: MotionField) -> int:
    steepness = field.steepness()
    return next((n for n in TILE_COLUMNS if n * steepness <= LARGEST_STEP_PX), TILE_COLUMNS[-1])


def _tile_displacements(field: MotionField, *, tile_yx: tuple[int, int], tiles: tuple[int, int]) -> Float64:
    """(frame, tile y, tile x, yx) in the middles of tiles, the last of which may reach out of the frame."""
    middles = [(np.arange(n, dtype=np.float64) + 0.5) * size - 0.5 for n, size in zip(tiles, tile_yx, strict=True)]
    return np.ascontiguousarray(field.on_grid(*middles))


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
        shifts = displacement[frames].reshape(-1, 2)
        some = shifts[:: max(1, len(shifts) // ENOUGH_SHIFTS)]
        along_y, along_x = (_spline_power(some[:, axis]) for axis in (0, 1))
        power.append(np.einsum("sm,sn->mn", along_y, along_x) / len(along_y))
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
