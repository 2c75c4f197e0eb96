"""The check of a sample's parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryodaq.elogbook.definitions import definition, find_problem, load_definitions
from cryodaq.errors import ConfigError

COMPLETE = {
    "imaging_method": "single-particle",
    "imaging_software": "EPU",
    "imaging_format": ".tif",
    "superres": "0.0",
    "apix": 0.82,
    "fmdose": 1.1,
    "total_dose": 50.0,
    "frame_duration": 0.05,
    "exposure_time": 2.5,
    "phase_plate": "0",
    "preprocess/enable": "1.0",
}


def problem(params: dict[str, object], *, strict: bool = False, **experiment: object) -> str | None:
    return find_problem(load_definitions(None), params, experiment_params=experiment, every_number_required=strict)


def test_a_complete_sample_has_no_problem() -> None:
    assert problem(COMPLETE) is None


def test_optional_numbers_may_be_absent_but_not_text() -> None:
    assert problem({**COMPLETE, "particle_size": 150}) is None
    assert problem({**COMPLETE, "particle_size": "150"}) == "The parameter params.particle_size is not an number"
    assert problem(COMPLETE, strict=True) == "The parameter params.particle_size is not an number"


def test_what_is_shown_only_for_one_type_of_experiment_is_required_only_there() -> None:
    assert problem(COMPLETE, type="SPA") == "One of the required parameters params.total_frames was not specified"
    assert problem({**COMPLETE}, type="TEM") is None


def test_zero_and_false_are_values() -> None:
    assert problem({**COMPLETE, "fmdose": 0}) is None
    assert problem({**COMPLETE, "fmdose": 0}, strict=True) == (
        "One of the required parameters params.fmdose was not specified"
    )
    assert problem({**COMPLETE, "apix": True}) == "The parameter params.apix is not an number"


def test_a_site_replaces_definitions(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text('{"params": [{"param_name": "params.dose", "required": true}]}')
    loaded = load_definitions(tmp_path)
    assert find_problem(loaded, {}, experiment_params={}, every_number_required=False) == (
        "One of the required parameters params.dose was not specified"
    )
    assert definition(loaded, "nope") == {"_id": "nope", "params": []}


@pytest.mark.parametrize("content", ["[]", '{"params": 1}', "{"])
def test_definitions_that_make_no_sense_are_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "samples.json").write_text(content)
    with pytest.raises(ConfigError, match=r"samples\.json"):
        load_definitions(tmp_path)
