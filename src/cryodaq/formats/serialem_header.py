"""What SerialEM writes into the extended header of an MRC file: a few short integers for each section.

Source: IMOD's description of the MRC format (`nint` bytes a section, `nreal` flags of what they hold, in the order of
the flags). Doses are left to the mdoc: here nothing says whether a frame's or the exposure's is meant.
"""

from __future__ import annotations

import struct

TYPE = "SERI"
_BYTES_AT, _ORDER_AT = 128, 212
_TILT, _PIECE, _STAGE, _MAGNIFICATION = 1, 2, 4, 8
_SIZE_OF = {_TILT: 2, _PIECE: 6, _STAGE: 4, _MAGNIFICATION: 2}
_LONGEST_SECTION = 1_024


def read_serialem_header(header: bytes, extended: bytes) -> dict[str, float]:
    """Return what the first section's record says: `tilt_deg`, `stage_x_um`, `stage_y_um`, `magnification`.

    Values that are not there, or behind the end of what is given, are left out.

    Parameters
    ----------
    header
        The 1024 bytes of the MRC header.
    extended
        The beginning of the extended header.
    """
    order = ">" if header[_ORDER_AT : _ORDER_AT + 1] == b"\x11" else "<"
    section_bytes, flags = struct.unpack_from(f"{order}2h", header, _BYTES_AT)
    if not 0 < section_bytes <= _LONGEST_SECTION or flags < 0:
        return {}
    found: dict[str, float] = {}
    record, at = extended[:section_bytes], 0
    for flag, size in _SIZE_OF.items():
        if not flags & flag:
            continue
        if at + size > len(record):
            break
        shorts = struct.unpack_from(f"{order}{size // 2}h", record, at)
        at += size
        found |= _meaning(flag, shorts)
    return found


def _meaning(flag: int, shorts: tuple[int, ...]) -> dict[str, float]:
    if flag == _TILT:
        return {"tilt_deg": shorts[0] / 100}
    if flag == _STAGE:
        return {"stage_x_um": shorts[0] / 25, "stage_y_um": shorts[1] / 25}
    if flag == _MAGNIFICATION and shorts[0] > 0:
        return {"magnification": shorts[0] * 100.0}
    return {}
