"""Renaming, removing and copying experiments; tables of their runs."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import pytest

from .conftest import SAMPLE_PARAMS, Site, register

OLD, NEW = "20261122-CS01", "20261122-CS02"
BOOK = f"/lgbk/{OLD}/ws"


@pytest.fixture
def operator(session_of_two_samples: Site) -> httpx.Client:
    client = session_of_two_samples.as_program("operator1")
    start = {"run_num": "FoilHole_1", "sample": "grid1", "start_time": "2026-11-22T08:00:00Z"}
    client.post(f"/run_control/{OLD}/ws/start_run", params=start, json={"aligned_defocus": 1.5, "comment": "=1+1"})
    client.post(f"/run_control/{OLD}/ws/end_run", params={"run_num": "FoilHole_1", "end_time": "2026-11-22T08:00:09Z"})
    client.post(f"{BOOK}/register_file", json={"path": "raw/a.tif", "run_num": "FoilHole_1"})
    client.post(f"{BOOK}/new_elog_entry", data={"log_text": "hello"}, files=[("files", ("a.txt", b"x", "text/plain"))])
    client.post(f"{BOOK}/make_sample_current", params={"sample_name": "grid2"})
    return client


def found(answer: httpx.Response) -> Any:
    assert answer.json()["success"] is True, answer.text
    return answer.json().get("value")


def put_aside(operator: httpx.Client) -> None:
    found(operator.post("/lgbk/ws/instrument_standby", json={"instrument": "TEM1", "station": 0}))


def everything(operator: httpx.Client, name: str) -> list[Any]:
    parts = ("samples", "runs", "files", "elog", "collaborators", "sample_activations")
    return [found(operator.get(f"/lgbk/{name}/ws/{part}")) for part in parts]


def test_a_renamed_experiment_keeps_everything(operator: httpx.Client) -> None:
    before = everything(operator, OLD)
    names = {"experiment_name": OLD, "new_experiment_name": NEW}
    refused = operator.post("/lgbk/ws/rename_experiment", params=names)
    assert refused.json() == {
        "success": False,
        "errormsg": f"Cannot rename experiment {OLD} while it is active on a microscope",
    }
    put_aside(operator)
    assert operator.post("/lgbk/ws/rename_experiment", params={**names, "new_experiment_name": "x"}).status_code == 400
    found(operator.post("/lgbk/ws/rename_experiment", params=names))
    assert everything(operator, NEW) == before
    assert operator.get(f"{BOOK}/info").status_code == 404
    history = found(operator.get("/lgbk/ws/instrument_switch_history", params={"instrument": "TEM1", "station": 0}))
    assert [switch["experiment_name"] for switch in history] == ["Standby", NEW]


def test_a_deleted_experiment_is_gone_with_its_parts_and_others_stay(operator: httpx.Client) -> None:
    register(operator, NEW)
    assert operator.delete(f"/lgbk/{OLD}/").json()["success"] is False
    put_aside(operator)
    found(operator.delete(f"/lgbk/{OLD}/"))
    assert operator.get(f"{BOOK}/samples").status_code == 404
    assert [one["name"] for one in found(operator.get("/lgbk/ws/experiments"))] == [NEW]
    register(operator, OLD)
    assert everything(operator, OLD)[:4] == [[], [], [], []]


def test_only_who_may_delete_does(session_of_two_samples: Site, operator: httpx.Client) -> None:
    put_aside(operator)
    with session_of_two_samples.as_program("pi1") as manager:
        assert manager.delete(f"/lgbk/{OLD}/").status_code == 403


def test_a_copied_experiment_has_the_samples_under_new_ids(operator: httpx.Client) -> None:
    names = {"experiment_name": NEW, "src_experiment_name": OLD}
    body = {"start_time": "2026-12-01T00:00:00Z", "end_time": "2026-12-02T00:00:00Z", "copy_samples": True}
    found(operator.post("/lgbk/ws/clone_experiment", params=names, json=body))
    old, new = (found(operator.get(f"/lgbk/{name}/ws/samples")) for name in (OLD, NEW))
    assert [(s["name"], s["params"]) for s in new] == [("grid2", SAMPLE_PARAMS), ("grid1", SAMPLE_PARAMS)]
    assert not {sample["_id"] for sample in old} & {sample["_id"] for sample in new}
    info = found(operator.get(f"/lgbk/{NEW}/ws/info"))
    assert (info["start_time"], info["description"]) == ("2026-12-01T00:00:00+00:00", "ribosome")
    assert found(operator.get(f"/lgbk/{NEW}/ws/runs")) == []


def test_a_run_table_shows_chosen_values_and_takes_comments(operator: httpx.Client) -> None:
    columns = [
        {"label": "Defocus", "type": "number", "source": "params.aligned_defocus", "position": 0},
        {"label": "Note", "type": "text", "source": "params.comment", "position": 1},
        {"label": "Rating", "source": "editable_params.Rating.value", "is_editable": True, "position": 2},
    ]
    table = found(
        operator.post(f"{BOOK}/create_update_user_run_table_def", json={"name": "Movies", "coldefs": columns})
    )
    assert found(operator.get(f"{BOOK}/run_tables")) == [table]
    cell = {"runnum": "FoilHole_1", "source": "editable_params.Rating.value", "value": "good"}
    edited = operator.post(f"{BOOK}/run_table_editable_update", data=cell).json()
    assert edited["result"]["editable_params"]["Rating"]["modified_by"] == "operator1"
    assert operator.post(f"{BOOK}/run_table_editable_update", data={**cell, "runnum": "no"}).json()["success"] is False
    (row,) = found(operator.get(f"{BOOK}/run_table_data", params={"tableName": "Movies"}))
    assert row["params"] == {"aligned_defocus": 1.5, "comment": "=1+1"}
    assert (row["sample"], row["duration"], row["editable_params"]) == ("grid1", 9.0, {"Rating": {"value": "good"}})
    text = operator.get(f"{BOOK}/runtables/export_as_csv", params={"runtable": "Movies"}).text
    assert list(csv.reader(io.StringIO(text))) == [
        ["Run", "Defocus", "Note", "Rating"],
        ["FoilHole_1", "1.5", "'=1+1", "good"],
    ]
    sources = found(operator.get(f"{BOOK}/run_table_sources"))
    assert [one["source"] for one in sources["Run Parameters"]] == ["params.aligned_defocus", "params.comment"]
    copied = {"existing_run_table_name": "Movies", "new_run_table_name": "Mine"}
    found(operator.post(f"{BOOK}/clone_run_table_def", params=copied))
    assert operator.post(f"{BOOK}/clone_run_table_def", params=copied).json()["success"] is False
    found(operator.delete(f"{BOOK}/delete_run_table", params={"table_name": "Movies"}))
    assert [one["name"] for one in found(operator.get(f"{BOOK}/run_tables"))] == ["Mine"]


def test_a_table_for_all_experiments_needs_the_right_to_configure(
    session_of_two_samples: Site, operator: httpx.Client
) -> None:
    table = {"name": "Mine", "coldefs": [{"source": "num"}]}
    found(operator.post(f"{BOOK}/create_update_user_run_table_def", json=table))
    names = {"existing_run_table_name": "Mine", "system_run_table_name": "All"}
    assert operator.post(f"{BOOK}/replace_system_run_table_def", data=names).status_code == 403
    with session_of_two_samples.as_program("admin") as admin:
        found(admin.post(f"{BOOK}/replace_system_run_table_def", data=names))
        register(operator, NEW)
        assert [one["name"] for one in found(operator.get(f"/lgbk/{NEW}/ws/run_tables"))] == ["All"]
        query = {"table_name": "All", "is_system_run_table": "true"}
        assert operator.delete(f"{BOOK}/delete_run_table", params=query).status_code == 403
        found(admin.delete(f"{BOOK}/delete_run_table", params=query))
