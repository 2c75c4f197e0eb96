"""What any file of an exposure says about the exposure, by the format of the file."""

from __future__ import annotations

import math
import os
import re
import struct
from pathlib import Path

from cryodaq.domain.acquisition import AcquisitionMetadata, believable
from cryodaq.errors import FormatError, TruncatedFileError
from cryodaq.formats import serialem_header
from cryodaq.formats.dm_metadata import read_dm_metadata
from cryodaq.formats.epu_xml import MAX_XML_BYTES, read_epu_xml
from cryodaq.formats.mdoc import MAX_MDOC_CHARACTERS, read_frame_mdoc
from cryodaq.formats.times import iso_time

_FEI_FIELDS = {"HT": 84, "Dose": 92, "Alpha tilt": 100, "X-Stage": 116, "Y-Stage": 124, "Z-Stage": 132}
_FEI_OPTICS = {"Pixel size X": 156, "Applied defocus": 236, "Magnification": 289, "Shift X": 403, "Shift Y": 411}
_FEI_INTEGRATION_TIME, _FEI_BINNING, _FEI_CAMERA, _FEI_COUNTING = 419, 427, 435, 472
_FEI_BYTES = 768
"""The fields used here lie in the part that FEI1 and FEI2 have in common."""
_EER_ITEM = re.compile(rb'<item name="(?P<name>[\w.]{1,60})"[^>]{0,60}>(?P<value>[^<]{0,200})</item>')


def read_metadata(path: Path, *, session_path: str | None = None) -> tuple[AcquisitionMetadata, ...]:
    """Return what a file says: one answer for most files, one for each set of frames of an mdoc.

    What cannot be, such as a pixel of no size, counts as not said.

    Parameters
    ----------
    session_path
        Path of the file below its session where it lies elsewhere now; EPU names grid squares there.

    Raises
    ------
    FormatError
        The file is damaged, or no file that says anything about an exposure.
    """
    return tuple(believable(one) for one in _read(path, session_path=session_path))


def _read(path: Path, *, session_path: str | None) -> tuple[AcquisitionMetadata, ...]:
    suffix = path.suffix.lower()
    if suffix == ".xml":
        data = _read_bounded(path, MAX_XML_BYTES)
        return (read_epu_xml(data, source=session_path or path.as_posix()),)
    if suffix == ".mdoc":
        return read_frame_mdoc(_decoded(_read_bounded(path, MAX_MDOC_CHARACTERS)), source=path.name)
    if suffix in {".mrc", ".mrcs"}:
        return (_read_mrc(path),)
    if suffix in {".tif", ".tiff", ".eer"}:
        return (_read_tiff(path),)
    if suffix in {".dm3", ".dm4"}:
        return (read_dm_metadata(path),)
    raise FormatError(path, problem="files of this kind say nothing about an exposure")


def _read_bounded(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as handle:
        data = handle.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise FormatError(path, problem=f"it is larger than {limit_bytes} bytes")
    return data


def _decoded(data: bytes) -> str:
    """Return a text in UTF-8, else as Windows wrote it before: a movie's name must come out as the share gives it."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _read_mrc(path: Path) -> AcquisitionMetadata:
    """Return what the header says, and the extended header where EPU (FEI1, FEI2) or SerialEM wrote one."""
    from cryodaq.formats.mrc import HEADER_BYTES, parse_mrc_header

    with path.open("rb") as handle:
        data = handle.read(HEADER_BYTES)
        header = parse_mrc_header(data, path=path)
        extended = handle.read(min(_FEI_BYTES, header.extended_bytes))
    if header.extended_type == serialem_header.TYPE:
        said = serialem_header.read_serialem_header(data, extended)
        return AcquisitionMetadata(
            source=path.name,
            pixel_size_ang=_told_pixel(header.pixel_size_ang),
            tilt_deg=said.get("tilt_deg"),
            stage_x_um=said.get("stage_x_um"),
            stage_y_um=said.get("stage_y_um"),
            magnification=said.get("magnification"),
            software="SerialEM",
        )
    if header.extended_bytes < _FEI_BYTES or header.extended_type not in {"FEI1", "FEI2"}:
        return AcquisitionMetadata(source=path.name, pixel_size_ang=_told_pixel(header.pixel_size_ang))
    if len(extended) < _FEI_BYTES:
        raise TruncatedFileError(path, problem="it ends within its extended header")

    def double(offset: int) -> float | None:
        number = struct.unpack_from("<d", extended, offset)[0]
        return float(number) if math.isfinite(number) and abs(number) < 1e30 else None

    facts = {name: double(offset) for name, offset in {**_FEI_FIELDS, **_FEI_OPTICS}.items()}

    def scaled(name: str, factor: float) -> float | None:
        number = facts[name]
        return None if number is None else number * factor

    shift = (facts["Shift X"], facts["Shift Y"])
    (binning,) = struct.unpack_from("<i", extended, _FEI_BINNING)
    application = extended[52:68].split(b"\0")[0].decode("latin-1")
    version = extended[68:84].split(b"\0")[0].decode("latin-1")
    return AcquisitionMetadata(
        source=path.name,
        pixel_size_ang=scaled("Pixel size X", 1e10) or header.pixel_size_ang,
        voltage_kv=scaled("HT", 1e-3) or None,
        total_dose_e_ang2=scaled("Dose", 1e-20) or None,
        exposure_time_s=double(_FEI_INTEGRATION_TIME) or None,
        applied_defocus_ang=scaled("Applied defocus", -1e10),
        stage_x_um=scaled("X-Stage", 1e6),
        stage_y_um=scaled("Y-Stage", 1e6),
        stage_z_um=scaled("Z-Stage", 1e6),
        tilt_deg=facts["Alpha tilt"],
        beam_shift_xy=None if shift[0] is None or shift[1] is None else (shift[0], shift[1]),
        camera=extended[_FEI_CAMERA : _FEI_CAMERA + 16].split(b"\0")[0].decode("latin-1") or None,
        detector_mode="counting" if extended[_FEI_COUNTING] else "linear",
        binning=float(binning) if binning > 0 else None,
        magnification=facts["Magnification"] or None,
        software=f"{application} {version}".strip() or None,
    )


def _told_pixel(pixel_size_ang: float | None) -> float | None:
    """Return a header's pixel size; programs that do not know it write 1 Å, which counts as not said."""
    return None if pixel_size_ang == 1.0 else pixel_size_ang


def _read_tiff(path: Path) -> AcquisitionMetadata:
    """Return the pixel size of a TIFF, or what the camera wrote into an EER file."""
    from cryodaq.formats.tiff_pages import TiffReader

    with path.open("rb") as handle:
        reader = TiffReader(handle, os.fstat(handle.fileno()).st_size, path=path)
        first = next(reader.pages())
        located = first.metadata_at
        data = reader.bytes_at(*located) if located is not None and located[1] < 1_000_000 else b""
    if not data:
        return AcquisitionMetadata(source=path.name, pixel_size_ang=first.pixel_size_ang)
    items = {found["name"].decode(): found["value"].decode("latin-1").strip() for found in _EER_ITEM.finditer(data)}

    def number(name: str) -> float | None:
        try:
            value = float(items.get(name, "nan"))
        except ValueError as error:
            raise FormatError(path, problem=f"{name} is {items[name][:40]!r} and no number") from error
        return value if math.isfinite(value) else None

    metres, dose_per_px = number("sensorPixelSize.width"), number("totalDose")
    pixel_size_ang = metres * 1e10 if metres is not None and 1e-12 < metres < 1e-6 else None
    return AcquisitionMetadata(
        source=path.name,
        pixel_size_ang=pixel_size_ang,
        total_dose_e_ang2=dose_per_px / pixel_size_ang**2 if dose_per_px and pixel_size_ang else None,
        exposure_time_s=number("exposureTime"),
        camera=items.get("commercialName") or items.get("cameraName"),
        detector_mode="counting",
        acquired_at=iso_time(items.get("timestamp")),
    )
