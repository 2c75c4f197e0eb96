"""Where ours is better than what it stands in for, and what it refuses."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from cryodaq.elogbook import tables

EXPERIMENT = "20261122-CS01"
SAMPLE_PARAMS = {
    "imaging_method": "single-particle",
    "imaging_software": "EPU",
    "imaging_format": ".tif",
    "superres": "0.0",
    "apix": 0.82,
    "fmdose": 1.1,
    "total_dose": 55.0,
    "frame_duration": 0.05,
    "exposure_time": 2.5,
    "phase_plate": "0",
    "preprocess/enable": "1.0",
}
LGBK, CONTROL = f"/lgbk/{EXPERIMENT}/ws", f"/run_control/{EXPERIMENT}/ws"


@pytest.fixture
def program(session_of_two_samples: Any) -> httpx.Client:
    return session_of_two_samples.as_program("operator1")


def start(program: httpx.Client, run: str, **query: str) -> dict[str, Any]:
    answer = program.post(f"{CONTROL}/start_run", params={"run_num": run, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["value"]


def value(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["value"]


def test_runs_stay_open_until_asked_and_end_run_ends_the_run_it_names(program: httpx.Client) -> None:
    for run in ("b_movie", "a_movie", "0042"):
        start(program, run)
    assert value(program.get(f"{LGBK}/current_run"))["num"] == 42
    ended = value(program.post(f"{CONTROL}/end_run", params={"run_num": "a_movie", "end_time": "2026-11-22T10:00:00Z"}))
    assert (ended["num"], ended["end_time"]) == ("a_movie", "2026-11-22T10:00:00+00:00")
    ends = {run["num"]: run["end_time"] for run in value(program.get(f"{LGBK}/runs"))}
    assert ends == {"b_movie": None, "a_movie": "2026-11-22T10:00:00+00:00", 42: None}


def test_a_duplicate_start_is_a_conflict_and_changes_nothing(program: httpx.Client) -> None:
    start(program, "movie", start_time="2026-11-22T09:00:00Z")
    again = program.post(f"{CONTROL}/start_run", params={"run_num": "movie"}, json={"other": 1})
    assert again.status_code == 409
    (run,) = value(program.get(f"{LGBK}/runs"))
    assert (run["begin_time"], run["end_time"], run["params"]) == ("2026-11-22T09:00:00+00:00", None, {})


def test_a_start_time_in_the_body_is_when_the_run_began(program: httpx.Client) -> None:
    answer = program.post(f"{CONTROL}/start_run", params={"run_num": "m"}, json={"start_time": "2026-11-22T08:02:00Z"})
    run = value(answer)
    assert run["begin_time"] == "2026-11-22T08:02:00+00:00"
    assert run["params"] == {"start_time": "2026-11-22T08:02:00Z"}


def test_counted_runs_step_over_given_numbers(program: httpx.Client) -> None:
    start(program, "2")
    assert [value(program.post(f"{CONTROL}/start_run"))["num"] for _ in range(3)] == [1, 3, 4]


def test_files_keep_their_locations_and_belong_to_runs_by_any_name(program: httpx.Client) -> None:
    start(program, "0042")
    file = {"path": "raw/a.tif", "run_num": "00042", "size": 5}
    assert program.post(f"{LGBK}/register_file", json=file).json() == {"success": True}
    here = {"location": "SLAC", "run_num": "42", "file_path": "raw/a.tif"}
    assert program.post(f"{LGBK}/file_available_at_location", params=here).json() == {"success": True}
    program.post(f"{LGBK}/register_file", json={**file, "size": 6, "quality": "good"})
    (found,) = value(program.get(f"{LGBK}/42/files"))
    assert (found["size"], found["run_num"], found["quality"]) == (6, 42, "good")
    assert list(found["locations"]) == ["SLAC"]
    start(program, "a/b c")
    program.post(f"{LGBK}/register_file", json={"path": "x", "run_num": "a/b c"})
    assert [file["path"] for file in value(program.get(f"{LGBK}/a%2Fb%20c/files"))] == ["x"]


def test_a_wrong_file_does_not_stop_the_others(program: httpx.Client) -> None:
    start(program, "m")
    items = [
        {"path": "ok"},
        {"path": "bad", "size": -1},
        {"path": "bad", "create_timestamp": "yesterday"},
        "text",
        {"path": 5},
        {"path": ""},
        {"path": "bad", "run_num": []},
        {"path": "bad", "size": 2**63},
        {"path": "fine", "create_timestamp": "2026-11-22T08:01:00.5+01:00"},
    ]
    answers = program.post(f"{LGBK}/register_file", json=items).json()
    assert [answer["success"] for answer in answers] == [True, *[False] * 7, True]
    assert {file["path"] for file in value(program.get(f"{LGBK}/files"))} == {"ok", "fine"}


def test_activations_of_samples_are_kept(program: httpx.Client) -> None:
    for verb, name in (
        ("make_sample_current", "grid1"),
        ("make_sample_current", "grid2"),
        ("make_sample_current", "grid2"),
        ("stop_current_sample", "grid2"),
    ):
        assert program.post(f"{LGBK}/{verb}", params={"sample_name": name}).json() == {"success": True}
    second, first = value(program.get(f"{LGBK}/sample_activations"))
    assert (first["sample_name"], second["sample_name"]) == ("grid1", "grid2")
    assert first["stopped_at"] is not None
    assert second["stopped_by"] == "operator1"
    contents = [entry["content"] for entry in value(program.get(f"{LGBK}/elog"))]
    assert contents == [
        "Sample grid1 was activated by operator1",
        "Sample grid2 was activated by operator1",
        "Sample grid2 was stopped by operator1",
    ]


def test_the_name_rule_needs_an_explicit_override(program: httpx.Client) -> None:
    document = value(program.get(f"{LGBK}/info"))
    document = {key: found for key, found in document.items() if key not in {"_id", "name"}}
    register = "/lgbk/ws/register_new_experiment"
    refused = program.post(register, params={"experiment_name": "weird name"}, json=document)
    assert refused.status_code == 400
    assert "YYYYMMDD-CXNN" in refused.text
    query = {"experiment_name": "weird name", "override_name_rule": "true"}
    assert program.post(register, params=query, json=document).json() == {"success": True}
    assert value(program.get("/lgbk/weird%20name/ws/info"))["name"] == "weird name"


def test_a_sample_named_at_registration_waits_for_its_parameters(program: httpx.Client) -> None:
    document = {**value(program.get(f"{LGBK}/info")), "initial_sample": "grid0"}
    query = {"experiment_name": "20261122-CS02"}
    assert program.post("/lgbk/ws/register_new_experiment", params=query, json=document).status_code == 200
    (sample,) = value(program.get("/lgbk/20261122-CS02/ws/samples"))
    assert sample["name"] == "grid0"
    refused = program.post("/lgbk/20261122-CS02/ws/make_sample_current", params={"sample_name": "grid0"}).json()
    assert refused == {
        "success": False,
        "errormsg": "One of the required parameters params.imaging_method was not specified",
    }


def test_a_locked_experiment_takes_no_runs(program: httpx.Client) -> None:
    program.post("/lgbk/ws/lock_unlock_experiment", params={"experiment_name": EXPERIMENT})
    assert program.post(f"{CONTROL}/start_run", params={"run_num": "m"}).status_code == 423
    assert value(program.get(f"{LGBK}/info"))["is_locked"] is True
    program.post("/lgbk/ws/lock_unlock_experiment", params={"experiment_name": EXPERIMENT})
    start(program, "m")


def test_nothing_is_told_without_an_account_and_nothing_private_with_one(session_of_two_samples: Any) -> None:
    reads = ["info", "internalinfo", "samples", "runs", "files", "collaborators", "current_run", "elog"]
    for path in reads:
        assert session_of_two_samples.anonymous().get(f"{LGBK}/{path}").status_code == 403
        with session_of_two_samples.as_program("reader1") as reader:
            assert reader.get(f"{LGBK}/{path}").status_code == 403


def test_a_restricted_experiment_is_open_to_its_own_people_only(
    session_of_two_samples: Any, program: httpx.Client
) -> None:
    program.post(f"{LGBK}/add_update_experiment_params", json={"is_restricted": "true"})
    assert program.get(f"{LGBK}/info").status_code == 403
    with session_of_two_samples.as_program("student1") as member_of_the_group:
        assert member_of_the_group.get(f"{LGBK}/info").status_code == 200
        assert value(member_of_the_group.get("/lgbk/ws/experiments"))[0]["name"] == EXPERIMENT
    assert value(program.get("/lgbk/ws/experiments")) == []


def test_two_operators_switching_at_once_leave_one_order_of_things(
    session_of_two_samples: Any, program: httpx.Client
) -> None:
    document = value(program.get(f"{LGBK}/info"))
    names = [f"20261122-C{number:03d}" for number in range(6)]
    for name in names:
        program.post("/lgbk/ws/register_new_experiment", params={"experiment_name": name}, json=document)
    answers = []

    def switch(name: str) -> None:
        with session_of_two_samples.as_program("operator1") as own:
            body = {"experiment_name": name, "instrument": "TEM1", "station": 0}
            answers.append(own.post("/lgbk/ws/switch_experiment", json=body).json())

    threads = [threading.Thread(target=switch, args=(name,)) for name in names * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    history = value(program.get("/lgbk/ws/instrument_switch_history", params={"instrument": "TEM1"}))
    order = [row["experiment_name"] for row in history]
    assert len(order) == 1 + sum(answer["success"] for answer in answers)
    assert all(later != earlier for later, earlier in pairwise(order))
    engine = session_of_two_samples.engine()
    players = tables.experiment_player.c
    with engine.connect() as connection:
        held = connection.scalars(sa.select(players.experiment_name).where(players.player == "uid:tem1opr")).all()
    assert held == [order[0]], "the operator account has rights in the active experiment, and in no other"


STRANGE = [
    "../../etc/passwd",
    "a/b",
    "a\\b",
    ".",
    "..",
    ".hidden",
    "-rf",
    "a\tb",
    "a\u202eb",
    "x" * 300,
    " ",
    " a",
    "a\n",
    "",
]


def test_names_that_cannot_be_folders_are_refused(program: httpx.Client) -> None:
    document = value(program.get(f"{LGBK}/info"))
    for name in STRANGE:
        query = {"experiment_name": name, "override_name_rule": "true"}
        answer = program.post("/lgbk/ws/register_new_experiment", params=query, json=document)
        instrument = program.post("/lgbk/ws/instruments/", json={"_id": name, "description": ""})
        sample = program.post(f"{LGBK}/samples/", json={"name": name, "description": "", "params": SAMPLE_PARAMS})
        clone = {"existing_sample_name": "grid1", "new_sample_name": name}
        copy = program.post(f"{LGBK}/clone_sample", params=clone)
        assert [found.status_code for found in (answer, instrument, sample, copy)] == [400] * 4, name
    assert {found["name"] for found in value(program.get(f"{LGBK}/samples"))} == {"grid1", "grid2"}


BODIES = [
    b"",
    b"null",
    b"[]",
    b"5",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b"[[[[" * 30_000,
    b'{"a": "\\u0000"}',
    b'{"\\ud800": 1}',
    b'{"name": 5, "description": [], "params": "x", "_id": {}, "instrument": 7, "station": "x"}',
    b'{"name": "n", "description": "d", "params": {"apix": 1e999}}',
    b'{"instrument": "TEM1", "station": 99999999999999999999, "experiment_name": {}}',
    b'{"instrument": "TEM1", "station": -1, "experiment_name": "x"}',
    b'{"instrument": "TEM1", "station": true, "experiment_name": "x"}',
    b'{"path": "p", "run_num": {"$gt": ""}, "size": 1e400}',
    json.dumps({"x" * 70_000: 1, "path": "p" * 5000}).encode(),
    b'{"start_time": "0001-01-01T00:00:00+23:59", "end_time": "9999-12-31T23:59:59-23:59"}',
]
WRITES = [
    ("POST", "/lgbk/ws/instruments/"),
    ("PUT", "/lgbk/ws/instruments/TEM1"),
    ("POST", "/lgbk/ws/register_new_experiment?experiment_name=20261122-CS03"),
    ("POST", f"/lgbk/ws/experiment_edit_info?experiment_name={EXPERIMENT}"),
    ("POST", f"{LGBK}/add_update_experiment_params"),
    ("POST", "/lgbk/ws/switch_experiment"),
    ("POST", "/lgbk/ws/instrument_standby"),
    ("POST", "/lgbk/ws/get_experiment_infos"),
    ("POST", f"{LGBK}/samples/"),
    ("PUT", f"{LGBK}/samples/{'0' * 24}"),
    ("PUT", f"{LGBK}/samples/a%2Fb"),
    ("POST", f"{CONTROL}/start_run?run_num=strange"),
    ("POST", f"{CONTROL}/add_run_params?run_num=movie"),
    ("POST", f"{CONTROL}/add_update_run_param_descriptions"),
    ("POST", f"{LGBK}/register_file"),
    ("POST", "/session"),
    ("POST", "/session/tickets"),
]


def test_no_body_whatsoever_breaks_the_server(program: httpx.Client) -> None:
    start(program, "movie")
    for method, path in WRITES:
        for body in BODIES:
            answer = program.request(method, path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500, (method, path, body[:80], answer.text)
    json.loads(program.get(f"{LGBK}/runs").text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_ten_megabytes_are_refused_before_they_are_read(program: httpx.Client) -> None:
    answer = program.post(
        f"{LGBK}/register_file", content=b"[" + b" " * 10_000_000, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert "4000000 bytes" in answer.text


QUERIES = [
    "a%00b",
    "%ff%fe",
    "%ED%A0%80",
    "%F0%9F%94%AC",
    "x" * 5000,
    "%2e%2e%2f",
    "1e400",
    "9" * 40,
    "",
    "true",
    "%5B%5D",
]


def test_no_query_whatsoever_breaks_the_server(program: httpx.Client) -> None:
    start(program, "movie")
    paths = [
        f"{CONTROL}/start_run?sample=grid1&run_num=",
        f"{CONTROL}/start_run?run_num=q&start_time=",
        f"{CONTROL}/start_run?run_num=q&run_type=",
        f"{CONTROL}/start_run?run_num=q&sample=",
        f"{CONTROL}/end_run?run_num=",
        f"{CONTROL}/end_run?run_num=movie&end_time=",
        f"{LGBK}/runs?sampleName=",
        f"{LGBK}/runs/",
        f"{LGBK}/samples/",
        f"{LGBK}/files?sampleName=",
        f"{LGBK}/add_collaborator?uid=",
        f"{LGBK}/toggle_role?uid=uid:pi1&role_fq_name=",
        f"{LGBK}/make_sample_current?sample_name=",
        f"{LGBK}/clone_sample?existing_sample_name=grid1&new_sample_name=",
        f"{LGBK}/has_role?role_fq_name=",
        f"{LGBK}/file_available_at_location?location=SLAC&file_path=a&run_num=",
        "/lgbk/ws/activeexperiment_for_instrument_station?instrument_name=TEM1&station=",
        "/lgbk/ws/instrument_switch_history?station=0&instrument=",
        "/lgbk/ws/sorted_experiment_ids?sort=",
        "/lgbk/ws/ops_search_exp_infos?search_text=",
        "/lgbk/ws/get_matching_uids?uid=",
        "/lgbk/get_modal_param_definitions?modal_type=",
        "/session/rights?experiment=",
        "/lgbk/",
    ]
    for path in paths:
        for query in QUERIES:
            answer = program.get(path + query)
            assert answer.status_code < 500, (path, query, answer.text)


def test_another_content_type_is_told(program: httpx.Client) -> None:
    answer = program.post(f"{CONTROL}/add_run_params", data={"a": "1"})
    assert answer.status_code == 415
