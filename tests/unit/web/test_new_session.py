"""The form of a new session becomes what the elogbook wants, or sentences beside the fields."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.elogbook.definitions import load_definitions
from cryodaq.web.new_session import Reading, read_form
from cryodaq.web.sample_fields import as_sent, defaults, field_groups, read_params

GROUPS = field_groups(load_definitions(None)["samples"]["params"])
TEM1 = Microscope(
    name="tem1",
    instrument="TEM1",
    station=0,
    shares=(Share(root=PurePosixPath("/share")),),
    gain_root=None,
    detector="K3",
    defaults=InstrumentDefaults(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1),
    retention=RetentionRule(),
    queue="tem1",
)
SENT = {
    **defaults(GROUPS),
    "experiment": "new",
    "begins": "2026-11-22",
    "proposal": "CS01",
    "days": "3",
    "leader": "pi1",
    "sample_name": "apoferritin",
    "p:apix": "0,82",
    "p:fmdose": "1.1",
    "p:total_frames": "40",
    "p:total_dose": "44",
    "p:frame_duration": "0.05",
    "p:exposure_time": "2",
}


def read(people: tuple[str, ...] = (), **changed: str) -> Reading:
    sent = {**SENT, **{key.replace("__", ":"): value for key, value in changed.items()}}
    return read_form(sent, people, groups=GROUPS, microscope=TEM1, zone=ZoneInfo("Europe/Berlin"))


def test_a_new_experiment_is_named_by_date_and_proposal_and_begins_at_the_sites_midnight() -> None:
    found = read(("student1", "student1", "uwe"))
    assert found.problems == {}
    register = found.wanted.register
    assert register is not None
    assert (register.name, register.leader, register.contact) == ("20261122-CS01", "pi1", "pi1")
    assert register.starts_at == datetime(2026, 11, 21, 23, 0, tzinfo=UTC)
    assert register.ends_at - register.starts_at == datetime(2026, 1, 4) - datetime(2026, 1, 1)  # noqa: DTZ001
    assert found.wanted.collaborators == ("student1", "uwe")


def test_numbers_are_numbers_and_choices_are_the_sites() -> None:
    params = read().wanted.params
    assert (params["apix"], params["total_dose"], params["total_frames"]) == (0.82, 44.0, "40")
    assert (params["superres"], params["imaging_method"]) == ("0.0", "single-particle")
    assert "kev" not in params


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"begins": "22.11.2026"}, "begins"),
        ({"proposal": "CS/../01"}, "proposal"),
        ({"proposal": "<script>"}, "proposal"),
        ({"days": "0"}, "days"),
        ({"days": "٣"}, "days"),
        ({"leader": "uid:*"}, "leader"),
        ({"sample_name": "../etc"}, "sample_name"),
        ({"sample_name": "x" * 101}, "sample_name"),
        ({"experiment": ""}, "experiment"),
        ({"p__apix": "nan"}, "p:apix"),
        ({"p__apix": "1e999"}, "p:apix"),
        ({"p__apix": ""}, "p:apix"),
        ({"p__superres": "perhaps"}, "p:superres"),
        ({"p__preprocess/align/motioncor2/patch": "many"}, "params"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(changed: dict[str, str], field: str) -> None:
    assert field in read(**changed).problems


def test_an_account_that_is_none_is_refused() -> None:
    assert "person" in read(("uwe", "a b")).problems


def test_an_earlier_samples_values_come_back_as_they_were() -> None:
    params = read(p__particle_size="160").wanted.params
    again, problems = read_params(GROUPS, as_sent(GROUPS, params))
    assert (again, problems) == (dict(params), {})


def test_values_of_another_spelling_choose_the_same_option() -> None:
    sent = as_sent(GROUPS, {"superres": "1", "phase_plate": 0, "imaging_method": "unknown"})
    assert (sent["p:superres"], sent["p:phase_plate"], sent["p:imaging_method"]) == ("1.0", "0", "")


def test_what_a_site_adds_is_asked_for_too() -> None:
    own: list[dict[str, Any]] = [
        {"param_name": "params.grid_type", "required": True, "param_type": "string", "label": "Grid"},
        {"param_name": "params.tilt", "required": True, "param_type": "float", "showwhen": {"experiment.type": "TEM"}},
    ]
    groups = field_groups(own)
    assert [(group.title, group.folded) for group in groups[-2:]] == [
        ("Also needed", False),
        ("More parameters of this site", True),
    ]
    assert groups[-2].fields[0].required
    assert not groups[-1].fields[0].required
