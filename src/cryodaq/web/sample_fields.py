"""The parameters of a sample as fields of a form: what the site's elogbook defines, with labels and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.parameters import InstrumentDefaults

PREFIX = "p:"
"""Begins the names of these fields in forms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleField:
    """One parameter."""

    key: str
    """The elogbook's slash key."""
    label: str
    unit: str = ""
    number: bool = False
    """Whether the elogbook wants a JSON number."""
    options: tuple[tuple[str, str], ...] = ()
    """Values and how they are shown; empty: anything can be written."""
    required: bool = False
    help: str = ""
    default: str = ""

    @property
    def name(self) -> str:
        """Its name in the form."""
        return PREFIX + self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldGroup:
    """Fields that belong together."""

    title: str
    fields: tuple[SampleField, ...]
    folded: bool = False
    """Whether the group is shown only when asked for."""


_YES_NO = (("1.0", "Yes"), ("0.0", "No"))
_KNOWN: Mapping[str, tuple[SampleField, ...]] = {
    "What and how": (
        SampleField(
            key="imaging_method",
            label="Method",
            options=(("single-particle", "single-particle"), ("tomography", "tomography")),
            default="single-particle",
        ),
        SampleField(key="imaging_software", label="Acquisition program", options=(("EPU", "EPU"),), default="EPU"),
        SampleField(key="imaging_format", label="File format", options=((".tif", ".tif"),), default=".tif"),
        SampleField(key="kev", label="Voltage", unit="kV", number=True),
        SampleField(key="cs", label="Spherical aberration", unit="mm", number=True),
        SampleField(key="phase_plate", label="Phase plate", options=(("0", "No"), ("1", "Yes")), default="0"),
    ),
    "Pixel and dose": (
        SampleField(
            key="apix",
            label="Physical pixel size",
            unit="Å",
            number=True,
            help="At the specimen, without super-resolution: a frame at super-resolution has half of it.",
        ),
        SampleField(key="superres", label="Frames stored at super-resolution", options=_YES_NO, default="0.0"),
        SampleField(key="total_frames", label="Frames of a movie", required=True),
        SampleField(key="fmdose", label="Dose per frame", unit="e⁻/Å²", number=True),
        SampleField(key="total_dose", label="Total dose", unit="e⁻/Å²", number=True),
        SampleField(key="frame_duration", label="Frame duration", unit="s", number=True),
        SampleField(key="exposure_time", label="Exposure time", unit="s", number=True),
    ),
    "Processing": (
        SampleField(key="preprocess/enable", label="Process the movies", options=_YES_NO, default="1.0"),
        SampleField(key="preprocess/particle_pick/enable", label="Pick particles", options=_YES_NO, default="1.0"),
        SampleField(key="particle_size", label="Particle diameter", unit="Å", number=True),
        SampleField(
            key="preprocess/align/motioncor2/patch", label="Patches of alignment", help="Two numbers, such as 5 5."
        ),
        SampleField(key="preprocess/align/motioncor2/throw", label="Frames left out at the start", default="0"),
        SampleField(key="preprocess/align/motioncor2/trunc", label="Frames left out at the end", default="0"),
    ),
}
_OTHERS = "More parameters of this site"


def usual(instrument: InstrumentDefaults) -> dict[str, str]:
    """Return what holds where a field of the form is left empty, by the field's name."""
    said = {"kev": instrument.voltage_kv, "cs": instrument.cs_mm}
    return {PREFIX + key: f"{value:g}, of the microscope" for key, value in said.items() if value is not None}


def field_groups(definitions: Sequence[Mapping[str, Any]]) -> list[FieldGroup]:  # Any: the site's JSON
    """Return the groups of the form: the known parameters first, then whatever else the site defines.

    What is shown only for some experiments or methods is offered folded; the elogbook says when it is needed.
    """
    defined: dict[str, Mapping[str, Any]] = {}  # Any: the site's JSON
    for entry in definitions:
        defined.setdefault(str(entry.get("param_name", "")).removeprefix("params."), entry)
    groups = [
        FieldGroup(title=title, fields=tuple(_completed(known, defined.pop(known.key, None)) for known in fields))
        for title, fields in _KNOWN.items()
    ]
    others = [_foreign(key, entry) for key, entry in defined.items() if key]
    needed = tuple(one for one in others if one.required)
    folded = tuple(one for one in others if not one.required)
    groups += [FieldGroup(title="Also needed", fields=needed)] if needed else []
    return [*groups, FieldGroup(title=_OTHERS, fields=folded, folded=True)] if folded else groups


def _completed(known: SampleField, entry: Mapping[str, Any] | None) -> SampleField:  # Any: the site's JSON
    if entry is None:
        return known
    words = dict(known.options)
    options = tuple((value, words.get(value, label)) for value, label in _options(entry)) or known.options
    values = [value for value, _ in options]
    return SampleField(
        key=known.key,
        label=known.label,
        unit=known.unit,
        number=entry.get("param_type") in {"float", "int"},
        options=options,
        required=known.required or _always(entry),
        help=known.help,
        default=known.default if not options or known.default in values else "",
    )


def _foreign(key: str, entry: Mapping[str, Any]) -> SampleField:  # Any: the site's JSON
    return SampleField(
        key=key,
        label=str(entry.get("label") or key),
        number=entry.get("param_type") in {"float", "int"},
        options=(("true", "Yes"), ("false", "No")) if entry.get("param_type") == "bool" else _options(entry),
        required=_always(entry),
        help=str(entry.get("description") or ""),
    )


def _always(entry: Mapping[str, Any]) -> bool:  # Any: the site's JSON
    return bool(entry.get("required")) and not entry.get("showwhen")


def _options(entry: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:  # Any: the site's JSON
    found = entry.get("options") if entry.get("param_type") == "enum" else None
    made = []
    for option in found if isinstance(found, list) else []:
        if isinstance(option, Mapping):
            made.append((str(option.get("value", "")), str(option.get("label", ""))))
        else:
            made.append((str(option), str(option)))
    return tuple(made)


def read_params(
    groups: Sequence[FieldGroup], sent: Mapping[str, str]
) -> tuple[dict[str, ParameterValue], dict[str, str]]:
    """Read the fields of a form.

    Returns
    -------
    The parameters as the elogbook wants them, and for each field that is wrong a sentence.
    """
    params: dict[str, ParameterValue] = {}
    problems: dict[str, str] = {}
    for field in (field for group in groups for field in group.fields):
        text = sent.get(field.name, "").strip()
        if not text:
            if field.required:
                problems[field.name] = f"{field.label} is needed."
            continue
        if field.options and text not in [value for value, _ in field.options]:
            problems[field.name] = f"{field.label} cannot be {text[:40]}."
        elif field.number:
            number = read_number(text)
            if number is None:
                problems[field.name] = f"{field.label}: {text[:40]} is not a number."
            else:
                params[field.key] = number
        else:
            params[field.key] = text[:400]
    return params, problems


def read_number(text: str) -> float | None:
    """Read a number as people write it, with a comma too; None for anything that is no finite number."""
    try:
        value = float(text.replace(",", ".", 1) if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None


def as_sent(groups: Sequence[FieldGroup], params: Mapping[str, object]) -> dict[str, str]:
    """Return a sample's parameters as the form shows them."""
    found: dict[str, str] = {}
    for field in (field for group in groups for field in group.fields):
        value = params.get(field.key)
        if value is None:
            continue
        text = f"{value:g}" if isinstance(value, float) else str(value)
        values = [known for known, _ in field.options]
        found[field.name] = next((known for known in values if _same(known, text)), "") if values else text
    return found


def _same(known: str, text: str) -> bool:
    if known == text:
        return True
    left, right = read_number(known), read_number(text)
    return left is not None and left == right


def defaults(groups: Sequence[FieldGroup]) -> dict[str, str]:
    """Return what the form shows before anything is written."""
    return {field.name: field.default for group in groups for field in group.fields if field.default}
