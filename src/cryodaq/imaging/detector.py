"""What the camera did to the picture: gain, defects, hot pixels, and checks that the counts are counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import ImagingError
from cryodaq.imaging.gain import checked_factors, fit_gain

if TYPE_CHECKING:
    from collections.abc import Iterator

Float = NDArray[np.float32]
Index = NDArray[np.int64]

HOT_PIXEL_SIGMA = 6.5
"""Deviation from background and neighbours beyond which a pixel is bad; 4·10⁷ good pixels stay below it."""
MOST_DEFECTIVE = 0.25
"""Largest share of pixels that may be bad; no camera is sold with more."""
TILE_PX = 64
DONORS = 8
ROWS_AT_ONCE = 128
"""Rows of a picture that one thread looks at in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """How to correct the raw counts of one movie; donors stand in for bad pixels, whatever their gain."""

    gain: Float  # (y, x)
    bad_start: Index  # (y + 1,), index of each row's first bad pixel
    bad_columns: Index  # (bad,)
    donors: Index  # (bad, donor), flat indices of good pixels nearby
    hot_pixels: int
    """Bad pixels found in the data, beyond the defects of the gain reference."""

    @property
    def correction(self) -> tuple[Float, Index, Index, Index]:
        """The arrays that the compiled loops take."""
        return self.gain, self.bad_start, self.bad_columns, self.donors

    def at_finer_pixels(self, factor: int) -> Detector:
        """The same detector in pixels so much smaller; each of a bad pixel's is stood in for by the donors' like."""
        rows_of_bad = np.repeat(np.arange(len(self.gain)), np.diff(self.bad_start))
        donor_y, donor_x = np.divmod(self.donors, self.gain.shape[1])
        part_y, part_x = (part.ravel() for part in np.mgrid[:factor, :factor])
        rows = (rows_of_bad[:, None] * factor + part_y).ravel()
        columns = (self.bad_columns[:, None] * factor + part_x).ravel()
        width = self.gain.shape[1] * factor
        donors = (donor_y * factor)[:, None] + part_y[:, None]
        donors = donors * width + (donor_x * factor)[:, None] + part_x[:, None]
        order = np.lexsort((columns, rows))
        return Detector(
            gain=np.repeat(np.repeat(self.gain, factor, axis=0), factor, axis=1),
            bad_start=np.searchsorted(rows[order], np.arange(len(self.gain) * factor + 1)).astype(np.int64),
            bad_columns=columns[order],
            donors=np.ascontiguousarray(donors.reshape(-1, self.donors.shape[1])[order]),
            hot_pixels=self.hot_pixels,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedSum:
    """A movie's plain sum, and what it says about the detector."""

    total: Float  # (y, x), counts after gain, bad pixels replaced
    detector: Detector
    mean_counts_per_px_frame: float
    counts_per_frame: NDArray[np.float64]  # (frame,), raw
    gain_orientation: str | None
    """How the reference lay against the movie (`gain.ORIENTATIONS`); None: none given, or already applied."""
    gain_orientation_certain: bool
    """Whether the movie itself showed that."""


def check_stack(frames: NDArray[np.generic]) -> None:
    """Raise ImagingError unless this has the axes of a movie."""
    if frames.ndim != 3 or 0 in frames.shape:
        problem = f"a movie has the axes (frame, y, x); this array has the shape {frames.shape}"
        raise ImagingError(problem)


def countable(frames: NDArray[np.generic]) -> tuple[NDArray[np.generic], float]:
    """Frames in one of the few types that loops are compiled for, and the largest value that is a count.

    Raises
    ------
    ImagingError
        When this is not a stack of frames of a type that cameras write.
    """
    check_stack(frames)
    kind = frames.dtype.newbyteorder("=")
    if kind not in (np.uint8, np.int8, np.uint16, np.int16, np.float32):
        problem = f"frames of type {kind} are not known; store them as uint8, int16, uint16 or float32"
        raise ImagingError(problem)
    native = np.ascontiguousarray(frames, dtype=kind)
    if kind == np.int8:
        return native.view(np.uint8), 127.0
    if kind == np.int16:
        return native.view(np.uint16), 32767.0
    return native, {"uint8": 255.0, "uint16": 65535.0}.get(kind.name, 1e9)


def check_gain(gain: NDArray[np.generic] | None, *, shape_yx: tuple[int, int]) -> Float:
    """Gain as float32 (1 everywhere without a reference).

    Raises
    ------
    ImagingError
        When the reference does not belong to frames of this shape, or is no gain reference.
    """
    if gain is None:
        return np.ones(shape_yx, np.float32)
    if gain.shape != shape_yx:
        hint = "; it is turned by 90 degrees" if gain.shape == shape_yx[::-1] and gain.ndim == 2 else ""
        problem = (
            f"the gain reference has the shape {gain.shape} (y, x), the frames {shape_yx}{hint}; "
            "give the gain reference that was taken with this camera mode"
        )
        raise ImagingError(problem)
    return checked_factors(gain)


def sum_frames(
    frames: NDArray[np.generic], *, gain: NDArray[np.generic] | None, usual_gain_orientation: str | None = None
) -> CorrectedSum:
    """Sum as recorded, gain applied, hot pixels found in it and replaced.

    Parameters
    ----------
    frames
        (frame, y, x), as `countable` returns them or as the camera wrote them.
    gain
        (y, x), multiplicative; 0 marks a defect.
    usual_gain_orientation
        What other movies of the camera showed (`gain.ORIENTATIONS`).

    Raises
    ------
    ImagingError
        For counts or a gain reference from which no true picture can come.
    """
    from cryodaq.imaging.bad_lines import mark_bad_lines
    from cryodaq.imaging.movie_kernels import sum_bad_pixels

    total, counts_per_frame = _checked_sum(frames)
    fitted = fit_gain(gain, total, frames=frames, usual=usual_gain_orientation)
    factors = fitted.factors
    defects = _multiplied(total, factors)
    bad = np.logical_or(find_hot_pixels(total, defects=defects), defects)
    mark_bad_lines(total, bad)
    hot_pixels = int(np.count_nonzero(bad)) - int(np.count_nonzero(defects))
    detector = make_detector(factors, bad=bad, hot_pixels=hot_pixels)
    sum_bad_pixels(countable(frames)[0], *detector.correction, total)
    mean = float(total.mean(axis=1).mean(dtype=np.float64)) / frames.shape[0]
    return CorrectedSum(
        total=total,
        detector=detector,
        mean_counts_per_px_frame=mean,
        counts_per_frame=counts_per_frame,
        gain_orientation=fitted.orientation,
        gain_orientation_certain=fitted.certain,
    )


def row_blocks(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """Split 0..height into blocks of rows."""
    for first in range(0, height, rows):
        yield first, min(height, first + rows)


def _checked_sum(frames: NDArray[np.generic]) -> tuple[Float, NDArray[np.float64]]:
    from cryodaq.imaging.cores import available_cores, for_each
    from cryodaq.imaging.movie_kernels import sum_count_rows, sum_rows

    counts, limit = countable(frames)
    total = np.empty(frames.shape[1:], np.float32)
    blocks = list(row_blocks(frames.shape[1], max(1, -(-frames.shape[1] // (4 * available_cores())))))
    per_frame = np.zeros((len(blocks), frames.shape[0]))
    wrong = np.zeros(len(blocks), np.int64)
    whole_numbers = counts.dtype.kind == "u"

    def add(number: int) -> None:
        if whole_numbers:
            wrong[number] = sum_count_rows(counts, blocks[number], total, per_frame[number]) > limit
        else:
            wrong[number] = sum_rows(counts, blocks[number], limit, total, per_frame[number])

    for_each(add, range(len(blocks)))
    if wrong.any():
        number = next(n for n, frame in enumerate(counts, start=1) if not ((frame >= 0) & (frame <= limit)).all())
        problem = (
            f"frame {number} holds values that are negative, not finite or absurd, so they are not counts; "
            "write the movie again as the camera counted it"
        )
        raise ImagingError(problem)
    counts_per_frame = per_frame.sum(axis=0)
    empty = np.flatnonzero(counts_per_frame == 0)
    if empty.size:
        problem = (
            f"frame {empty[0] + 1} holds no counts at all ({empty.size} of {frames.shape[0]} frames are empty); "
            "check the beam and the shutter, or leave empty frames out (throw, trunc)"
        )
        raise ImagingError(problem)
    return total, counts_per_frame


def _multiplied(total: Float, factors: Float) -> NDArray[np.bool_]:  # (y, x)
    """Apply the gain to a sum, in place; returns where the factors are 0, which marks a defect."""
    from cryodaq.imaging.cores import for_each

    defects = np.empty(total.shape, np.bool_)

    def multiply(rows: tuple[int, int]) -> None:
        some = slice(*rows)
        total[some] *= factors[some]
        np.equal(factors[some], 0, out=defects[some])

    for_each(multiply, row_blocks(len(total), ROWS_AT_ONCE))
    return defects


def find_hot_pixels(
    total: Float,  # (y, x)
    *,
    defects: NDArray[np.bool_],  # (y, x)
) -> NDArray[np.bool_]:  # (y, x)
    """Pixels that count too much or too little in a gain-corrected sum.

    Counts are made normal by Anscombe's transform, 2·sqrt(n + 3/8), after dividing by what one electron
    counts (the ratio of variance to mean). A bad pixel is far from the mean of its surroundings and from the
    median of its 5 x 5 neighbours, so an edge of carbon or of the beam is not taken for one.
    """
    from cryodaq.imaging.cores import for_each
    from cryodaq.imaging.movie_kernels import find_outside

    background, electron = _surroundings(total)
    if electron <= 0:
        return np.zeros(total.shape, np.bool_)
    limit = HOT_PIXEL_SIGMA / 2
    root = np.sqrt(background / electron + 0.375)
    high = electron * ((root + limit) ** 2 - 0.375)
    low = electron * (np.maximum(root - limit, 0) ** 2 - 0.375)
    places = [_between_tiles(n, count) for n, count in zip(total.shape, background.shape, strict=True)]
    suspects = np.empty(total.shape, np.bool_)

    def look(rows: tuple[int, int]) -> None:
        some = slice(*rows)
        find_outside(total, low, high, (places[0], places[1]), suspects, rows)
        np.greater(suspects[some], defects[some], out=suspects[some])

    for_each(look, row_blocks(len(total), ROWS_AT_ONCE))
    return _confirmed(suspects, total, electron=electron, limit=limit) if suspects.any() else suspects


def _surroundings(total: Float) -> tuple[Float, float]:
    """Mean of each tile (y, x) without its brightest pixels, and the ratio of variance to mean."""
    size = min(TILE_PX, *total.shape)
    rows, columns = (n // size for n in total.shape)
    # Every third pixel of a tile says as much about its background.
    tiles = total[: rows * size, : columns * size].reshape(rows, size, columns, size)[:, ::3, :, ::3]
    values = tiles.transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    brightest = int(0.99 * (values.shape[-1] - 1))
    values = np.partition(values, brightest, axis=-1)[..., : brightest + 1]
    mean, variance = values.mean(axis=-1), values.var(axis=-1)
    lit = mean > 0
    return mean, float(np.median(variance[lit] / mean[lit])) * 1.1 if lit.any() else 0.0


def _between_tiles(size: int, tiles: int) -> Float:
    """Where each pixel along an axis lies between the centres of tiles, in tiles."""
    place = (np.arange(size) + 0.5) / min(TILE_PX, size) - 0.5
    return np.clip(place, 0, tiles - 1).astype(np.float32)


def _confirmed(suspects: NDArray[np.bool_], total: Float, *, electron: float, limit: float) -> NDArray[np.bool_]:
    """Suspects that also differ from the median of their neighbours; `electron` is what one of them counts."""
    y, x = np.divmod(np.flatnonzero(suspects), suspects.shape[1])
    reach = np.arange(-2, 3)
    near_y = np.clip(y[:, None, None] + reach[:, None], 0, suspects.shape[0] - 1)
    near_x = np.clip(x[:, None, None] + reach[None, :], 0, suspects.shape[1] - 1)
    roots = np.sqrt(np.maximum(total[near_y, near_x].reshape(len(y), -1) / electron, 0) + 0.375)
    # The middle of the 25 is the suspect itself.
    own = roots[:, 12].copy()
    roots.partition(12, axis=1)
    far = np.abs(own - roots[:, 12]) > limit
    suspects[y[~far], x[~far]] = False
    return suspects


def make_detector(
    gain: Float,  # (y, x)
    *,
    bad: NDArray[np.bool_],  # (y, x)
    hot_pixels: int = 0,
) -> Detector:
    """Find donors for every bad pixel; the gain is kept, not copied.

    Raises
    ------
    ImagingError
        When so much of the detector is bad that its picture would be made up.
    """
    rows, columns = np.divmod(np.flatnonzero(bad), bad.shape[1])
    if len(rows) > MOST_DEFECTIVE * bad.size:
        problem = (
            f"{len(rows) / bad.size:.0%} of the pixels are defective or hot; "
            "check that the gain reference belongs to this camera"
        )
        raise ImagingError(problem)
    start = np.searchsorted(rows, np.arange(bad.shape[0] + 1)).astype(np.int64)
    return Detector(
        gain=gain,
        bad_start=start,
        bad_columns=columns.astype(np.int64),
        donors=_find_donors(bad, rows, columns),
        hot_pixels=hot_pixels,
    )


def _find_donors(bad: NDArray[np.bool_], rows: Index, columns: Index) -> Index:
    """(bad, donor) flat indices of good pixels, from as near as `DONORS` of them can be found."""
    donors = np.zeros((len(rows), DONORS), np.int64)
    missing = np.arange(len(rows))
    reach = 1
    while missing.size:
        # From wide windows a few positions are enough, and keep the memory small.
        offsets = np.arange(-reach, reach + 1)[:: max(1, reach // 4)]
        near_y = rows[missing, None, None] + offsets[:, None]
        near_x = columns[missing, None, None] + offsets[None, :]
        inside = (near_y >= 0) & (near_y < bad.shape[0]) & (near_x >= 0) & (near_x < bad.shape[1])
        flat = np.clip(near_y, 0, bad.shape[0] - 1) * bad.shape[1] + np.clip(near_x, 0, bad.shape[1] - 1)
        good = inside & ~bad.ravel()[flat]
        distance = np.where(good, offsets[:, None] ** 2 + offsets[None, :] ** 2, np.inf)
        nearest = np.argsort(distance.reshape(len(missing), -1), axis=1, kind="stable")[:, :DONORS]
        enough = good.sum(axis=(1, 2)) >= DONORS
        donors[missing[enough]] = np.take_along_axis(flat.reshape(len(missing), -1), nearest, axis=1)[enough]
        missing, reach = missing[~enough], reach * 2
        if reach > 2 * max(bad.shape):
            raise ImagingError("a bad pixel has no good neighbour; the picture is too small or too defective")
    return donors
