"""The DAG files say what the design says: which tasks, in which order, where, how often tried."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cryodaq.app.sample_dag import install_sample_dag, packaged_templates, template_for
from cryodaq.errors import UnsafeNameError

DAG = "20260101-CT01_0123456789abcdef01234567"
MICROSCOPES = packaged_templates().parent / "dags" / "cryodaq_microscopes.py"
FACILITY = """
[storage]
root = "/data"
[[microscopes]]
name = "tem1"
instrument = "TEM1"
shares = [{ root = "/mnt/tem1" }]
[[microscopes]]
name = "tem2"
instrument = "TEM2"
queue = "krios"
shares = [{ root = "/mnt/tem2" }]
"""


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("dag_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sample_dag(tmp_path: Path) -> Any:
    template = template_for("single-particle", folders=[packaged_templates()])
    assert template is not None
    return load(install_sample_dag(template, tmp_path, dag_id=DAG)).dag


@pytest.fixture
def microscopes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "facility.active.toml").write_text(FACILITY)
    monkeypatch.setenv("CRYODAQ_HOME", str(tmp_path))
    return load(MICROSCOPES)


def test_a_movie_goes_through_four_stages_in_order(sample_dag: Any) -> None:
    assert sample_dag.dag_id == DAG
    edges = {task.task_id: sorted(task.downstream_task_ids) for task in sample_dag.tasks}
    assert edges == {"align": ["ctf"], "ctf": ["pick"], "pick": ["publish"], "publish": []}


def test_stages_compute_in_their_pool_and_what_was_begun_comes_first(sample_dag: Any) -> None:
    assert {task.pool for task in sample_dag.tasks} == {"compute"}
    assert all(task.retries >= 3 for task in sample_dag.tasks)
    assert all(task.retry_exponential_backoff > 1 for task in sample_dag.tasks)
    assert {task.execution_timeout for task in sample_dag.tasks} == {timedelta(hours=2)}
    assert sample_dag.schedule is None
    assert all("upstream" in str(task.weight_rule).lower() for task in sample_dag.tasks)


def test_a_run_must_name_ledger_ids(sample_dag: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    schemas = {name: sample_dag.params.get_param(name).schema for name in sample_dag.params}
    assert schemas == {name: {"type": "integer", "minimum": 1} for name in ("movie_id", "branch_id")}
    with pytest.raises(ParamValidationError):
        sample_dag.params.get_param("movie_id").resolve("seven")


def test_the_template_itself_is_not_a_sample() -> None:
    template = template_for("single-particle", folders=[packaged_templates()])
    assert template is not None
    with pytest.raises(UnsafeNameError, match="sample id"):
        load(template)


def test_each_microscope_has_its_own_continuous_dag(microscopes: Any) -> None:
    for name, queue in (("tem1", "tem1"), ("tem2", "krios")):
        dag = getattr(microscopes, f"{name}-daq")
        assert dag.dag_id == f"{name}-daq"
        assert dag.max_active_runs == 1
        assert dag.schedule == "@continuous"
        queues = {task.task_id: task.queue for task in dag.tasks}
        assert queues.pop("clear_microscope") == f"{queue}-clear"  # of a worker that may write to the share
        assert set(queues.values()) == {queue}
        assert all(task.retries >= 3 for task in dag.tasks)
        assert {task.execution_timeout for task in dag.tasks} == {timedelta(minutes=30)}
        edges = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
        assert edges == {
            "current_sample": ["clear_microscope", "prepare_sample"],
            "prepare_sample": ["transfer"],
            "transfer": [],
            "clear_microscope": [],
        }
        assert {task.task_id: task.pool for task in dag.tasks}["transfer"] == "transfer"


def test_parsing_the_same_file_twice_makes_the_same_dag(microscopes: Any, sample_dag: Any, tmp_path: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    again = load(tmp_path / f"{DAG}.py").dag
    assert DagSerialization.to_dict(again) == DagSerialization.to_dict(sample_dag)
    first, second = (
        DagSerialization.to_dict(getattr(module, "tem1-daq")) for module in (microscopes, load(MICROSCOPES))
    )
    assert first == second


def test_our_part_of_parsing_takes_less_than_300_cpu_ms_and_loads_nothing_heavy(
    tmp_path: Path, microscopes: Any
) -> None:
    template = template_for("single-particle", folders=[packaged_templates()])
    assert template is not None
    install_sample_dag(template, tmp_path, dag_id=DAG)
    program = (
        "import runpy, sys, time, airflow.sdk, airflow.sdk.exceptions\n"
        "from airflow.sdk import DAG, Param, task\n"
        "before, start = set(sys.modules), time.process_time()\n"
        "runpy.run_path(sys.argv[1])\n"
        "print(time.process_time() - start)\n"
        "print(*sorted(name for name in set(sys.modules) - before))\n"
    )
    for path in (MICROSCOPES, tmp_path / f"{DAG}.py"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
        )
        seconds, loaded = done.stdout.strip().splitlines()[-2:]
        assert float(seconds) < 0.3
        heavy = {"numpy", "scipy", "numba", "sqlalchemy", "pydantic", "httpx", "cryodaq.config", "cryodaq.wiring"}
        assert not heavy & set(loaded.split())
