"""What the acquisition software wrote down about one exposure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, tzinfo

LONGEST_TEXT = 300
"""Characters of a text that are kept: programs write names, never essays."""
MOST_FRAMES = 1_000_000
_ABOVE_ZERO = frozenset(
    {"pixel_size_ang", "voltage_kv", "dose_per_frame_e_ang2", "total_dose_e_ang2", "exposure_time_s", "frame_count"}
    | {"binning", "magnification", "energy_slit_ev", "c2_aperture_um"}
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionMetadata:
    """Facts about one exposure as found in one file; None where that file does not say."""

    source: str
    """Name of the file that said so."""
    pixel_size_ang: float | None = None
    """Pixel of the image that this file describes, Å: for EPU the summed image, for SerialEM the frames."""
    voltage_kv: float | None = None
    cs_mm: float | None = None
    dose_per_frame_e_ang2: float | None = None
    """e⁻/Å² for each stored frame."""
    total_dose_e_ang2: float | None = None
    exposure_time_s: float | None = None
    frame_count: int | None = None
    """Frames that the movie must have; None where it cannot be known beforehand (EER)."""
    applied_defocus_ang: float | None = None
    """Defocus that was asked for; underfocus positive, Å."""
    stage_x_um: float | None = None
    stage_y_um: float | None = None
    stage_z_um: float | None = None
    tilt_deg: float | None = None
    beam_shift_xy: tuple[float, float] | None = None
    """Beam shift in the software's own unit: groups exposures by optics, and is no length."""
    camera: str | None = None
    detector_mode: str | None = None
    """'counting', 'super-resolution' or 'linear'."""
    binning: float | None = None
    """Camera pixels per pixel of the image described; 0.5 for super-resolution frames of SerialEM."""
    super_resolution: bool | None = None
    """True where the movie's frames are stored at half the physical pixel."""
    acquired_at: str | None = None
    """ISO 8601, with an offset where the file says one (SerialEM does not); a text that is no known time as it is."""
    grid_square: str | None = None
    foil_hole: str | None = None
    magnification: float | None = None
    movie_file_name: str | None = None
    """Base name of the movie that this file names."""
    gain_file_name: str | None = None
    """Base name of the gain reference that this file names."""
    software: str | None = None
    """Program and version that wrote the file."""
    beam_tilt_xy: tuple[float, float] | None = None
    """Beam tilt in the software's own unit."""
    defect_file_name: str | None = None
    """Base name of the list of defects that this file names."""
    energy_filter: bool | None = None
    """Whether electrons that lost energy were filtered out."""
    energy_slit_ev: float | None = None
    """Width of the filter's slit, eV; None without one."""
    phase_plate: bool | None = None
    c2_aperture_um: float | None = None
    """Diameter of the second condenser aperture, µm."""
    illumination_mode: str | None = None
    """Such as Parallel."""
    imaging_mode: str | None = None
    """Such as BrightField."""
    electron_source: str | None = None
    instrument: str | None = None
    """The microscope, as it names itself."""
    said_by: dict[str, str] = field(default_factory=dict)
    """Name of the file that said a field, where that is not `source`."""


def completed(first: AcquisitionMetadata | None, second: AcquisitionMetadata | None) -> AcquisitionMetadata | None:
    """Complete what one file says by what another one says, keeping who said what."""
    if first is None or second is None:
        return first or second
    names = [one.name for one in fields(AcquisitionMetadata) if one.name not in {"source", "said_by"}]
    missing = {
        name: value for name in names if getattr(first, name) is None and (value := getattr(second, name)) is not None
    }
    said_by = {name: second.said_by.get(name, second.source) for name in missing}
    return replace(first, **missing, said_by={**first.said_by, **said_by})


def with_zone(said: AcquisitionMetadata, zone: tzinfo) -> AcquisitionMetadata:
    """Return the same with the offset of a zone, where the time has none: SerialEM writes its computer's own time."""
    try:
        moment = datetime.fromisoformat(said.acquired_at or "")
    except ValueError:
        return said
    return said if moment.tzinfo else replace(said, acquired_at=moment.replace(tzinfo=zone).isoformat())


def believable(said: AcquisitionMetadata) -> AcquisitionMetadata:
    """Leave out what cannot be: numbers that are not finite, sizes and counts that are not above zero.

    Texts lose their control characters and what is longer than any program writes.
    """
    changed: dict[str, object] = {}
    for one in fields(said):
        value = getattr(said, one.name)
        kept = value
        if isinstance(value, str):
            kept = _CONTROL.sub("?", value)[:LONGEST_TEXT]
        elif isinstance(value, tuple):
            kept = value if all(map(math.isfinite, value)) else None
        elif isinstance(value, int | float) and not isinstance(value, bool):
            kept = value if _is_possible(one.name, value) else None
        if kept is not value and kept != value:
            changed[one.name] = kept
    return replace(said, **changed) if changed else said  # type: ignore[arg-type]  # each value for its own field


def _is_possible(name: str, value: float) -> bool:
    if not math.isfinite(value) or (name in _ABOVE_ZERO and value <= 0):
        return False
    return name != "frame_count" or value <= MOST_FRAMES
