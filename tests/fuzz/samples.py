"""Small sound files in the binary formats, written by their rules: what fuzzing begins from, free of any licence."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO

import numpy as np
import tifffile

_GROUP, _VALUE = 20, 21
_NUMBER_TYPE = {int: (3, "i"), float: (7, "d")}


def tiff(*, compression: str | None = "lzw", dtype: str = "u1", predictor: bool = False, big: bool = False) -> bytes:
    """Return a movie of two frames of 6 x 8 pixels."""
    handle = BytesIO()
    tifffile.imwrite(
        handle,
        np.arange(2 * 6 * 8).reshape(2, 6, 8).astype(dtype),
        photometric="minisblack",
        compression=compression,
        predictor=predictor,
        bigtiff=big,
        byteorder=">" if big else "<",
        rowsperstrip=4,
        resolution=(1.2e8, 1.2e8),
        resolutionunit=3,
    )
    return handle.getvalue()


def mrc(*, extended: bytes = b"", extended_type: bytes = b"\0\0\0\0", sections: int = 2, packed: bool = False) -> bytes:
    """Return sections of 6 x 8 pixels of one byte, with an extended header; packed: 6 x 15 in as many bytes."""
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, 15 if packed else 8, 6, sections, 101 if packed else 0)
    struct.pack_into("<3i3f", header, 28, 8, 6, sections, 8.8, 6.6, 1.0)
    struct.pack_into("<i", header, 92, len(extended))
    header[104:108] = extended_type
    struct.pack_into("<2h", header, 128, 14, 15)  # SerialEM: bytes of a section, and what they hold
    header[208:216] = b"MAP DA\x00\x00"
    return bytes(header) + extended + bytes(range(48)) * sections


def fei_header() -> bytes:
    """Return an extended header of EPU with a few of its facts."""
    header = bytearray(768)
    facts = {84: 300_000.0, 92: 4e21, 116: 1e-4, 124: -2e-4, 156: 6.6e-11, 236: -2.2e-6, 289: 96_000.0, 419: 3.0}
    for offset, number in facts.items():
        struct.pack_into("<d", header, offset, number)
    header[52:55], header[68:73], header[435:441] = b"EPU", b"2.9.0", b"Falcon"
    header[472] = 1
    return bytes(header)


def eer(*, compression: int = 65001) -> bytes:
    """Return two raw frames of 8 x 8 pixels with an event on every fifth pixel."""
    run_bits = 8 if compression == 65000 else 7
    stream, at = 0, 0
    for pixel in range(4, 64, 5):
        stream |= (4 | (pixel % 16) << run_bits) << at
        at += run_bits + 4
    stream |= 4 << at
    strip = stream.to_bytes((at + run_bits + 7) // 8 + 1, "little")
    said = b'<metadata><item name="sensorPixelSize.width" unit="m">6.6E-11</item><item name="totalDose">20</item>'
    said += b'<item name="exposureTime" unit="s">3.0</item><item name="timestamp">2024-05-01T10:00:00+02:00</item>'
    out = bytearray(b"II*\0\x08\0\0\0")
    for number in range(2):
        start = len(out)
        entries = [(256, 3, 1, 8), (257, 3, 1, 8), (259, 3, 1, compression), (273, 4, 1, 0), (279, 4, 1, len(strip))]
        entries += [(278, 3, 1, 8), (65001, 7, len(said), 0)]
        data_at = start + 2 + 12 * len(entries) + 4
        places = {273: data_at, 65001: data_at + len(strip)}
        after = data_at + len(strip) + len(said)
        out += struct.pack("<H", len(entries))
        for tag, kind, count, value in sorted(entries):
            out += struct.pack("<HHII", tag, kind, count, places.get(tag, value))
        out += struct.pack("<I", 0 if number else after) + strip + said
    return bytes(out)


def dm(tree: Mapping[str, object], *, version: int = 4) -> bytes:
    """Return a file of DigitalMicrograph with a tree of groups, numbers, texts and arrays (little-endian)."""
    body = _dm_group(tree, wide=version == 4)
    size = struct.pack(">q" if version == 4 else ">i", len(body))
    return struct.pack(">i", version) + size + struct.pack(">i", 1) + body + bytes(8)


def dm_image() -> dict[str, object]:
    """Return the tree of a K3's gain reference of 6 x 8 pixels, with what the camera wrote about it."""
    image = {
        "ImageData": {
            "Data": np.linspace(0.5, 1.5, 48, dtype="<f4"),
            "DataType": 2,
            "Dimensions": {"": 8, " ": 6},
            "Calibrations": {"Dimension": {"": {"Scale": 0.083, "Units": "nm"}}},
        },
        "ImageTags": {
            "Microscope Info": {
                "Voltage": 300_000.0,
                "Indicated Magnification": 105_000.0,
                "Cs(mm)": 2.7,
                "Microscope": "Titan",
                "Stage Position": {"Stage X": -47.2, "Stage Y": 28.4, "Stage Z": 103.1, "Stage Alpha": -0.5},
            },
            "DataBar": {"Acquisition Date": "2025-01-08", "Acquisition Time": "15:49:15"},
            "GMS Version": {"Created": "3.50.3584.0"},
            "Acquisition": {"Device": {"Name": "K3"}, "Parameters": {"High Level": {"Exposure (s)": 2.5}}},
        },
    }
    return {"ImageList": {"": image}}


def _dm_group(tree: Mapping[str, object], *, wide: bool) -> bytes:
    integer = "q" if wide else "i"
    out = bytearray(struct.pack(f">BB{integer}", 1, 0, len(tree)))
    for key, value in tree.items():
        name = key.strip(" ").encode("latin-1")
        is_group = isinstance(value, Mapping)
        body = _dm_group(value, wide=wide) if isinstance(value, Mapping) else _dm_value(value, integer=integer)
        out += struct.pack(">BH", _GROUP if is_group else _VALUE, len(name)) + name
        out += (struct.pack(">q", len(body)) if wide else b"") + body
    return bytes(out)


def _dm_value(value: object, *, integer: str) -> bytes:
    if isinstance(value, int | float):
        kind, code = _NUMBER_TYPE[type(value)]
        return b"%%%%" + struct.pack(f">2{integer}", 1, kind) + struct.pack(f"<{code}", value)
    if isinstance(value, str):
        return b"%%%%" + struct.pack(f">4{integer}", 3, 20, 4, len(value)) + value.encode("utf-16-le")
    data = np.asarray(value, "<f4")
    return b"%%%%" + struct.pack(f">4{integer}", 3, 20, 6, data.size) + data.tobytes()
