"""What DigitalMicrograph wrote about an image: its tags as facts about an exposure.

Source: names of the tags as Gatan's cameras write them, listed by the HyperSpy and the FAIRmat projects.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.formats.dm import read_image_tags
from cryodaq.formats.times import iso_time

_INFO, _STAGE, _HIGH = "ImageTags/Microscope Info", "ImageTags/Microscope Info/Stage Position", "Parameters/High Level"
_ANG_PER = {"nm": 10.0, "A": 1.0, "\u00c5": 1.0, "\u212b": 1.0, "\u00b5m": 1e4, "\u03bcm": 1e4, "um": 1e4}

Tags = Mapping[str, float | str]


def read_dm_metadata(path: Path) -> AcquisitionMetadata:
    """Return what the tags of a file's largest image say of its exposure.

    Raises
    ------
    FormatError
        It is no DM file, holds no image, or is damaged.
    """
    tags = read_image_tags(path)
    volts = _number(tags, f"{_INFO}/Voltage")
    sections = _number(tags, "ImageData/Dimensions/2")
    version = _text(tags, "ImageTags/GMS Version/Created")
    return AcquisitionMetadata(
        source=path.name,
        pixel_size_ang=_pixel_size_ang(tags),
        voltage_kv=None if volts is None else volts / 1000,
        cs_mm=_number(tags, f"{_INFO}/Cs(mm)"),
        exposure_time_s=_number(
            tags, f"ImageTags/Acquisition/{_HIGH}/Exposure (s)", "ImageTags/DataBar/Exposure Time (s)"
        ),
        frame_count=int(sections) if sections is not None and 1 < sections < 1e6 else None,
        stage_x_um=_number(tags, f"{_STAGE}/Stage X"),
        stage_y_um=_number(tags, f"{_STAGE}/Stage Y"),
        stage_z_um=_number(tags, f"{_STAGE}/Stage Z"),
        tilt_deg=_number(tags, f"{_STAGE}/Stage Alpha"),
        camera=_text(tags, "ImageTags/Acquisition/Device/Name", "ImageTags/DataBar/Device Name"),
        binning=_number(tags, f"ImageTags/Acquisition/{_HIGH}/Binning/0"),
        acquired_at=_acquired_at(tags),
        magnification=_number(tags, f"{_INFO}/Indicated Magnification"),
        illumination_mode=_text(tags, f"{_INFO}/Illumination Mode"),
        imaging_mode=_text(tags, f"{_INFO}/Imaging Mode"),
        instrument=_text(tags, f"{_INFO}/Microscope", f"{_INFO}/Name"),
        software=f"DigitalMicrograph {version}" if version else "DigitalMicrograph",
    )


def _number(tags: Tags, *names: str) -> float | None:
    return next((value for name in names if isinstance(value := tags.get(name), float)), None)


def _text(tags: Tags, *names: str) -> str | None:
    texts = (value.strip("\0 ") for name in names if isinstance(value := tags.get(name), str))
    return next((text for text in texts if text), None)


def _pixel_size_ang(tags: Tags) -> float | None:
    """Return the pixel's width where it is a length: of a diffraction pattern, and uncalibrated, it is none."""
    scale = _number(tags, "ImageData/Calibrations/Dimension/0/Scale")
    factor = _ANG_PER.get(_text(tags, "ImageData/Calibrations/Dimension/0/Units") or "")
    return None if scale is None or factor is None else scale * factor


def _acquired_at(tags: Tags) -> str | None:
    """Return date and time as they were written: in the words of the computer's language, without a zone."""
    parts = (_text(tags, f"ImageTags/DataBar/Acquisition {part}") for part in ("Date", "Time"))
    return iso_time(" ".join(part for part in parts if part))
