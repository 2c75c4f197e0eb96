"""Imaging parameters: who wins, what is impossible, and what contradicts each other."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.parameters import (
    ImagingParameters,
    InstrumentDefaults,
    Source,
    Sourced,
    find_disagreements,
    from_mapping,
    read_flag,
    read_number,
    read_operator_settings,
    resolve_parameters,
    to_mapping,
)
from cryodaq.errors import ParameterError

COMPLETE = {"apix": "0.82", "fmdose": 1.1, "total_frames": "40", "particle_size": 150.0, "superres": "0.0"}
TITAN = InstrumentDefaults(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1)


def resolve(
    params: dict[str, Any], metadata: AcquisitionMetadata | None = None, instrument: InstrumentDefaults = TITAN
) -> ImagingParameters:
    return resolve_parameters(read_operator_settings(params), metadata, instrument)[0]


def test_the_operators_value_wins_over_the_metadata() -> None:
    found = resolve(COMPLETE, AcquisitionMetadata(source="a.xml", pixel_size_ang=0.83))
    assert found.pixel_size_ang == Sourced(value=0.82, source=Source.OPERATOR)


def test_the_facilitys_calibration_wins_over_everybody() -> None:
    calibrated = InstrumentDefaults(
        voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1, calibrated_pixel_size_ang=0.825
    )
    assert resolve(COMPLETE, None, calibrated).pixel_size_ang == Sourced(value=0.825, source=Source.CALIBRATED)


def test_the_physical_pixel_is_halved_once_at_super_resolution() -> None:
    assert resolve({**COMPLETE, "superres": "1.0"}).pixel_size_ang.value == pytest.approx(0.41)


def test_the_dose_of_a_frame_follows_from_the_total_dose() -> None:
    params = {key: value for key, value in COMPLETE.items() if key != "fmdose"}
    metadata = AcquisitionMetadata(source="a.xml", total_dose_e_ang2=50.0, frame_count=40)
    assert resolve(params, metadata).dose_per_frame_e_ang2 == Sourced(value=1.25, source=Source.METADATA)


def test_everything_that_nothing_says_is_named_with_its_elogbook_key() -> None:
    with pytest.raises(ParameterError, match=r"pixel_size_ang .*apix.*dose_per_frame_e_ang2 .*fmdose"):
        resolve({"superres": "no"})


@pytest.mark.parametrize(("key", "value"), [("apix", "-1"), ("apix", 900), ("fmdose", "lots"), ("fmdose", "nan")])
def test_an_impossible_value_is_refused_and_named(key: str, value: object) -> None:
    with pytest.raises(ParameterError, match=r"apix|fmdose|pixel_size_ang"):
        resolve({**COMPLETE, key: value})


def test_a_factor_of_two_in_pixel_size_is_named_as_super_resolution() -> None:
    metadata = AcquisitionMetadata(source="a.xml", pixel_size_ang=0.41)
    _, disagreements = resolve_parameters(read_operator_settings(COMPLETE), metadata, TITAN)
    assert [d.field for d in disagreements] == ["pixel_size_ang"]
    assert "super-resolution" in disagreements[0].text


@pytest.mark.parametrize(
    ("operator", "metadata", "fitted", "said"),
    [
        ("0", None, False, None),
        ("1", None, True, None),
        ("1", True, True, None),
        ("0", True, True, "metadata says yes, operator says no"),
        ("yes", False, True, "operator says yes, metadata says no"),
        ("Volta", None, True, None),
        ("", True, True, None),
        ("", False, False, None),
        ("None", None, False, None),
        ("n/a", None, False, None),
    ],
)
def test_a_phase_shift_is_fitted_where_anybody_says_that_there_was_a_phase_plate(
    operator: str, metadata: bool | None, fitted: bool, said: str | None
) -> None:
    exposure = AcquisitionMetadata(source="a.xml", phase_plate=metadata)
    settings = read_operator_settings({**COMPLETE, "phase_plate": operator})
    parameters, disagreements = resolve_parameters(settings, exposure, TITAN)
    assert parameters.phase_plate is fitted
    assert disagreements == find_disagreements(settings, exposure, TITAN)
    texts = [one.text for one in disagreements]
    assert texts == ([] if said is None else [f"phase plate: {said}; a phase shift is fitted"])


def test_a_small_difference_is_no_disagreement_but_another_voltage_always_is() -> None:
    metadata = AcquisitionMetadata(source="a.xml", pixel_size_ang=0.84, voltage_kv=200.0)
    parameters, disagreements = resolve_parameters(read_operator_settings(COMPLETE), metadata, TITAN)
    assert parameters.voltage_kv == Sourced(value=200.0, source=Source.METADATA)
    assert [d.field for d in disagreements] == ["voltage_kv"]


def test_the_frames_of_the_file_win_over_the_operators_number() -> None:
    metadata = AcquisitionMetadata(source="a.xml", frame_count=50)
    parameters, disagreements = resolve_parameters(read_operator_settings(COMPLETE), metadata, TITAN)
    assert parameters.frame_count == Sourced(value=50.0, source=Source.METADATA)
    assert [d.field for d in disagreements] == ["frame_count"]


@pytest.mark.parametrize(("text", "meant"), [("1.0", True), ("yes", True), (1, True), ("0.0", False), ("No", False)])
def test_a_yes_or_no_is_understood_as_operators_write_it(text: object, meant: bool) -> None:
    assert read_flag(text, name="preprocess/enable", default=not meant) is meant  # type: ignore[arg-type]


def test_a_flag_that_is_neither_is_refused() -> None:
    with pytest.raises(ParameterError, match="maybe"):
        read_flag("maybe", name="superres", default=False)


@given(st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.none()))
def test_any_value_is_a_number_nothing_or_refused(value: object) -> None:
    try:
        found = read_number(value, name="apix")  # type: ignore[arg-type]
    except ParameterError:
        return
    assert found is None or math.isfinite(found)


def test_motioncor_patches_are_read_as_columns_then_rows() -> None:
    settings = read_operator_settings({"preprocess/align/motioncor2/patch": "7 5 20"})
    assert settings.patches_yx == (5, 7)


@given(
    st.floats(0.1, 10),
    st.sampled_from(list(Source)),
    st.booleans(),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.one_of(st.none(), st.integers(1, 400)),
)
def test_a_stored_snapshot_reads_back_as_it_was(
    value: float,
    source: Source,
    flag: bool,
    patches: tuple[int, int],
    frames: int | None,
) -> None:
    sourced = Sourced(value=value, source=source)
    record = ImagingParameters(
        pixel_size_ang=sourced,
        voltage_kv=sourced,
        cs_mm=sourced,
        amplitude_contrast=sourced,
        dose_per_frame_e_ang2=sourced,
        particle_diameter_ang=sourced,
        frame_count=None if frames is None else Sourced(value=float(frames), source=source),
        super_resolution=flag,
        phase_plate=not flag,
        patches_yx=patches,
        throw=3,
        picking_enabled=not flag,
    )
    assert from_mapping(to_mapping(record)) == record


def test_a_snapshot_that_is_none_is_refused() -> None:
    with pytest.raises(ParameterError):
        from_mapping({"pixel_size_ang": {"value": "x"}})
