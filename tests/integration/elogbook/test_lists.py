"""Long lists, and many runs open at once."""

from __future__ import annotations

import sqlalchemy as sa

from .conftest import Site

BOOK = "/lgbk/20261122-CS01/ws"
CONTROL = "/run_control/20261122-CS01/ws"
NAMED, NUMBERED = 1100, 600
FILL = f"""
INSERT INTO elogbook.run (id, experiment_name, label, number, type, begin_time)
SELECT lpad(to_hex(n), 24, '0'), '20261122-CS01', CASE WHEN n <= {NAMED} THEN 'FoilHole_' || n END,
       CASE WHEN n > {NAMED} THEN n END, 'DATA', now()
FROM generate_series(1, {NAMED + NUMBERED}) n;
INSERT INTO elogbook.run_file (id, experiment_name, run_label, run_number, path, create_timestamp, modify_timestamp)
SELECT lpad(to_hex(n), 24, '0'), '20261122-CS01', CASE WHEN n <= 2 * {NAMED} THEN 'FoilHole_' || (n + 1) / 2 END,
       CASE WHEN n > 2 * {NAMED} THEN (n + 1) / 2 END, 'raw/' || n,
       timestamptz '2026-11-22Z' + (n % 3) * interval '1 s', now()
FROM generate_series(1, 2 * {NAMED + NUMBERED}) n;
"""


def fill(site: Site) -> None:
    engine = site.engine()
    with engine.begin() as connection:
        connection.execute(sa.text(FILL))


def test_lists_longer_than_a_page_are_whole_and_in_the_contracts_order(session_of_two_samples: Site) -> None:
    fill(session_of_two_samples)
    names = sorted((f"FoilHole_{n}" for n in range(1, NAMED + 1)), reverse=True)
    numbers = list(range(NAMED + NUMBERED, NAMED, -1))
    with session_of_two_samples.as_program("operator1") as operator:
        runs = operator.get(f"{BOOK}/runs").json()["value"]
        assert [run["num"] for run in runs] == [*names, *numbers]
        files = operator.get(f"{BOOK}/files").json()["value"]
        assert operator.get(f"{BOOK}/files", params={"sampleName": "grid1"}).json() == {"success": True, "value": []}
    assert [file["run_num"] for file in files] == [run for run in [*names, *numbers] for _ in range(2)]
    assert len({file["path"] for file in files}) == 2 * (NAMED + NUMBERED)
    pairs = zip(files[::2], files[1::2], strict=True)
    assert all(first["create_timestamp"] >= second["create_timestamp"] for first, second in pairs)


def test_each_of_many_open_runs_is_ended_by_its_own_number(session_of_two_samples: Site) -> None:
    fill(session_of_two_samples)
    with session_of_two_samples.as_program("airflow") as program:
        for run in ("FoilHole_1", "1200", "FoilHole_1100"):
            ended = program.post(f"{CONTROL}/end_run", params={"run_num": run}).json()["value"]
            assert str(ended["num"]) == run
            assert len(ended["file_catalog"]) == 2
        runs = program.get(f"{BOOK}/runs", params={"includeParams": "false"}).json()["value"]
    assert {run["num"] for run in runs if run["end_time"] is not None} == {"FoilHole_1", 1200, "FoilHole_1100"}


def test_a_file_named_twice_in_one_call_is_kept_once_as_said_last(session_of_two_samples: Site) -> None:
    twice = [{"path": "raw/a.tif", "run_num": "a", "size": size} for size in (1, 2)]
    with session_of_two_samples.as_program("airflow") as program:
        wrong = {"path": "raw/b.tif", "run_num": "b", "size": -1}
        answer = program.post(f"{BOOK}/register_file", json=[*twice, wrong, {"path": "raw/c.tif", "run_num": 7}])
        assert [item["success"] for item in answer.json()] == [True, True, False, True]
        found = program.get(f"{BOOK}/files").json()["value"]
    assert [(file["path"], file.get("size"), file["run_num"]) for file in found] == [
        ("raw/a.tif", 2, "a"),
        ("raw/c.tif", None, 7),
    ]
