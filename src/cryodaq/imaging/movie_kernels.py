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

unsigned = np.uint64
"""Indices that cannot be negative: loops over them need no test for counting from the end, and run several at once."""

AT_ONCE = 4
"""Moved frames that are added at once: each sum is then fetched and stored a quarter as often."""


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
    places: tuple[Float, Float],  # (y,), (x,), where each row and column lies between tiles
    outside: NDArray[np.bool_],  # (y, x), written
    row_range: tuple[int, int],
) -> None:
    """Compare the pixels of some rows with limits that are interpolated between tiles."""
    at_y, at_x = places
    for y in range(row_range[0], row_range[1]):
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
def bin_rows(
    frames: Counts,  # (frame, y, x)
    first: int,  # which frame of the movie is the first of these
    row_range: tuple[int, int],  # of the binned frames
    correction: tuple[Float, Index, Index, Index],  # gain, bad_start, bad_columns, donors
    binned: Float,  # (frame, y // bin, x // bin), some rows are written
) -> None:
    """Add up squares of pixels in some rows of all frames; what does not fill a last square is left out.

    All frames pass by the same few rows of the gain reference, which stay in the processor's cache.
    """
    gain, bad_start, bad_columns, donors = correction
    size, width = frames.shape[1] // binned.shape[1], frames.shape[2]
    row = np.empty(width, np.float32)
    for y in range(row_range[0], row_range[1]):
        for f in range(frames.shape[0]):
            row[:] = 0
            for source_y in range(y * size, (y + 1) * size):
                counts, factors = frames[f, source_y], gain[source_y]
                for x in range(width):
                    row[x] += np.float32(counts[x]) * factors[x]
                for bad in range(bad_start[source_y], bad_start[source_y + 1]):
                    source, x = donors[bad, (first + f + bad) % donors.shape[1]], bad_columns[bad]
                    donor_y, donor_x = source // width, source % width
                    row[x] -= np.float32(counts[x]) * factors[x]
                    row[x] += np.float32(frames[f, donor_y, donor_x]) * gain[donor_y, donor_x]
            add_columns(row, size, binned[f, y])


@inlined
def add_columns(row: Float, size: int, binned: Float) -> None:
    """Add up `size` pixels side by side; the sizes of usual cameras have loops without a loop inside."""
    if size == 3:
        for x in range(binned.shape[0]):
            at = unsigned(3 * x)
            binned[x] = row[at] + row[at + unsigned(1)] + row[at + unsigned(2)]
    else:
        for x in range(binned.shape[0]):
            value = np.float32(0)
            for column in range(size):
                value += row[x * size + column]
            binned[x] = value


@compiled
def add_squares(picture: Float, size: int, binned: Float) -> None:
    """Add up squares of `size` pixels; what lies beyond the binned picture is left out."""
    for y in range(binned.shape[0]):
        for x in range(binned.shape[1]):
            value = np.float32(0)
            for row in range(size):
                for column in range(size):
                    value += picture[y * size + row, x * size + column]
            binned[y, x] = value


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
    frames: Counts,  # (frame, y, x)
    which: tuple[int, int, int],  # frame, y, first x; the latter may lie outside
    whole: int,  # pixels after which the row begins anew; beyond its end it shows what it begins with
    correction: tuple[Float, Index, Index, Index],  # gain, bad_start, bad_columns, donors
    piece: Float,  # written
    length: int,
) -> None:
    """Part of a row as float32, times gain, bad pixels replaced, going round at the ends."""
    gain, bad_start, bad_columns, donors = correction
    f, y, first = which
    width = frames.shape[2]
    if first >= 0 and first + length <= width:
        for x in range(length):
            at = unsigned(first + x)
            piece[x] = np.float32(frames[f, y, at]) * gain[y, at]
    else:
        for x in range(length):
            at = unsigned((first + x) % whole % width)
            piece[x] = np.float32(frames[f, y, at]) * gain[y, at]
    for bad in range(bad_start[y], bad_start[y + 1]):
        source = donors[bad, (f + bad) % donors.shape[1]]
        donor_y, donor_x = source // width, source % width
        for column in range(bad_columns[bad], whole, width):
            for place in range((column - first) % whole, length, whole):
                piece[place] = np.float32(frames[f, donor_y, donor_x]) * gain[donor_y, donor_x]


@inlined
def whole_shifts(moved_yx: NDArray[np.float64]) -> tuple[int, int, int, int]:  # (tile, yx)
    """Smallest and largest whole pixels by which tiles moved, along y and along x."""
    low_y = high_y = int(np.floor(moved_yx[0, 0]))
    low_x = high_x = int(np.floor(moved_yx[0, 1]))
    for number in range(1, moved_yx.shape[0]):
        y, x = int(np.floor(moved_yx[number, 0])), int(np.floor(moved_yx[number, 1]))
        low_y, high_y, low_x, high_x = min(low_y, y), max(high_y, y), min(low_x, x), max(high_x, x)
    return low_y, high_y, low_x, high_x


@inlined
def move_tile(
    counted: Float,  # (y, x), from one pixel above and left of what the tile shows on
    moved_yx: tuple[float, float],  # 0 to 1
    across: Float,  # (tall + 3) * wide
    tile: Float,  # tall * wide, written
    wide: int,
) -> None:
    """Move one tile back by part of a pixel. Its rows lie behind each other: one long loop is faster than many."""
    y0, y1, y2, y3 = spline_taps(moved_yx[0])
    x0, x1, x2, x3 = spline_taps(moved_yx[1])
    row = unsigned(wide)
    for r in range(across.shape[0] // wide):
        source, target = counted[r], across[r * wide : (r + 1) * wide]
        for at in range(wide):
            x = unsigned(at)
            target[x] = (
                x0 * source[x]
                + x1 * source[x + unsigned(1)]
                + x2 * source[x + unsigned(2)]
                + x3 * source[x + unsigned(3)]
            )
    for at in range(tile.shape[0]):
        i = unsigned(at)
        tile[i] = (
            y0 * across[i]
            + y1 * across[i + row]
            + y2 * across[i + unsigned(2) * row]
            + y3 * across[i + unsigned(3) * row]
        )


@inlined
def move_area(
    frames: Counts,  # (frame, y, x)
    place: tuple[int, int, int, int],  # frame, first row and column, rows
    whole_yx: tuple[int, int],  # after which the frame begins anew
    moved_yx: NDArray[np.float64],  # (tile, yx)
    correction: tuple[Float, Index, Index, Index],  # gain, bad_start, bad_columns, donors
    across: Float,  # scratch, (rows + 3) * columns of a tile
    tiles: Float,  # tile after tile, written
) -> None:
    """Move the tiles of one frame that lie beside each other back, each by its displacement."""
    f, top, left, tall = place
    tile_size = tiles.shape[0] // moved_yx.shape[0]
    wide = tile_size // tall
    low_y, high_y, low_x, high_x = whole_shifts(moved_yx)
    length = moved_yx.shape[0] * wide + 3 + high_x - low_x
    counted = np.empty((tall + 3 + high_y - low_y, length), np.float32)
    for r in range(counted.shape[0]):
        y = (top + r + low_y - 1) % whole_yx[0] % frames.shape[1]
        corrected_piece(frames, (f, y, left + low_x - 1), whole_yx[1], correction, counted[r], length)
    for number in range(moved_yx.shape[0]):
        y, x = np.floor(moved_yx[number, 0]), np.floor(moved_yx[number, 1])
        seen = counted[int(y) - low_y :, number * wide + int(x) - low_x :]
        rest = moved_yx[number, 0] - y, moved_yx[number, 1] - x
        move_tile(seen, rest, across, tiles[number * tile_size : (number + 1) * tile_size], wide)


@inlined
def add_weighted(
    moved: Float,  # (AT_ONCE, pixel)
    weights: Float,  # (term, AT_ONCE)
    terms: Float,  # (term, pixel), added to
) -> None:
    """Add a few frames into each term with their weights."""
    for term in range(terms.shape[0]):
        w0, w1, w2, w3 = weights[term, 0], weights[term, 1], weights[term, 2], weights[term, 3]
        for at in range(terms.shape[1]):
            i = unsigned(at)
            terms[term, i] += w0 * moved[0, i] + w1 * moved[1, i] + w2 * moved[2, i] + w3 * moved[3, i]


@compiled
def sum_moved_tiles(
    frames: Counts,  # (frame, y, x)
    area: tuple[int, int, int, int],  # first and last row, first and last column; one row of tiles, from a corner on
    tile_yx: tuple[int, int],
    displacement: NDArray[np.float64],  # (frame, tile y, tile x, 2)
    weights: Float,  # (term, frame)
    correction: tuple[Float, Index, Index, Index],  # gain, bad_start, bad_columns, donors
    pairs: NDArray[np.complex64],  # (pair, y, x), written, or added to
    earlier: int,  # frames of the movie that are in them already
) -> None:
    """Move frames back by the displacement of each tile, and add them into several weighted sums at once.

    Two sums are the real and the imaginary part of one picture. The area stays in cache while all frames pass
    by. Taps are cubic B-spline values of the raw pixels; the spline's prefilter is left to be applied once, to the
    sums (it commutes with the shifts). What moves out at one side comes in at the other, as with a shift in
    Fourier space; where the pictures are larger than the frames, these show at their end what they begin with.
    """
    tall, wide, first_column = area[1] - area[0], tile_yx[1], area[2]
    tile_count = -(-(area[3] - first_column) // wide)
    across = np.empty((tall + 3) * wide, np.float32)
    moved = np.zeros((AT_ONCE, tile_count * tall * wide), np.float32)
    terms = np.zeros((2 * pairs.shape[0], tile_count * tall * wide), np.float32)
    share = np.zeros((len(terms), AT_ONCE), np.float32)
    row, column = area[0] // tile_yx[0], first_column // wide
    for first in range(0, frames.shape[0], AT_ONCE):
        count = min(AT_ONCE, frames.shape[0] - first)
        share[:, count:] = 0
        share[: len(weights), :count] = weights[:, first : first + count]
        for k in range(count):
            moved_yx = displacement[first + k, row, column : column + tile_count]
            place = first + k, area[0], first_column, tall
            move_area(frames, place, pairs.shape[1:], moved_yx, correction, across, moved[k])
        add_weighted(moved, share, terms[: len(weights)])
    for pair in range(pairs.shape[0]):
        for number in range(tile_count):
            left = first_column + number * wide
            for y in range(tall):
                at = (number * tall + y) * wide
                for x in range(min(wide, area[3] - left)):
                    value = complex(terms[2 * pair, at + x], terms[2 * pair + 1, at + x])
                    if earlier:
                        value += pairs[pair, area[0] + y, left + x]
                    pairs[pair, area[0] + y, left + x] = value
