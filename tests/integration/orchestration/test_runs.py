"""Runs of samples' DAGs at a real Airflow: stages in order, retries by kind of error, retiring and reviving."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cryodaq.app.sample_dag import install_sample_dag, packaged_templates, retire_sample_dag, template_for
from cryodaq.errors import DagNotParsedError
from cryodaq.scheduler.airflow import AirflowScheduler

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

STAGES = ["align", "ctf", "pick", "publish"]


def within(limit_s: float, claim: Any) -> bool:
    deadline = time.monotonic() + limit_s
    while not (holds := claim()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(holds)


def template() -> Path:
    found = template_for("single-particle", folders=[packaged_templates()])
    assert found is not None
    return found


def install(scheduler: AirflowScheduler, system_trial: Any, dag_id: str, *, source: Path | None = None) -> float:
    """Put a sample's DAG in place; return how long it took until it would take runs, s."""
    begun = time.monotonic()
    install_sample_dag(source or template(), system_trial.system.airflow.dag_folder, dag_id=dag_id)
    scheduler.refresh()
    assert within(10, lambda: scheduler.is_parsed(dag_id))
    return time.monotonic() - begun


def stages(trial: Any, movie: int) -> list[str]:
    """The stages that were tried on a movie, in order."""
    calls = [call for stage in STAGES for call in trial.calls(stage) if call["movie"] == movie]
    return [call["call"] for call in sorted(calls, key=lambda call: call["at"])]


def state(scheduler: AirflowScheduler, dag_id: str, run_id: str) -> str:
    return str(scheduler._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").json()["state"])


def test_a_movie_goes_through_its_stages_within_seconds(airflow_scheduler: AirflowScheduler, system_trial: Any) -> None:
    dag_id = "20260101-CT10_0123456789abcdef01234567"
    seen_s = install(airflow_scheduler, system_trial, dag_id)
    waited_s = []
    for movie in (101, 102, 103):
        triggered_at = time.time()
        airflow_scheduler.trigger(dag_id, f"FoilHole_{movie}~v2", conf={"movie_id": movie, "branch_id": 3})
        assert within(60, lambda movie=movie: len(stages(system_trial, movie)) == 4)
        assert stages(system_trial, movie) == STAGES
        first = next(call for call in system_trial.calls("align") if call["movie"] == movie)
        assert first["branch"] == 3
        waited_s.append(first["at"] - triggered_at)
        assert within(20, lambda movie=movie: state(airflow_scheduler, dag_id, f"FoilHole_{movie}~v2") == "success")
    print(f"new file seen in {seen_s:.1f} s, trigger to first task", [f"{s:.1f} s" for s in waited_s])
    assert seen_s < 5
    assert min(waited_s) < 5  # the best of three, because other programs may use the machine


def test_what_cannot_be_done_fails_at_once_and_what_may_pass_is_tried_again(
    airflow_scheduler: AirflowScheduler, system_trial: Any, tmp_path: Path
) -> None:
    dag_id = "20260101-CT11_0123456789abcdef01234567"
    impatient = tmp_path / "template.py"  # as a site would edit it
    impatient.write_text(template().read_text().replace("align()", "align(retry_delay=0.5)"))
    install(airflow_scheduler, system_trial, dag_id, source=impatient)
    for movie, kind in ((201, "final"), (202, "passing")):
        (system_trial.home / f"problem-align-{movie}").write_text(kind)
        airflow_scheduler.trigger(dag_id, f"m{movie}", conf={"movie_id": movie, "branch_id": 1})
    assert within(40, lambda: state(airflow_scheduler, dag_id, "m202") == "success")
    assert stages(system_trial, 202) == ["align", *STAGES]
    assert within(10, lambda: state(airflow_scheduler, dag_id, "m201") == "failed")
    assert stages(system_trial, 201) == ["align"]
    logs = (system_trial.home / "logs" / "airflow" / f"dag_id={dag_id}").rglob("*.log")
    assert any("align of movie 201 cannot be done" in path.read_text() for path in logs)


def test_a_retired_dag_takes_no_runs_keeps_its_history_and_comes_back(
    airflow_scheduler: AirflowScheduler, system_trial: Any
) -> None:
    dag_id = "20260101-CT12_0123456789abcdef01234567"
    folder = system_trial.system.airflow.dag_folder
    install(airflow_scheduler, system_trial, dag_id)
    airflow_scheduler.trigger(dag_id, "before", conf={"movie_id": 301, "branch_id": 1})
    assert within(30, lambda: state(airflow_scheduler, dag_id, "before") == "success")
    assert retire_sample_dag(folder, dag_id=dag_id)
    airflow_scheduler.refresh()
    assert within(10, lambda: not airflow_scheduler.is_parsed(dag_id))
    with pytest.raises(DagNotParsedError):
        airflow_scheduler.trigger(dag_id, "while", conf={"movie_id": 302, "branch_id": 1})
    assert state(airflow_scheduler, dag_id, "before") == "success"
    install(airflow_scheduler, system_trial, dag_id)
    airflow_scheduler.trigger(dag_id, "after", conf={"movie_id": 303, "branch_id": 1})
    assert within(30, lambda: state(airflow_scheduler, dag_id, "after") == "success")
