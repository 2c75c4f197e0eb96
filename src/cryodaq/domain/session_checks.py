"""Arithmetic that an operator's parameters must satisfy before a session starts; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.parameters import PHYSICAL_RANGES, InstrumentDefaults, OperatorSettings, read_number

CLOSE = 0.02
"""Products that operators round themselves agree within this fraction."""
USUAL_VOLTAGES_KV = (80.0, 100.0, 120.0, 160.0, 200.0, 300.0)
MOST_DOSE_RATE_E_PX_S = 60.0
"""Above it no counting camera follows, e⁻ per physical pixel and second."""


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "good"
    DOUBT = "doubt"
    """A person must look; it may be meant so."""
    WRONG = "wrong"
    """Nothing sensible can come of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at, in a sentence with its numbers."""

    subject: str
    verdict: Verdict
    text: str


def check_parameters(
    settings: OperatorSettings, params: Mapping[str, ParameterValue], instrument: InstrumentDefaults
) -> list[Check]:
    """Return what follows from a sample's parameters, and whether they agree with each other.

    Parameters
    ----------
    params
        As entered; used for totals and times, which processing does not need.

    Raises
    ------
    ParameterError
        A text where a number belongs.
    """
    total_dose = read_number(params.get("total_dose"), name="total_dose")
    frame_s = read_number(params.get("frame_duration"), name="frame_duration")
    exposure_s = read_number(params.get("exposure_time"), name="exposure_time")
    made = [
        _ranges(settings),
        _dose(settings, total_dose),
        _times(settings, frame_s, exposure_s),
        _pixel(settings),
        _rate(settings, frame_s),
        _voltage(settings, instrument),
    ]
    return [check for check in made if check is not None]


def _ranges(settings: OperatorSettings) -> Check | None:
    said = {
        "pixel_size_ang": settings.pixel_size_ang,
        "voltage_kv": settings.voltage_kv,
        "cs_mm": settings.cs_mm,
        "dose_per_frame_e_ang2": settings.dose_per_frame_e_ang2,
        "particle_diameter_ang": settings.particle_diameter_ang,
        "frame_count": settings.frame_count,
    }
    names = {
        "pixel_size_ang": "pixel size (Å)",
        "voltage_kv": "voltage (kV)",
        "cs_mm": "spherical aberration (mm)",
        "dose_per_frame_e_ang2": "dose per frame (e⁻/Å²)",
        "particle_diameter_ang": "particle diameter (Å)",
        "frame_count": "frames",
    }
    outside = [
        f"{names[key]} {value:g} is not between {low:g} and {high:g}"
        for key, value in said.items()
        if value is not None
        for low, high in [PHYSICAL_RANGES[key]]
        if not low <= value <= high
    ]
    return Check(subject="Ranges", verdict=Verdict.WRONG, text="; ".join(outside)) if outside else None


def _dose(settings: OperatorSettings, total: float | None) -> Check | None:
    dose, frames = settings.dose_per_frame_e_ang2, settings.frame_count
    if dose is None or frames is None:
        return None
    product = dose * frames
    sentence = f"{frames} frames × {dose:g} e⁻/Å² = {product:.4g} e⁻/Å²"
    if total is None or abs(product - total) <= CLOSE * max(product, total):
        return Check(subject="Dose", verdict=Verdict.GOOD, text=sentence)
    text = f"{sentence}, but the total dose says {total:g} e⁻/Å²; one of the three is wrong"
    return Check(subject="Dose", verdict=Verdict.DOUBT, text=text)


def _times(settings: OperatorSettings, frame_s: float | None, exposure_s: float | None) -> Check | None:
    if settings.frame_count is None or frame_s is None or exposure_s is None:
        return None
    product = settings.frame_count * frame_s
    sentence = f"{settings.frame_count} frames × {frame_s:g} s = {product:.4g} s"
    if abs(product - exposure_s) <= CLOSE * max(product, exposure_s):
        return Check(subject="Exposure", verdict=Verdict.GOOD, text=sentence)
    text = f"{sentence}, but the exposure time says {exposure_s:g} s; one of the three is wrong"
    return Check(subject="Exposure", verdict=Verdict.DOUBT, text=text)


def _pixel(settings: OperatorSettings) -> Check | None:
    if settings.pixel_size_ang is None:
        return None
    physical = settings.pixel_size_ang
    if settings.super_resolution:
        text = f"physical pixel {physical:g} Å; frames are stored at super-resolution with {physical / 2:g} Å/px"
    else:
        text = f"frames are stored with {physical:g} Å/px, without super-resolution"
    return Check(subject="Pixel", verdict=Verdict.GOOD, text=text)


def _rate(settings: OperatorSettings, frame_s: float | None) -> Check | None:
    if settings.pixel_size_ang is None or settings.dose_per_frame_e_ang2 is None or frame_s is None:
        return None
    rate = settings.dose_per_frame_e_ang2 * settings.pixel_size_ang**2 / frame_s
    sentence = f"{rate:.3g} e⁻ per physical pixel and second"
    if rate <= MOST_DOSE_RATE_E_PX_S:
        return Check(subject="Dose rate", verdict=Verdict.GOOD, text=sentence)
    text = f"{sentence}, more than a counting camera follows; look at dose per frame, pixel and frame duration"
    return Check(subject="Dose rate", verdict=Verdict.DOUBT, text=text)


def _voltage(settings: OperatorSettings, instrument: InstrumentDefaults) -> Check | None:
    said, known = settings.voltage_kv, instrument.voltage_kv
    if said is None:
        if known is None:
            text = "nothing says the voltage; movies wait until their metadata does"
            return Check(subject="Voltage", verdict=Verdict.DOUBT, text=text)
        return Check(subject="Voltage", verdict=Verdict.GOOD, text=f"{known:g} kV, as this microscope has it")
    if known is not None and abs(said - known) > 1e-3 * known:
        text = f"{said:g} kV, but this microscope has {known:g} kV"
        return Check(subject="Voltage", verdict=Verdict.DOUBT, text=text)
    if not any(abs(said - usual) < 1 for usual in USUAL_VOLTAGES_KV):
        text = f"{said:g} kV is no usual voltage of a TEM; it is written in kV, such as 300"
        return Check(subject="Voltage", verdict=Verdict.DOUBT, text=text)
    return Check(subject="Voltage", verdict=Verdict.GOOD, text=f"{said:g} kV")
