"""MRC files: micrographs, and the header that stacks share with them.

Source: the MRC2014 format (Cheng et al. 2015, doi 10.1016/j.jsb.2015.04.002), IMOD's flag for unsigned bytes and its
mode 101 (counts below 16, two in a byte, as SerialEM packs frames), and the extended headers FEI1 and FEI2, which are
skipped by their declared size here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import FormatError, TruncatedFileError

HEADER_BYTES = 1024
MAX_EXTENDED_HEADER_BYTES = 256 * 1024 * 1024

_PACKED = 101
_CODE_OF_MODE = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", _PACKED: "u1"}
_IMOD_STAMP = 1146047817
_ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class MrcHeader:
    """What the header says: sections of (y, x) pixels of one type, after the extended header."""

    sections: int
    shape_yx: tuple[int, int]
    dtype: np.dtype[np.generic]
    """With the file's byte order."""
    pixel_size_ang: float | None
    extended_type: str
    extended_bytes: int
    packed: bool = False
    """Whether a byte holds two pixels, the first one in its lower half; rows begin with a byte of their own."""

    @property
    def stored_shape_yx(self) -> tuple[int, int]:
        """Values of `dtype` that a section has in the file."""
        rows, columns = self.shape_yx
        return rows, ((columns + 1) // 2 if self.packed else columns)

    @property
    def section_bytes(self) -> int:
        """Size of one section."""
        rows, values = self.stored_shape_yx
        return rows * values * self.dtype.itemsize

    @property
    def data_at(self) -> int:
        """Offset of the first pixel."""
        return HEADER_BYTES + self.extended_bytes

    @property
    def file_bytes(self) -> int:
        """Size that the file must have."""
        return self.data_at + self.sections * self.section_bytes


def parse_mrc_header(data: bytes, *, path: PurePath) -> MrcHeader:
    """Return what the first 1024 bytes of an MRC file say.

    Raises
    ------
    TruncatedFileError
        There are fewer bytes.
    FormatError
        They are no MRC header, or that of a mode which is no image of real numbers.
    """
    if len(data) < HEADER_BYTES:
        raise TruncatedFileError(path, problem="it ends within the MRC header")
    order = _byte_order(data, path=path)
    columns, rows, sections, mode = struct.unpack_from(order + "4i", data, 0)
    if mode not in _CODE_OF_MODE:
        raise FormatError(path, problem=f"MRC mode {mode} is not supported; modes 0, 1, 2, 6, 12 and 101 are")
    if not (0 < columns <= 1_000_000 and 0 < rows <= 1_000_000 and 0 <= sections <= 10_000_000):
        raise FormatError(path, problem=f"its header declares {sections} sections of {rows} x {columns} pixels")
    (extended_bytes,) = struct.unpack_from(order + "i", data, 92)
    if not 0 <= extended_bytes <= MAX_EXTENDED_HEADER_BYTES:
        raise FormatError(path, problem=f"its header declares an extended header of {extended_bytes} bytes")
    code = _CODE_OF_MODE[mode]
    if mode == 0:
        stamp, flags = struct.unpack_from(order + "2i", data, 152)
        code = "u1" if stamp == _IMOD_STAMP and not flags & 1 else "i1"
    return MrcHeader(
        sections=sections,
        shape_yx=(rows, columns),
        dtype=np.dtype(order + code),
        pixel_size_ang=_pixel_size_ang(data, order),
        extended_type=data[104:108].decode("ascii", "replace").strip("\0 "),
        extended_bytes=extended_bytes,
        packed=mode == _PACKED,
    )


def read_mrc_header(path: Path) -> MrcHeader:
    """Return what the header of an MRC file says; raises FormatError."""
    with path.open("rb") as handle:
        return parse_mrc_header(handle.read(HEADER_BYTES), path=path)


def read_sections(path: Path) -> tuple[NDArray[np.generic], MrcHeader]:
    """Return all sections (section, y, x) in native byte order, and the header.

    Raises
    ------
    TruncatedFileError
        The file ends before the last section; the message names the section.
    FormatError
    """
    with path.open("rb") as handle:
        header = parse_mrc_header(handle.read(HEADER_BYTES), path=path)
        size_bytes = handle.seek(0, 2)
        if size_bytes < header.file_bytes:
            whole = max(size_bytes - header.data_at, 0) // header.section_bytes
            problem = f"it ends within section {whole + 1} of {header.sections}"
            raise TruncatedFileError(path, problem=problem)
        if header.sections == 0:
            raise TruncatedFileError(path, problem="it has no section")
        return _pixels(handle, header), header


def read_micrograph(path: Path) -> tuple[NDArray[np.float32], float | None]:
    """Return the image (y, x) of an MRC file with one section, and its pixel size in Å (None: not said).

    Raises
    ------
    FormatError
        It is no MRC file, has several sections, or ends too early (TruncatedFileError).
    """
    sections, header = read_sections(path)
    if header.sections != 1:
        raise FormatError(path, problem=f"it has {header.sections} sections where one micrograph is expected")
    return sections[0].astype(np.float32, copy=False), header.pixel_size_ang


def write_micrograph(
    path: Path, micrograph: NDArray[np.float32], *, pixel_size_ang: float, half_precision: bool = False
) -> None:
    """Write an image (y, x) as an MRC file of mode 2 (float32) or 12 (float16), little-endian.

    The file is written under its own name from the first byte on: give a temporary name and rename it.

    Raises
    ------
    FormatError
        The array is not one image, or holds values that are not finite.
    """
    if micrograph.ndim != 2 or micrograph.size == 0:
        raise FormatError(path, problem=f"an array of shape {micrograph.shape} is no micrograph")
    with np.errstate(over="ignore"):  # what 16 bits cannot hold is refused below
        pixels = np.ascontiguousarray(micrograph, dtype="<f2" if half_precision else "<f4")
    least, most, mean, deviation = _statistics(pixels)
    if not np.isfinite([least, most]).all():
        raise FormatError(path, problem="the micrograph holds values that are not finite and was not written")
    rows, columns = pixels.shape
    header = bytearray(HEADER_BYTES)
    struct.pack_into("<4i", header, 0, columns, rows, 1, 12 if half_precision else 2)
    struct.pack_into("<3i", header, 28, columns, rows, 1)
    struct.pack_into("<3f", header, 40, columns * pixel_size_ang, rows * pixel_size_ang, pixel_size_ang)
    struct.pack_into("<3f3i", header, 52, 90.0, 90.0, 90.0, 1, 2, 3)
    struct.pack_into("<3f", header, 76, least, most, mean)
    struct.pack_into("<i", header, 108, 20140)
    header[208:216] = b"MAP \x44\x44\0\0"
    label = b"cryodaq".ljust(80)
    struct.pack_into("<fi80s", header, 216, deviation, 1, label)
    with path.open("wb") as handle:
        handle.write(header)
        handle.write(pixels.data)


def write_turned_micrograph(source: Path, target: Path) -> None:
    """Copy a micrograph with its last row first; header and type of pixels stay as they are.

    The file is written under its own name from the first byte on: give a temporary name and rename it.

    Raises
    ------
    FormatError
        The source is no MRC file, has several sections, or ends too early (TruncatedFileError).
    """
    sections, header = read_sections(source)
    if header.sections != 1 or header.packed:
        kind = "packed counts" if header.packed else f"{header.sections} sections"
        raise FormatError(source, problem=f"it has {kind} where one micrograph is expected")
    with source.open("rb") as handle:
        head = handle.read(header.data_at)
    with target.open("wb") as handle:
        handle.write(head)
        handle.write(np.ascontiguousarray(sections[0, ::-1], dtype=header.dtype).data)


def _statistics(pixels: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """Return minimum, maximum, mean and standard deviation; the first two are not finite where a pixel is not.

    Some rows at a time, because a picture in double precision would take more memory than all else here.
    """
    found = []
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        rows = pixels[top : top + _ROWS_AT_ONCE]
        exact = rows.astype(np.float64)
        total = float(exact.sum())
        if not np.isfinite(total):
            return float(pixels.min()), float(pixels.max()), 0.0, 0.0
        found.append((float(rows.min()), float(rows.max()), total, float(np.square(exact, out=exact).sum())))
    least, most, sums, squares = (np.array(column) for column in zip(*found, strict=True))
    mean = float(sums.sum()) / pixels.size
    return float(least.min()), float(most.max()), mean, float(np.sqrt(max(squares.sum() / pixels.size - mean**2, 0.0)))


def _byte_order(data: bytes, *, path: PurePath) -> str:
    stamp = data[212:214]
    if stamp in {b"\x44\x44", b"\x44\x41"}:
        return "<"
    if stamp == b"\x11\x11":
        return ">"
    for order in "<>":  # programs before 2000 left no stamp
        columns, rows, _, mode = struct.unpack_from(order + "4i", data, 0)
        if 0 < columns <= 1_000_000 and 0 < rows <= 1_000_000 and 0 <= mode <= 101:
            return order
    raise FormatError(path, problem="it does not begin like an MRC file")


def _pixel_size_ang(data: bytes, order: str) -> float | None:
    (columns_in_cell,) = struct.unpack_from(order + "i", data, 28)
    (cell_ang,) = struct.unpack_from(order + "f", data, 40)
    if columns_in_cell <= 0 or not 0 < cell_ang < 1e9:
        return None
    return float(cell_ang) / int(columns_in_cell)


def _pixels(handle: BinaryIO, header: MrcHeader) -> NDArray[np.generic]:
    handle.seek(header.data_at)
    rows, values = header.stored_shape_yx
    stored = np.fromfile(handle, dtype=header.dtype, count=header.sections * rows * values)
    native = stored.astype(header.dtype.newbyteorder("="), copy=False).reshape(header.sections, rows, values)
    if not header.packed:
        return native
    pixels = np.empty((header.sections, *header.shape_yx), native.dtype)
    np.bitwise_and(native, 0x0F, out=pixels[..., 0::2])
    np.right_shift(native[..., : header.shape_yx[1] // 2], 4, out=pixels[..., 1::2])
    return pixels
