"""What is said about parameters before a session starts is arithmetic."""

from __future__ import annotations

import pytest

from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.parameters import InstrumentDefaults, read_operator_settings
from cryodaq.domain.session_checks import Verdict, check_parameters
from cryodaq.errors import ParameterError

GOOD: dict[str, ParameterValue] = {
    "apix": 0.82,
    "superres": "1.0",
    "fmdose": 1.1,
    "total_frames": "40",
    "total_dose": 44.0,
    "frame_duration": 0.05,
    "exposure_time": 2.0,
    "kev": 300.0,
}
KRIOS = InstrumentDefaults(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1)


def verdicts(instrument: InstrumentDefaults = KRIOS, **changed: ParameterValue) -> dict[str, tuple[Verdict, str]]:
    params = GOOD | {key: value for key, value in changed.items() if value is not None}
    params = {key: value for key, value in params.items() if changed.get(key, 0) is not None}
    return {
        check.subject: (check.verdict, check.text)
        for check in check_parameters(read_operator_settings(params), params, instrument)
    }


def test_parameters_that_agree_are_good_and_say_what_follows() -> None:
    found = verdicts()
    assert {verdict for verdict, _ in found.values()} == {Verdict.GOOD}
    assert found["Dose"][1] == "40 frames × 1.1 e⁻/Å² = 44 e⁻/Å²"
    assert "stored at super-resolution with 0.41 Å/px" in found["Pixel"][1]
    assert found["Dose rate"][1].startswith("14.8 e⁻ per physical pixel and second")


@pytest.mark.parametrize(
    ("subject", "changed", "words"),
    [
        ("Dose", {"total_dose": 50.0}, "but the total dose says 50"),
        ("Exposure", {"exposure_time": 4.0}, "40 frames × 0.05 s = 2 s, but"),
        ("Dose rate", {"frame_duration": 0.005}, "more than a counting camera follows"),
        ("Voltage", {"kev": 200.0}, "but this microscope has 300 kV"),
    ],
)
def test_what_contradicts_itself_is_a_doubt(subject: str, changed: dict[str, ParameterValue], words: str) -> None:
    verdict, text = verdicts(**changed)[subject]
    assert verdict is Verdict.DOUBT
    assert words in text


def test_rounded_products_agree() -> None:
    assert verdicts(fmdose=1.12, total_dose=45.0)["Dose"][0] is Verdict.GOOD


def test_a_voltage_in_volts_is_wrong() -> None:
    found = verdicts(InstrumentDefaults(voltage_kv=None, cs_mm=None, amplitude_contrast=0.1), kev=300_000.0)
    assert found["Ranges"][0] is Verdict.WRONG
    assert found["Voltage"][0] is Verdict.DOUBT


def test_a_voltage_that_nobody_says_is_a_doubt() -> None:
    unknown = InstrumentDefaults(voltage_kv=None, cs_mm=2.7, amplitude_contrast=0.1)
    assert verdicts(unknown, kev=None)["Voltage"][0] is Verdict.DOUBT


def test_a_text_where_a_number_belongs_is_named() -> None:
    with pytest.raises(ParameterError, match="total_dose"):
        verdicts(total_dose="much")
