"""What acquisition programs said of one exposure, as its page shows it: value, unit, and which file said it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryodaq.formats.times import to_the_second
from cryodaq.web.presentation import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of the page's table."""

    title: str
    value: str
    source: str
    """Name of the file that said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    key: str
    title: str
    unit: str = ""
    digits: int = 1
    scale: float = 1.0


_FIELDS = (
    _Field(key="acquired_at", title="Taken at"),
    _Field(key="grid_square", title="Grid square"),
    _Field(key="foil_hole", title="Foil hole"),
    _Field(key="applied_defocus_ang", title="Defocus set", unit="µm", digits=2, scale=1e-4),
    _Field(key="pixel_size_ang", title="Pixel of the image described", unit="Å", digits=4),
    _Field(key="voltage_kv", title="Voltage", unit="kV", digits=0),
    _Field(key="cs_mm", title="Spherical aberration", unit="mm", digits=2),
    _Field(key="total_dose_e_ang2", title="Dose", unit="e⁻/Å²", digits=2),
    _Field(key="dose_per_frame_e_ang2", title="Dose of a frame", unit="e⁻/Å²", digits=3),
    _Field(key="exposure_time_s", title="Exposure", unit="s", digits=2),
    _Field(key="frame_count", title="Frames", digits=0),
    _Field(key="stage_x_um", title="Stage x", unit="µm", digits=2),
    _Field(key="stage_y_um", title="Stage y", unit="µm", digits=2),
    _Field(key="stage_z_um", title="Stage z", unit="µm", digits=2),
    _Field(key="tilt_deg", title="Tilt", unit="°", digits=2),
    _Field(key="beam_shift_xy", title="Beam shift x, y (the program's unit)", digits=4),
    _Field(key="beam_tilt_xy", title="Beam tilt x, y (the program's unit)", digits=4),
    _Field(key="magnification", title="Magnification", unit="×", digits=0),
    _Field(key="camera", title="Camera"),
    _Field(key="detector_mode", title="Detector's mode"),
    _Field(key="binning", title="Binning", digits=1),
    _Field(key="super_resolution", title="Stored in super-resolution"),
    _Field(key="energy_filter", title="Energy filter"),
    _Field(key="energy_slit_ev", title="Energy slit", unit="eV", digits=1),
    _Field(key="phase_plate", title="Phase plate"),
    _Field(key="c2_aperture_um", title="C2 aperture", unit="µm", digits=0),
    _Field(key="illumination_mode", title="Illumination"),
    _Field(key="imaging_mode", title="Imaging"),
    _Field(key="electron_source", title="Electron source"),
    _Field(key="instrument", title="Instrument"),
    _Field(key="gain_file_name", title="Gain reference named"),
    _Field(key="defect_file_name", title="List of defects named"),
    _Field(key="software", title="Program"),
)


def facts_of(metadata: Mapping[str, object]) -> list[Fact]:
    """Return what is stored of an exposure's metadata; what nobody said is left out."""
    source = str(metadata.get("source") or "")
    said_by = metadata.get("said_by")
    others: Mapping[str, object] = said_by if isinstance(said_by, Mapping) else {}
    return [
        Fact(title=field.title, value=_shown(value, field), source=str(others.get(field.key) or source))
        for field in _FIELDS
        if (value := metadata.get(field.key)) is not None
    ]


def _shown(value: object, field: _Field) -> str:
    if field.key == "acquired_at":
        return to_the_second(str(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value * field.scale, field.unit, field.digits)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_shown(part, field) for part in value)
    return str(value)
