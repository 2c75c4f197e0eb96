"""The chain of pages of a TIFF, BigTIFF or EER file, without its pixels.

One reader serves two ends: to tell whether a camera has finished a file, and to find the strips of its frames.
It trusts nothing: offsets must lie inside the file, the chain must not come back to itself, and the work is
bounded whatever the file declares. Source: TIFF 6.0, the BigTIFF extension, and for EER the tags 65000-65009.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, Literal

from cryodaq.errors import FormatError, TruncatedFileError

MAX_PAGES = 100_000
MAX_TAGS_PER_PAGE = 1_000
MAX_STRIPS = 4_000_000
"""In all pages together."""

EER_COMPRESSIONS = frozenset({65000, 65001, 65002})

_VALUE_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGER_CODE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS = 273, 277, 278, 279
_X_RESOLUTION, _RESOLUTION_UNIT, _PREDICTOR = 282, 296, 317
_TILE_OFFSETS, _TILE_COUNTS, _SAMPLE_FORMAT = 324, 325, 339
_EER_METADATA, _EER_RUN_BITS, _EER_HORIZONTAL_BITS, _EER_VERTICAL_BITS = 65001, 65007, 65008, 65009
_MM_PER_RESOLUTION_UNIT = {2: 25.4, 3: 10.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffPage:
    """One page: what its pixels are and where its strips lie."""

    height: int
    width: int
    bits: int
    sample_format: int
    """1 unsigned, 2 signed, 3 floating point."""
    samples_per_pixel: int
    compression: int
    predictor: int
    rows_per_strip: int
    strips: tuple[tuple[int, int], ...]
    """(offset, size in bytes) of each strip, all inside the file."""
    tiled: bool
    byte_order: Literal["<", ">"]
    pixel_size_ang: float | None
    """From the resolution tags; None where these are absent or no microscope's."""
    eer_bits: tuple[int, int, int]
    """Bits of run length, horizontal and vertical sub-pixel of an EER frame."""
    metadata_at: tuple[int, int] | None
    """(offset, size) of the acquisition metadata of an EER file."""


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: int
    count: int
    field_at: int
    field: bytes


class TiffReader:
    """Walks the pages of an open file.

    Parameters
    ----------
    handle
        Seekable, opened for reading bytes; its position is moved.
    size_bytes
        Size of the file when it was opened: nothing behind it is believed.
    path
        For messages only.

    Raises
    ------
    TruncatedFileError
        The header, a page or a strip lies behind the end: the file is unfinished, or was cut.
    FormatError
        It is no TIFF, or contradicts itself.
    """

    def __init__(self, handle: BinaryIO, size_bytes: int, *, path: PurePath) -> None:
        self._handle, self._size_bytes, self._path = handle, size_bytes, path
        head = self._read(0, 16 if size_bytes >= 16 else 8, what="the header")
        self._order: Literal["<", ">"] = "<" if head[:2] == b"II" else ">"
        version = int.from_bytes(head[2:4], "little" if self._order == "<" else "big")
        if head[:2] not in {b"II", b"MM"} or version not in {42, 43}:
            raise FormatError(path, problem="it does not begin like a TIFF file")
        self._big = version == 43
        if self._big and (len(head) < 16 or struct.unpack(self._order + "HH", head[4:8]) != (8, 0)):
            raise FormatError(path, problem="its BigTIFF header is damaged")
        self._pointer = "Q" if self._big else "I"
        self._first = int(struct.unpack_from(self._order + self._pointer, head, 8 if self._big else 4)[0])
        self._strips_left = MAX_STRIPS

    def pages(self) -> Iterator[TiffPage]:
        """Yield the pages in the order of the chain; each is checked before it is yielded."""
        seen: set[int] = set()
        offset = self._first
        if offset == 0:
            raise TruncatedFileError(self._path, problem="it has no page yet")
        while offset:
            if offset in seen:
                raise FormatError(self._path, problem=f"its chain of pages comes back to page at byte {offset}")
            if len(seen) >= MAX_PAGES:
                raise FormatError(self._path, problem=f"it has more than {MAX_PAGES} pages")
            seen.add(offset)
            tags, offset = self._directory(offset, number=len(seen))
            yield self._page(tags, number=len(seen))

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Return bytes of the file; raises TruncatedFileError."""
        return self._read(offset, count, what="a value")

    def _read(self, offset: int, count: int, *, what: str) -> bytes:
        if offset < 0 or count < 0 or offset + count > self._size_bytes:
            raise TruncatedFileError(self._path, problem=f"{what} lies behind the end of the file")
        self._handle.seek(offset)
        data = self._handle.read(count)
        if len(data) != count:
            raise TruncatedFileError(self._path, problem=f"{what} lies behind the end of the file")
        return data

    def _directory(self, offset: int, *, number: int) -> tuple[dict[int, _Tag], int]:
        """Return the tags of the page at `offset`, and the offset of the next page (0 after the last)."""
        what = f"page {number}"
        count_size, entry_size, field_size = (8, 20, 8) if self._big else (2, 12, 4)
        count_code = self._order + ("Q" if self._big else "H")
        count = int(struct.unpack(count_code, self._read(offset, count_size, what=what))[0])
        if count > MAX_TAGS_PER_PAGE:
            raise FormatError(self._path, problem=f"{what} declares {count} tags")
        start = offset + count_size
        table = self._read(start, count * entry_size + field_size, what=what)
        head = struct.Struct(self._order + "HH" + self._pointer)
        tags: dict[int, _Tag] = {}
        for at in range(0, count * entry_size, entry_size):
            tag, kind, length = head.unpack_from(table, at)
            field_at = at + entry_size - field_size
            field = table[field_at : field_at + field_size]
            tags.setdefault(tag, _Tag(kind, length, start + field_at, field))
        following = struct.unpack_from(self._order + self._pointer, table, count * entry_size)[0]
        return tags, int(following)

    def _locate(self, tag: _Tag) -> tuple[int, int]:
        """Return (offset, size in bytes) of a tag's values."""
        size = _VALUE_SIZE.get(tag.kind, 1) * tag.count
        if size <= len(tag.field):
            return tag.field_at, size
        return int(struct.unpack(self._order + self._pointer, tag.field)[0]), size

    def _values(self, tag: _Tag, *, what: str) -> tuple[int, ...]:
        code = _INTEGER_CODE.get(tag.kind)
        if code is None or tag.count > self._strips_left:
            raise FormatError(self._path, problem=f"{what} is not a usable list of whole numbers")
        offset, size = self._locate(tag)
        data = tag.field[:size] if size <= len(tag.field) else self._read(offset, size, what=what)
        return struct.unpack(f"{self._order}{tag.count}{code}", data)

    def _number(self, tags: dict[int, _Tag], key: int, *, default: int | None, page: int) -> int:
        tag = tags.get(key)
        if tag is None or tag.count == 0:
            if default is None:
                raise FormatError(self._path, problem=f"page {page} lacks tag {key}")
            return default
        return self._values(tag, what=f"tag {key} of page {page}")[0]

    def _strips(self, tags: dict[int, _Tag], *, page: int) -> tuple[tuple[int, int], ...]:
        tiled = _TILE_OFFSETS in tags
        keys = (_TILE_OFFSETS, _TILE_COUNTS) if tiled else (_STRIP_OFFSETS, _STRIP_COUNTS)
        if keys[0] not in tags or keys[1] not in tags:
            raise FormatError(self._path, problem=f"page {page} does not say where its pixels are")
        offsets, sizes = (self._values(tags[key], what=f"the strip table of page {page}") for key in keys)
        if len(offsets) != len(sizes) or not offsets:
            raise FormatError(self._path, problem=f"page {page} has {len(offsets)} strips but {len(sizes)} sizes")
        self._strips_left -= len(offsets)
        strips = tuple(zip(offsets, sizes, strict=True))
        if any(offset + size > self._size_bytes for offset, size in strips):
            raise TruncatedFileError(self._path, problem=f"a strip of page {page} lies behind the end of the file")
        if not all(offset and size for offset, size in strips):
            raise TruncatedFileError(self._path, problem=f"a strip of page {page} has not been written")
        return strips

    def _page(self, tags: dict[int, _Tag], *, number: int) -> TiffPage:
        def value(key: int, default: int | None) -> int:
            return self._number(tags, key, default=default, page=number)

        height, width = value(_HEIGHT, None), value(_WIDTH, None)
        if height == 0 or width == 0:
            raise FormatError(self._path, problem=f"page {number} is {height} x {width} pixels")
        compression = value(_COMPRESSION, 1)
        default_bits = {65000: (8, 2, 2)}.get(compression, (7, 2, 2))
        eer_bits = (
            value(_EER_RUN_BITS, default_bits[0]),
            value(_EER_HORIZONTAL_BITS, default_bits[1]),
            value(_EER_VERTICAL_BITS, default_bits[2]),
        )
        metadata = tags.get(_EER_METADATA) if compression in EER_COMPRESSIONS else None
        return TiffPage(
            height=height,
            width=width,
            bits=value(_BITS, 1),
            sample_format=value(_SAMPLE_FORMAT, 1),
            samples_per_pixel=value(_SAMPLES, 1),
            compression=compression,
            predictor=value(_PREDICTOR, 1),
            rows_per_strip=min(value(_ROWS_PER_STRIP, height), height) or height,
            strips=self._strips(tags, page=number),
            tiled=_TILE_OFFSETS in tags,
            byte_order=self._order,
            pixel_size_ang=self._pixel_size_ang(tags, number=number),
            eer_bits=eer_bits,
            metadata_at=None if metadata is None else self._locate(metadata),
        )

    def _pixel_size_ang(self, tags: dict[int, _Tag], *, number: int) -> float | None:
        """Return the pixel size that SerialEM writes as resolution (pixels per cm or inch)."""
        tag = tags.get(_X_RESOLUTION)
        unit_mm = _MM_PER_RESOLUTION_UNIT.get(self._number(tags, _RESOLUTION_UNIT, default=2, page=number))
        if tag is None or tag.kind != 5 or tag.count != 1 or unit_mm is None:
            return None
        offset, size = self._locate(tag)
        data = tag.field if size <= len(tag.field) else self._read(offset, size, what=f"page {number}'s resolution")
        numerator, denominator = struct.unpack(self._order + "II", data)
        if not numerator or not denominator:
            return None
        pixel_size_ang = unit_mm * 1e7 * denominator / numerator
        return pixel_size_ang if pixel_size_ang < 10_000 else None  # 72 pixels an inch is a program's default
