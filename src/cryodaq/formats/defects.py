"""Defects of a camera: SerialEM's lists, and masks as pictures.

SerialEM's list names columns, rows, parts of them, and single pixels, counted from 0, rows from the top of the picture
as its gain reference has it. In a mask every pixel that is not 0 is a defect. Source: the list as SerialEM writes it
beside frames (`defects_*.txt`), and K3 masks of a facility's session.
"""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import FormatError

MAX_SIDE_PX = 16_384
MAX_LIST_BYTES = 8_000_000
MOST_DEFECTIVE = 0.25
"""Largest share of pixels that may be defects; no camera is sold with more."""

Mask = NDArray[np.bool_]


def read_defects(path: Path) -> Mask:  # (y, x)
    """Return which pixels are defects, from a list (`.txt`) or a mask.

    Raises
    ------
    FormatError
        It is neither, is damaged, or calls more than a quarter of the camera defective.
    """
    if path.suffix.lower() == ".txt":
        if path.stat().st_size > MAX_LIST_BYTES:
            raise FormatError(path, problem=f"it is larger than {MAX_LIST_BYTES} bytes")
        mask = parse_defect_list(path.read_text(encoding="utf-8", errors="replace"), path=path)
    else:
        from cryodaq.formats.movie import read_frames

        sections = read_frames(path)
        if sections.shape[0] != 1:
            raise FormatError(path, problem=f"it has {sections.shape[0]} images where one mask is expected")
        mask = sections[0] != 0
    if mask.mean() > MOST_DEFECTIVE:
        raise FormatError(path, problem=f"it calls {mask.mean():.0%} of the camera defective")
    return mask


def parse_defect_list(text: str, *, path: PurePath) -> Mask:  # (y, x)
    """Return which pixels SerialEM's list calls defective; `path` is for messages. Raises `FormatError`."""
    entries = [words for line in text.split("\n") if (words := line.split())]
    columns, rows = (_size(entries, key, path=path) for key in ("CameraSizeX", "CameraSizeY"))
    mask = np.zeros((rows, columns), np.bool_)
    for words in entries:
        key = words[0].lower()
        if key not in _MARKS:
            continue
        try:
            numbers = [int(word) for word in words[1:]]
        except ValueError as error:
            raise FormatError(path, problem=f"{words[0]} holds something that is no number: {error}") from error
        if any(number < 0 for number in numbers):
            raise FormatError(path, problem=f"{words[0]} holds a negative number")
        _MARKS[key](mask, numbers, path)
    return mask


def scaled_to(mask: Mask, shape_yx: tuple[int, int]) -> Mask | None:
    """Return the defects at another size: the same, or twice or half of it (super-resolution); None for others."""
    rows, columns = mask.shape
    if shape_yx == (rows, columns):
        return mask
    if shape_yx == (2 * rows, 2 * columns):
        return np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1)
    if (2 * shape_yx[0], 2 * shape_yx[1]) == (rows, columns):
        return np.asarray(mask.reshape(shape_yx[0], 2, shape_yx[1], 2).any(axis=(1, 3)), np.bool_)
    return None


def _size(entries: list[list[str]], key: str, *, path: PurePath) -> int:
    for words in entries:
        if words[0].lower() == key.lower() and len(words) > 1 and words[1].isdigit() and len(words[1]) < 7:
            size = int(words[1])
            if 0 < size <= MAX_SIDE_PX:
                return size
    raise FormatError(path, problem=f"it does not say {key}: it is no list of defects that SerialEM wrote")


def _bad_columns(mask: Mask, numbers: list[int], _: PurePath) -> None:
    for column in numbers:
        mask[:, column : column + 1] = True


def _bad_rows(mask: Mask, numbers: list[int], _: PurePath) -> None:
    for row in numbers:
        mask[row : row + 1] = True


def _partial_column(mask: Mask, numbers: list[int], path: PurePath) -> None:
    column, width, first, last = _four(numbers, path)
    mask[first : last + 1, column : column + width] = True


def _partial_row(mask: Mask, numbers: list[int], path: PurePath) -> None:
    row, height, first, last = _four(numbers, path)
    mask[row : row + height, first : last + 1] = True


def _pixels(mask: Mask, numbers: list[int], path: PurePath) -> None:
    if len(numbers) % 2:
        raise FormatError(path, problem="BadPixels holds half a pair")
    for column, row in zip(numbers[::2], numbers[1::2], strict=True):
        mask[row : row + 1, column : column + 1] = True


def _four(numbers: list[int], path: PurePath) -> tuple[int, int, int, int]:
    if len(numbers) != 4:
        raise FormatError(path, problem=f"a partial defect has {len(numbers)} numbers, 4 are expected")
    return numbers[0], numbers[1], numbers[2], numbers[3]


_MARKS = {
    "badcolumns": _bad_columns,
    "badrows": _bad_rows,
    "partialbadcolumn": _partial_column,
    "partialbadrow": _partial_row,
    "badpixels": _pixels,
}
