"""Loops over raw frames: sum, bin and move them, with gain and bad pixels corrected on the way.

Frames stay as the camera wrote them (usually uint8) and are turned into float32 row by row inside the
processor's cache: a whole movie in float32 would be four times as large, and slower to read.
Bad pixels arrive sorted by row: those of row y are `bad_columns[bad_start[y]:bad_start[y + 1]]`, and each is
replaced in each frame by one of its good neighbours ("donors", as flat indices).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.compiled import compiled, compiled_exactly, inlined

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Counts = NDArray[np.generic]


@compiled_exactly
def sum_rows(
    frames: Counts,  # (frame, y, x)
    row_range: tuple[int, int],
    limit: float,
    total: Float,  # (y, x), written
    frame_counts: NDArray[np.float64],  # (frame,), added to
) -> int:
    """Add all frames in some rows; returns how many values are not counts (NaN, negative, above `limit`)."""
    wrong = 0
    for y in range(row_range[0], row_range[1]):
        row = np.zeros(frames.shape[2], np.float32)
        for f in range(frames.shape[0]):
            counts = 0.0
            for x in range(frames.shape[2]):
                value = float(frames[f, y, x])
                wrong += not (value >= 0 and value <= limit)
                row[x] += value
                counts += value
            frame_counts[f] += counts
        total[y] = row
    return wrong


@compiled
def sum_count_rows(
    frames: Counts,  # (frame, y, x), uint8 or uint16
    row_range: tuple[int, int],
    total: Float,  # (y, x), written
    frame_counts: NDArray[np.float64],  # (frame,), added to
) -> int:
    """Add all frames in some rows, as whole numbers; returns the largest value."""
    highest = np.uint32(0)
    row = np.empty(frames.shape[2], np.uint32)
    for y in range(row_range[0], row_range[1]):
        row[:] = 0
        for f in range(frames.shape[0]):
            counts = np.uint32(0)
            source = frames[f, y]
            for x in range(source.shape[0]):
                value = np.uint32(source[x])
                highest = max(highest, value)
                row[x] = np.uint32(row[x] + value)
                counts = np.uint32(counts + value)
            frame_counts[f] += counts
        for x in range(row.shape[0]):
            total[y, x] = np.float32(row[x])
    return int(highest)


@compiled
def find_outside(
    total: Float,  # (y, x)
    low: Float,  # (tile y, tile x)
    high: Float,
    at_y: Float,  # (y,), where each row lies between tiles
    at_x: Float,
    outside: NDArray[np.bool_],  # (y, x), written
) -> None:
    """Compare each pixel with limits that are interpolated between tiles."""
    for y in range(total.shape[0]):
        upper = min(int(at_y[y]), max(low.shape[0] - 2, 0))
        lower = min(upper + 1, low.shape[0] - 1)
        share = at_y[y] - upper
        low_row = low[upper] * (1 - share) + low[lower] * share
        high_row = high[upper] * (1 - share) + high[lower] * share
        for x in range(total.shape[1]):
            left = min(int(at_x[x]), max(low.shape[1] - 2, 0))
            right = min(left + 1, low.shape[1] - 1)
            part = at_x[x] - left
            least = low_row[left] * (1 - part) + low_row[right] * part
            most = high_row[left] * (1 - part) + high_row[right] * part
            outside[y, x] = total[y, x] < least or total[y, x] > most


@inlined
def corrected_row(
    frame: Counts,  # (y, x)
    which: tuple[int, int],  # number of the frame, y
    gain: Float,
    bad_start: Index,
    bad_columns: Index,
    donors: Index,  # (bad pixel, neighbour)
    row: Float,  # written
) -> None:
    """One row of one frame as float32, times gain, bad pixels replaced."""
    f, y = which
    width = frame.shape[1]
    for x in range(width):
        row[x] = np.float32(frame[y, x]) * gain[y, x]
    for bad in range(bad_start[y], bad_start[y + 1]):
        source = donors[bad, (f + bad) % donors.shape[1]]
        donor_y, donor_x = source // width, source % width
        row[bad_columns[bad]] = np.float32(frame[donor_y, donor_x]) * gain[donor_y, donor_x]


@compiled
def sum_bad_pixels(
    frames: Counts,
    gain: Float,
    bad_start: Index,
    bad_columns: Index,
    donors: Index,
    total: Float,  # (y, x), the bad pixels are written
) -> None:
    """Give bad pixels of a plain sum what their donors counted."""
    width = frames.shape[2]
    for y in range(frames.shape[1]):
        for bad in range(bad_start[y], bad_start[y + 1]):
            value = np.float32(0)
            for f in range(frames.shape[0]):
                source = donors[bad, (f + bad) % donors.shape[1]]
                donor_y, donor_x = source // width, source % width
                value += np.float32(frames[f, donor_y, donor_x]) * gain[donor_y, donor_x]
            total[y, bad_columns[bad]] = value


@compiled
def bin_frame(
    frame: Counts,  # (y, x)
    number: int,
    gain: Float,
    bad_start: Index,
    bad_columns: Index,
    donors: Index,
    binned: Float,  # (y // bin, x // bin), written
) -> None:
    """Add up squares of pixels; what does not fill a last square is left out."""
    size = frame.shape[0] // binned.shape[0]
    row = np.empty(frame.shape[1], np.float32)
    for y in range(binned.shape[0]):
        binned[y] = 0
        for part in range(size):
            corrected_row(frame, (number, y * size + part), gain, bad_start, bad_columns, donors, row)
            for x in range(binned.shape[1]):
                value = np.float32(0)
                for column in range(size):
                    value += row[x * size + column]
                binned[y, x] += value


@inlined
def spline_taps(fraction: float) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Cubic B-spline at the samples -1, 0, 1, 2 around a position `fraction` behind sample 0."""
    rest = 1.0 - fraction
    return (
        np.float32(rest * rest * rest / 6),
        np.float32((4 - 6 * fraction * fraction + 3 * fraction * fraction * fraction) / 6),
        np.float32((4 - 6 * rest * rest + 3 * rest * rest * rest) / 6),
        np.float32(fraction * fraction * fraction / 6),
    )


@inlined
def corrected_piece(
    frame: Counts,  # (y, x)
    which: tuple[int, int, int],  # number of the frame, y, first x; the latter may lie outside
    gain: Float,
    bad_start: Index,
    bad_columns: Index,
    donors: Index,
    piece: Float,  # written
    length: int,
) -> None:
    """Part of a row as float32, times gain, bad pixels replaced, going round at the ends."""
    f, y, first = which
    width = frame.shape[1]
    if first >= 0 and first + length <= width:
        # Slices tell the compiler that no index wraps round, so that it can take many pixels at once.
        source_row, gain_row = frame[y, first : first + length], gain[y, first : first + length]
        for x in range(length):
            piece[x] = np.float32(source_row[x]) * gain_row[x]
    else:
        for x in range(length):
            piece[x] = np.float32(frame[y, (first + x) % width]) * gain[y, (first + x) % width]
    for bad in range(bad_start[y], bad_start[y + 1]):
        place = (bad_columns[bad] - first) % width
        if place < length:
            source = donors[bad, (f + bad) % donors.shape[1]]
            donor_y, donor_x = source // width, source % width
            piece[place] = np.float32(frame[donor_y, donor_x]) * gain[donor_y, donor_x]


@compiled
def sum_moved_tiles(
    frames: Counts,  # (frame, y, x)
    area: tuple[int, int, int, int],  # first and last row, first and last column; starts at a tile's corner
    tile_yx: tuple[int, int],
    displacement: NDArray[np.float64],  # (frame, tile y, tile x, 2)
    weights: Float,  # (sum, frame)
    correction: tuple[Float, Index, Index, Index],  # gain, bad_start, bad_columns, donors
    sums: Float,  # (sum, y, x), added to
) -> None:
    """Move frames back by the displacement of each tile, and add them into several weighted sums at once.

    The area stays in cache while all frames pass by. Taps are cubic B-spline values of the raw pixels; the
    spline's prefilter is left to be applied once, to the sums (it commutes with the shifts). What moves out
    at one side comes in at the other, as with a shift in Fourier space.
    """
    gain, bad_start, bad_columns, donors = correction
    height = frames.shape[1]
    rows = np.empty((tile_yx[0] + 3, tile_yx[1] + 3), np.float32)
    column = np.empty(tile_yx[1] + 3, np.float32)
    row = np.empty(tile_yx[1], np.float32)
    for f in range(frames.shape[0]):
        for top in range(area[0], area[1], tile_yx[0]):
            for left in range(area[2], area[3], tile_yx[1]):
                tall, wide = min(tile_yx[0], area[1] - top), min(tile_yx[1], area[3] - left)
                moved_y = displacement[f, top // tile_yx[0], left // tile_yx[1], 0]
                moved_x = displacement[f, top // tile_yx[0], left // tile_yx[1], 1]
                whole_y, whole_x = int(np.floor(moved_y)), int(np.floor(moved_x))
                y0, y1, y2, y3 = spline_taps(moved_y - whole_y)
                x0, x1, x2, x3 = spline_taps(moved_x - whole_x)
                for r in range(tall + 3):
                    source = (top + r + whole_y - 1) % height
                    which = (f, source, left + whole_x - 1)
                    corrected_piece(frames[f], which, gain, bad_start, bad_columns, donors, rows[r], wide + 3)
                for y in range(tall):
                    above, here, below, farther = rows[y], rows[y + 1], rows[y + 2], rows[y + 3]
                    for x in range(wide + 3):
                        column[x] = y0 * above[x] + y1 * here[x] + y2 * below[x] + y3 * farther[x]
                    for x in range(wide):
                        row[x] = x0 * column[x] + x1 * column[x + 1] + x2 * column[x + 2] + x3 * column[x + 3]
                    for s in range(sums.shape[0]):
                        weight = weights[s, f]
                        target = sums[s, top + y, left : left + wide]
                        for x in range(wide):
                            target[x] += weight * row[x]


@compiled
def add_weighted(
    part: NDArray[np.complex64],  # (y, x)
    frequencies: tuple[Float, Float],  # cycles per pixel along y and x
    per_step: float,  # 1 / distance of the curves' points
    curves: Float,  # (2, frequency), equally spaced from 0
    plain: NDArray[np.complex64],  # (y, x), added to
    weighted: NDArray[np.complex64],  # (y, x), added to
    row_range: tuple[int, int],
) -> None:
    """Add a half transform into two others, each with a weight that depends on the frequency."""
    frequency_y, frequency_x = frequencies
    last = curves.shape[1] - 2
    for y in range(row_range[0], row_range[1]):
        for x in range(part.shape[1]):
            radius = np.sqrt(frequency_y[y] * frequency_y[y] + frequency_x[x] * frequency_x[x]) * np.float32(per_step)
            below = min(int(radius), last)
            share = np.float32(radius - below)
            plain[y, x] += part[y, x] * (curves[0, below] + share * (curves[0, below + 1] - curves[0, below]))
            weighted[y, x] += part[y, x] * (curves[1, below] + share * (curves[1, below + 1] - curves[1, below]))


@compiled
def divide_out(
    plain: NDArray[np.complex64],  # (y, x), changed
    weighted: NDArray[np.complex64],  # (y, x), changed
    along_y: Float,  # (group, term, y)
    along_x: Float,  # (group, term, x)
    frequencies: tuple[Float, Float, float],  # cycles per pixel along y and x, points of the shares per cycle per pixel
    shares: Float,  # (group, frequency), each group's part of the weighted sum's noise
    least: float,
    row_range: tuple[int, int],
) -> None:
    """Divide by the root of the noise power, a sum over groups of frames, but never by less than `least`."""
    frequency_y, frequency_x, per_step = frequencies
    last, width = shares.shape[1] - 2, plain.shape[1]
    for y in range(row_range[0], row_range[1]):
        even = np.zeros(width, np.float32)
        uneven = np.zeros(width, np.float32)
        for group in range(along_y.shape[0]):
            power = np.zeros(width, np.float32)
            for term in range(along_y.shape[1]):
                for x in range(width):
                    power[x] += along_y[group, term, y] * along_x[group, term, x]
            for x in range(width):
                radius = np.sqrt(frequency_y[y] ** 2 + frequency_x[x] ** 2) * np.float32(per_step)
                below = min(int(radius), last)
                part = np.float32(radius - below)
                share = shares[group, below] + part * (shares[group, below + 1] - shares[group, below])
                even[x] += power[x] * shares[group, 0]
                uneven[x] += power[x] * share
        for x in range(width):
            plain[y, x] /= np.sqrt(max(even[x], np.float32(least * least)))
            weighted[y, x] /= np.sqrt(max(uneven[x], np.float32(least * least)))
