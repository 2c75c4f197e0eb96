"""DigitalMicrograph files (dm3, dm4): the largest image, and what the tags say of it.

Source: the descriptions of the format by C. Boothroyd and by the ncempy project. Tags are big-endian, values
have the byte order that the header names. Nothing declared is believed beyond the end of the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import FormatError, TruncatedFileError

MAX_TAGS = 200_000
MAX_DEPTH = 32
MAX_TEXT_BYTES = 2_000

_GROUP, _VALUE = 20, 21
_STRUCT, _STRING, _ARRAY, _SHORT = 15, 18, 20, 4
_CODE_OF_TYPE = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "?", 9: "b", 10: "B", 11: "q", 12: "Q"}
_DTYPE_OF_IMAGE = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tag:
    """A value of the tree: a number, or (offset, size in bytes) of an array or a text."""

    path: tuple[str, ...]
    number: float | None
    located: tuple[int, int] | None
    is_text: bool = False


def declared_file_bytes(head: bytes, *, path: PurePath) -> int:
    """Return how large a DM file must be at least, from its first 16 bytes.

    Raises
    ------
    FormatError
        It does not begin like a DM file, or ends within its header (TruncatedFileError).
    """
    if len(head) < 16:
        raise TruncatedFileError(path, problem="it ends within the DM header")
    (version,) = struct.unpack_from(">i", head)
    if version not in {3, 4}:
        raise FormatError(path, problem="it does not begin like a DM file")
    size, order = struct.unpack_from(">ii" if version == 3 else ">qi", head[:16].ljust(20, b"\0"), 4)
    if size < 0 or order not in {0, 1}:
        raise FormatError(path, problem="its DM header is damaged")
    return int(size) + (16 if version == 3 else 24)


def read_largest_image(path: Path) -> NDArray[np.generic]:
    """Return the largest two-dimensional image (y, x); a file holds its thumbnail as well.

    Raises
    ------
    FormatError
        It is no DM file, holds no such image, or is damaged; TruncatedFileError if it ends too early.
    """
    with path.open("rb") as handle:
        reader = _DmReader(handle, path)
        images: dict[tuple[str, ...], dict[str, _Tag]] = {}
        for tag in reader.tags():
            if "ImageData" in tag.path:
                at = tag.path.index("ImageData")
                images.setdefault(tag.path[:at], {})["/".join(tag.path[at + 1 :])] = tag
        arrays = [image for image in map(reader.image, images.values()) if image is not None]
    if not arrays:
        raise FormatError(path, problem="it holds no two-dimensional image of real numbers")
    return max(arrays, key=lambda image: image.size)


def read_image_tags(path: Path) -> dict[str, float | str]:
    """Return numbers and short texts of the largest image, by their names below it joined with `/`.

    Raises
    ------
    FormatError
        It is no DM file, holds no image, or is damaged; TruncatedFileError if it ends too early.
    """
    found: dict[tuple[str, ...], dict[str, float | str]] = {}
    with path.open("rb") as handle:
        reader = _DmReader(handle, path)
        for tag in list(reader.tags()):
            if tag.path[:1] == ("ImageList",) and len(tag.path) > 2 and (value := reader.value(tag)) is not None:
                found.setdefault(tag.path[:2], {})["/".join(tag.path[2:])] = value
    images = [tags for tags in found.values() if "ImageData/Dimensions/0" in tags]
    if not images:
        raise FormatError(path, problem="it holds no image")
    return max(images, key=_pixels_of)


def _pixels_of(tags: dict[str, float | str]) -> float:
    sides = [tags.get(f"ImageData/Dimensions/{axis}", 1.0) for axis in range(3)]
    kind = tags.get("ImageData/DataType")
    numbers = [side for side in sides if isinstance(side, float)]
    return math.prod(numbers) if kind in _DTYPE_OF_IMAGE else 0.0


class _DmReader:
    """Walks the tags of an open file, then fetches arrays."""

    def __init__(self, handle: BinaryIO, path: Path) -> None:
        self._handle, self._path = handle, path
        self._size_bytes = handle.seek(0, 2)
        handle.seek(0)
        head = handle.read(16)
        declared_file_bytes(head, path=path)
        self._wide = head[3] == 4
        self._order = "<" if head[15 if self._wide else 11] == 1 else ">"
        self._start = 16 if self._wide else 12
        self._tags_left = MAX_TAGS

    def tags(self) -> Iterator[_Tag]:
        """Yield every value of the tree with the names above it; unnamed groups are counted from 0."""
        self._handle.seek(self._start)
        yield from self._group(())

    def image(self, tags: dict[str, _Tag]) -> NDArray[np.generic] | None:
        """Return an image (y, x), or None for what is no image of real numbers."""
        data, kind = tags.get("Data"), tags.get("DataType")
        sides = [tags.get(f"Dimensions/{axis}") for axis in range(3)]
        if data is None or data.located is None or kind is None or sides[0] is None or sides[1] is None:
            return None
        code = _DTYPE_OF_IMAGE.get(int(kind.number or 0))
        columns, rows = int(sides[0].number or 0), int(sides[1].number or 0)
        sections = 1 if sides[2] is None else int(sides[2].number or 0)
        if code is None or columns <= 0 or rows <= 0 or sections != 1:
            return None
        offset, size = data.located
        dtype = np.dtype(self._order + code)
        if rows * columns * dtype.itemsize != size:
            raise FormatError(self._path, problem=f"its image of {rows} x {columns} pixels has {size} bytes")
        self._handle.seek(offset)
        pixels = np.fromfile(self._handle, dtype=dtype, count=rows * columns).reshape(rows, columns)
        return pixels.astype(dtype.newbyteorder("="), copy=False)

    def value(self, tag: _Tag) -> float | str | None:
        """Return a number or a short text; None for anything else."""
        if tag.located is None or not tag.is_text or tag.located[1] > MAX_TEXT_BYTES:
            return tag.number
        self._handle.seek(tag.located[0])
        coding = "utf-16-le" if self._order == "<" else "utf-16-be"
        return self._handle.read(tag.located[1]).decode(coding, "replace")

    def _take(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(">" + form)
        data = self._handle.read(size)
        if len(data) != size:
            raise TruncatedFileError(self._path, problem="it ends within its tags")
        return struct.unpack(">" + form, data)

    def _skip(self, size: int) -> tuple[int, int]:
        """Move over a value; return where it is."""
        offset = self._handle.tell()
        if size < 0 or offset + size > self._size_bytes:
            raise TruncatedFileError(self._path, problem="a value lies behind the end of the file")
        self._handle.seek(size, 1)
        return offset, size

    def _group(self, above: tuple[str, ...]) -> Iterator[_Tag]:
        if len(above) > MAX_DEPTH:
            raise FormatError(self._path, problem="its tags are nested too deeply")
        *_, count = self._take("BBq" if self._wide else "BBi")
        unnamed = 0
        for _ in range(max(count, 0)):
            self._tags_left -= 1
            if self._tags_left < 0:
                raise FormatError(self._path, problem=f"it has more than {MAX_TAGS} tags")
            kind, name_length = self._take("BH")
            name = self._handle.read(name_length).decode("latin-1")
            if not name:
                name, unnamed = str(unnamed), unnamed + 1
            if self._wide:
                self._take("q")
            if kind == _GROUP:
                yield from self._group((*above, name))
            elif kind == _VALUE:
                yield self._value((*above, name))
            else:
                raise FormatError(self._path, problem=f"a tag has the unknown kind {kind}")

    def _value(self, name: tuple[str, ...]) -> _Tag:
        if self._handle.read(4) != b"%%%%":
            raise FormatError(self._path, problem=f"tag {'/'.join(name)} is damaged")
        integer = "q" if self._wide else "i"
        (length,) = self._take(integer)
        if not 1 <= length <= 10_000:
            raise FormatError(self._path, problem=f"tag {'/'.join(name)} is damaged")
        info = self._take(f"{length}{integer}")
        if info[0] in _CODE_OF_TYPE and length == 1:
            code = self._order + _CODE_OF_TYPE[info[0]]
            offset, size = self._skip(struct.calcsize(code))
            self._handle.seek(offset)
            return _Tag(path=name, number=float(struct.unpack(code, self._handle.read(size))[0]), located=None)
        is_text = info[:2] == (_ARRAY, _SHORT) and len(info) == 3
        return _Tag(path=name, number=None, located=self._skip(self._size_of(info, name)), is_text=is_text)

    def _size_of(self, info: tuple[int, ...], name: tuple[str, ...]) -> int:
        """Return the size in bytes of a structure, a text or an array."""
        if info[0] == _STRING and len(info) == 2:
            return info[1] * 2
        if info[0] == _STRUCT:
            return self._element_size(info, name)
        if info[0] == _ARRAY and len(info) >= 3:
            return self._element_size(info[1:-1], name) * info[-1]
        raise FormatError(self._path, problem=f"tag {'/'.join(name)} has an unknown type")

    def _element_size(self, info: tuple[int, ...], name: tuple[str, ...]) -> int:
        if info[0] == _STRUCT and len(info) >= 3:
            return sum(self._element_size((kind,), name) for kind in info[4::2])
        if info[0] not in _CODE_OF_TYPE:
            raise FormatError(self._path, problem=f"tag {'/'.join(name)} has an unknown type")
        return struct.calcsize("<" + _CODE_OF_TYPE[info[0]])
