"""Imaging parameters: one typed record, each field with its value, unit and source."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.experiment import ParameterValue
from cryodaq.errors import ParameterError

YES = frozenset({"1", "1.0", "yes", "true", "y", "on"})
NO = frozenset({"0", "0.0", "no", "false", "n", "off", "", "none"})
PHYSICAL_RANGES: dict[str, tuple[float, float]] = {
    "pixel_size_ang": (0.05, 200.0),
    "voltage_kv": (20.0, 1250.0),
    "cs_mm": (0.0, 10.0),
    "amplitude_contrast": (0.0, 0.5),
    "dose_per_frame_e_ang2": (1e-4, 100.0),
    "particle_diameter_ang": (20.0, 3000.0),
    "frame_count": (1, 100_000),
}
_SHOWN = {
    "pixel_size_ang": ("pixel size of the frames", " Å"),
    "voltage_kv": ("voltage", " kV"),
    "cs_mm": ("spherical aberration", " mm"),
    "amplitude_contrast": ("amplitude contrast", ""),
    "dose_per_frame_e_ang2": ("dose of a frame", " e⁻/Å²"),
    "particle_diameter_ang": ("particle diameter", " Å"),
    "frame_count": ("frames", ""),
}
"""How people read each value: its title and its unit."""
AGREEMENT = 0.05
"""Two sources that differ by more than this fraction raise an alarm."""


class Source(StrEnum):
    """Who said a value, strongest first."""

    CALIBRATED = "calibrated"
    """The facility's calibration by camera and magnification."""
    OPERATOR = "operator"
    METADATA = "metadata"
    """Files that the acquisition program wrote."""
    INSTRUMENT = "instrument"
    """The microscope's entry in the facility file or the elogbook."""
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """One value and who said it."""

    value: float
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagingParameters:
    """Everything that processing a movie needs to know beside its pixels."""

    pixel_size_ang: Sourced
    """Pixel of the stored frames, Å (half of the physical pixel at super-resolution)."""
    voltage_kv: Sourced
    cs_mm: Sourced
    amplitude_contrast: Sourced
    dose_per_frame_e_ang2: Sourced
    """e⁻/Å² per frame."""
    particle_diameter_ang: Sourced
    frame_count: Sourced | None = None
    """Frames that a complete movie has; None when nothing says it."""
    super_resolution: bool = False
    phase_plate: bool = False
    """Whether a phase shift is to be fitted."""
    patches_yx: tuple[int, int] = (1, 1)
    throw: int = 0
    """Frames left out at the start of the exposure."""
    trunc: int = 0
    """Frames left out at its end."""
    usual_gain_orientation: str | None = None
    """How other movies of the camera showed that the gain reference lies (`imaging.gain.ORIENTATIONS`)."""
    picking_enabled: bool = True

    def at_pixels_of(self, pixel_size_ang: float) -> ImagingParameters:
        """Return them for a picture of other pixels (Å) than the frames have, such as a sum of binned frames."""
        return replace(self, pixel_size_ang=replace(self.pixel_size_ang, value=pixel_size_ang))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Two sources that contradict each other."""

    field: str
    used: Sourced
    other: Sourced
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentDefaults:
    """What the facility file says of a microscope."""

    voltage_kv: float | None
    cs_mm: float | None
    amplitude_contrast: float
    calibrated_pixel_size_ang: float | None = None
    """Physical pixel at the movie's camera and magnification, when the facility calibrated it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """The sample's elogbook parameters, typed; None where the operator said nothing."""

    imaging_method: str
    preprocessing_enabled: bool
    picking_enabled: bool
    super_resolution: bool
    phase_plate: bool | None
    pixel_size_ang: float | None
    """`apix`: the PHYSICAL pixel, Å."""
    voltage_kv: float | None
    cs_mm: float | None
    dose_per_frame_e_ang2: float | None
    frame_count: int | None
    particle_diameter_ang: float | None
    patches_yx: tuple[int, int]
    throw: int
    trunc: int


def read_flag(value: ParameterValue, *, name: str, default: bool) -> bool:
    """Read a yes/no that operators write in many ways. Raises `ParameterError` for anything else."""
    if value is None:
        return default
    text = str(value).strip().lower()
    if text in YES:
        return True
    if text in NO:
        return False
    message = f"{name} is {value!r}; write yes or no"
    raise ParameterError(message)


def read_number(value: ParameterValue, *, name: str) -> float | None:
    """Read a number that may be a string; empty, 0 and "none" mean that nothing was said.

    Raises `ParameterError` for a text that is no number, NaN and infinity.
    """
    if value is None or isinstance(value, bool) or str(value).strip().lower() in {"", "none"}:
        return None
    try:
        number = float(str(value).strip())
    except ValueError:
        message = f"{name} is {value!r}, which is not a number; correct the sample in the elogbook"
        raise ParameterError(message) from None
    if not math.isfinite(number):
        message = f"{name} is {value!r}; correct the sample in the elogbook"
        raise ParameterError(message)
    return number or None


def _names_phase_plate(value: ParameterValue) -> bool | None:
    """Read a field that at some sites is yes or no, and at others free text such as Volta; None: nothing was said."""
    text = str(value if value is not None else "").strip().lower()
    if not text:
        return None
    return text not in NO and text not in {"-", "n/a", "na", "no phase plate", "not used", "out"}


def _patches(value: ParameterValue) -> tuple[int, int]:
    """Read MotionCor2's "5 5 20" (x, y, overlap) as (y, x)."""
    words = str(value or "").replace(",", " ").replace("x", " ").split()
    if not words:
        return (1, 1)
    if not all(word.isdigit() for word in words[:2]):
        message = f"preprocess/align/motioncor2/patch is {value!r}; write two numbers such as 5 5"
        raise ParameterError(message)
    x, y = int(words[0]), int(words[1] if len(words) > 1 else words[0])
    if not (1 <= x <= 32 and 1 <= y <= 32):
        message = f"preprocess/align/motioncor2/patch is {value!r}; between 1 and 32 patches a side are possible"
        raise ParameterError(message)
    return (y, x)


def read_operator_settings(params: Mapping[str, ParameterValue]) -> OperatorSettings:
    """Make the sample's slash keys typed. Raises `ParameterError` naming the key that is wrong."""

    def number(key: str) -> float | None:
        found = read_number(params.get(key), name=key)
        if found is not None and found < 0:
            message = f"{key} is {found:g}; it cannot be negative"
            raise ParameterError(message)
        return found

    frames = number("total_frames")
    throw, trunc = (number(f"preprocess/align/motioncor2/{key}") for key in ("throw", "trunc"))
    return OperatorSettings(
        imaging_method=str(params.get("imaging_method") or "single-particle").strip(),
        preprocessing_enabled=read_flag(params.get("preprocess/enable"), name="preprocess/enable", default=True),
        picking_enabled=read_flag(
            params.get("preprocess/particle_pick/enable"),
            name="preprocess/particle_pick/enable",
            default=True,
        ),
        super_resolution=read_flag(params.get("superres"), name="superres", default=False),
        phase_plate=_names_phase_plate(params.get("phase_plate")),
        pixel_size_ang=number("apix"),
        voltage_kv=number("kev"),
        cs_mm=number("cs"),
        dose_per_frame_e_ang2=number("fmdose"),
        frame_count=int(frames) if frames else None,
        particle_diameter_ang=number("particle_size"),
        patches_yx=_patches(params.get("preprocess/align/motioncor2/patch")),
        throw=int(throw or 0),
        trunc=int(trunc or 0),
    )


def _metadata_dose(metadata: AcquisitionMetadata | None) -> float | None:
    if metadata is None:
        return None
    if metadata.dose_per_frame_e_ang2:
        return metadata.dose_per_frame_e_ang2
    if metadata.total_dose_e_ang2 and metadata.frame_count:
        return metadata.total_dose_e_ang2 / metadata.frame_count
    return None


def _metadata_pixel(metadata: AcquisitionMetadata | None) -> float | None:
    """Return the pixel of the stored frames; SerialEM (binning 0.5) gives it, EPU gives that of its own sum."""
    if metadata is None or metadata.pixel_size_ang is None:
        return None
    of_the_sum = metadata.super_resolution and metadata.binning != 0.5
    return metadata.pixel_size_ang / 2 if of_the_sum else metadata.pixel_size_ang


def _candidates(
    operator: OperatorSettings, metadata: AcquisitionMetadata | None, instrument: InstrumentDefaults
) -> dict[str, list[Sourced]]:
    """Return, for each field, what every source says, strongest first."""
    factor = 0.5 if operator.super_resolution else 1.0

    def chain(*pairs: tuple[float | None, Source]) -> list[Sourced]:
        return [Sourced(value=float(value), source=source) for value, source in pairs if value is not None]

    def stored(pixel_size_ang: float | None) -> float | None:
        return None if pixel_size_ang is None else pixel_size_ang * factor

    return {
        "pixel_size_ang": chain(
            (stored(instrument.calibrated_pixel_size_ang), Source.CALIBRATED),
            (stored(operator.pixel_size_ang), Source.OPERATOR),
            (_metadata_pixel(metadata), Source.METADATA),
        ),
        "voltage_kv": chain(
            (operator.voltage_kv, Source.OPERATOR),
            (metadata.voltage_kv if metadata else None, Source.METADATA),
            (instrument.voltage_kv, Source.INSTRUMENT),
        ),
        "cs_mm": chain(
            (operator.cs_mm, Source.OPERATOR),
            (metadata.cs_mm if metadata else None, Source.METADATA),
            (instrument.cs_mm, Source.INSTRUMENT),
        ),
        "amplitude_contrast": chain((instrument.amplitude_contrast, Source.INSTRUMENT)),
        "dose_per_frame_e_ang2": chain(
            (operator.dose_per_frame_e_ang2, Source.OPERATOR), (_metadata_dose(metadata), Source.METADATA)
        ),
        "particle_diameter_ang": chain((operator.particle_diameter_ang, Source.OPERATOR), (150.0, Source.DEFAULT)),
        "frame_count": chain(
            (metadata.frame_count if metadata else None, Source.METADATA),
            (operator.frame_count, Source.OPERATOR),
        ),
    }


def _contradiction(field: str, used: Sourced, other: Sourced) -> Disagreement | None:
    ratio = other.value / used.value if used.value else math.inf
    exact = field in {"frame_count", "voltage_kv"}
    if abs(ratio - 1) <= (1e-3 if exact else AGREEMENT):
        return None
    title, unit = _SHOWN[field]
    text = f"{title}: {used.source} says {used.value:g}{unit}, {other.source} says {other.value:g}{unit}"
    if field == "pixel_size_ang" and min(abs(ratio - 2), abs(ratio - 0.5)) < AGREEMENT:
        text += "; a factor of two is usually super-resolution: check superres"
    return Disagreement(field=field, used=used, other=other, text=text)


def find_disagreements(
    operator: OperatorSettings, metadata: AcquisitionMetadata | None, instrument: InstrumentDefaults
) -> tuple[Disagreement, ...]:
    """Return where sources contradict each other, by the same rule, whether or not all that is needed is said."""
    said = _candidates(operator, metadata, instrument)
    values = [found for name, values in said.items() for found in _contradictions(name, values)]
    return (*values, *_phase_plate_contradictions(operator, metadata))


def _contradictions(name: str, said: Sequence[Sourced]) -> list[Disagreement]:
    """Return how the weaker sources of a value contradict the strongest."""
    others = (other for other in said[1:] if other.source is not Source.DEFAULT)
    return [found for other in others if (found := _contradiction(name, said[0], other))]


def _phase_plate_contradictions(operator: OperatorSettings, metadata: AcquisitionMetadata | None) -> list[Disagreement]:
    """Return what contradicts whoever says that there was a phase plate."""
    said = operator.phase_plate, metadata.phase_plate if metadata else None
    if None in said or said[0] == said[1]:
        return []
    yes, no = (Source.OPERATOR, Source.METADATA) if operator.phase_plate else (Source.METADATA, Source.OPERATOR)
    return [
        Disagreement(
            field="phase_plate",
            used=Sourced(value=1.0, source=yes),
            other=Sourced(value=0.0, source=no),
            text=f"phase plate: {yes} says yes, {no} says no; a phase shift is fitted",
        )
    ]


def resolve_parameters(
    operator: OperatorSettings, metadata: AcquisitionMetadata | None, instrument: InstrumentDefaults
) -> tuple[ImagingParameters, tuple[Disagreement, ...]]:
    """Decide every parameter by precedence: calibrated > operator > metadata > instrument > default.

    A phase plate is there when operator or metadata say so: looking for a phase shift of nothing does little harm,
    and missing one makes each defocus wrong.

    Raises
    ------
    ParameterError
        Names every value that nothing says, and every value that is physically impossible.
    """
    chosen: dict[str, Sourced] = {}
    problems: list[str] = []
    disagreements: list[Disagreement] = []
    for name, said in _candidates(operator, metadata, instrument).items():
        if not said:
            if name != "frame_count":
                problems.append(f"nothing says {name} (elogbook key {ELOGBOOK_KEYS[name]})")
            continue
        low, high = PHYSICAL_RANGES[name]
        if not low <= said[0].value <= high:
            problems.append(f"{name} = {said[0].value:g} from {said[0].source} is not between {low:g} and {high:g}")
        chosen[name] = said[0]
        disagreements += _contradictions(name, said)
    if problems:
        raise ParameterError("; ".join(problems))
    disagreements += _phase_plate_contradictions(operator, metadata)
    return (
        ImagingParameters(
            **chosen,
            super_resolution=operator.super_resolution,
            phase_plate=bool(operator.phase_plate or (metadata and metadata.phase_plate)),
            patches_yx=operator.patches_yx,
            throw=operator.throw,
            trunc=operator.trunc,
            usual_gain_orientation=None,
            picking_enabled=operator.picking_enabled,
        ),
        tuple(disagreements),
    )


ELOGBOOK_KEYS = {
    "pixel_size_ang": "apix",
    "voltage_kv": "kev",
    "cs_mm": "cs",
    "amplitude_contrast": "-",
    "dose_per_frame_e_ang2": "fmdose",
    "particle_diameter_ang": "particle_size",
    "frame_count": "total_frames",
}


def to_mapping(parameters: ImagingParameters) -> dict[str, object]:
    """Return the record as plain values, to be stored as a branch's snapshot."""
    plain: dict[str, object] = {}
    for field in fields(parameters):
        value = getattr(parameters, field.name)
        if isinstance(value, Sourced):
            plain[field.name] = {"value": value.value, "source": str(value.source)}
        else:
            plain[field.name] = list(value) if isinstance(value, tuple) else value
    return plain


def from_mapping(plain: Mapping[str, object]) -> ImagingParameters:
    """Read a stored snapshot. Raises `ParameterError` when it is not one."""
    values: dict[str, object] = {}
    try:
        for field in fields(ImagingParameters):
            stored = plain.get(field.name)
            if isinstance(stored, Mapping):
                values[field.name] = Sourced(value=float(stored["value"]), source=Source(stored["source"]))
            elif field.name == "patches_yx" and isinstance(stored, list | tuple):
                values[field.name] = (int(stored[0]), int(stored[1]))
            elif stored is not None:
                values[field.name] = stored
        return ImagingParameters(**values)  # type: ignore[arg-type]  # checked field by field above
    except (KeyError, TypeError, ValueError) as error:
        message = f"the stored parameters cannot be read: {error}"
        raise ParameterError(message) from error
