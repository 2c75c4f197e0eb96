"""The scheduler's contract at a real Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryodaq.app.sample_dag import packaged_templates, template_for
from cryodaq.domain.home import AIRFLOW_OPERATOR
from cryodaq.errors import SchedulerError, SchedulerUnreachableError
from cryodaq.scheduler.airflow import AirflowScheduler
from cryodaq.testing.scheduler_contract import DAG_ID, SchedulerContract

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


class TestAirflowScheduler(SchedulerContract):
    """The contract, and what only Airflow does."""

    @pytest.fixture
    def scheduler(self, airflow_scheduler: AirflowScheduler) -> AirflowScheduler:
        return airflow_scheduler

    @pytest.fixture
    def dag_folder(self, system_trial: Any) -> Path:
        return Path(system_trial.system.airflow.dag_folder)

    @pytest.fixture
    def dag_text(self) -> str:
        template = template_for("single-particle", folders=[packaged_templates()])
        assert template is not None
        return template.read_text()

    def test_a_conf_that_breaks_the_schema_is_refused(
        self, scheduler: AirflowScheduler, dag_folder: Path, dag_text: str
    ) -> None:
        self.test_a_new_dag_takes_runs_within_seconds(scheduler, dag_folder, dag_text)
        for conf in ({"movie_id": "seven", "branch_id": 1}, {"movie_id": 7}, {"movie_id": 0, "branch_id": 1}):
            with pytest.raises(SchedulerError, match=r"movie_id|branch_id"):
                scheduler.trigger(DAG_ID, "refused", conf=conf)

    def test_a_token_that_airflow_forgot_is_renewed(self, scheduler: AirflowScheduler) -> None:
        scheduler._token = "no-longer-valid"
        assert not scheduler.is_parsed("nothing")
        assert scheduler._token != "no-longer-valid"

    def test_pools_are_there_with_the_facilitys_slots(self, scheduler: AirflowScheduler, system_trial: Any) -> None:
        with system_trial.system.airflow.scheduler(AIRFLOW_OPERATOR) as operator:
            operator.ensure_pool("extra", 3)
            operator.ensure_pool("extra", 5)
        pools = scheduler._ask("GET", "/api/v2/pools").json()["pools"]
        slots = {pool["name"]: pool["slots"] for pool in pools}
        assert {"transfer": 1, "compute": 2, "extra": 5}.items() <= slots.items()

    def test_the_running_systems_account_triggers_and_reads_runs_and_nothing_else(
        self, scheduler: AirflowScheduler, dag_folder: Path, dag_text: str
    ) -> None:
        self.test_a_new_dag_takes_runs_within_seconds(scheduler, dag_folder, dag_text)
        scheduler.trigger(DAG_ID, "mine", conf={"movie_id": 7, "branch_id": 1})
        dag, run = f"/api/v2/dags/{DAG_ID}", f"/api/v2/dags/{DAG_ID}/dagRuns/mine"
        assert scheduler._ask("GET", run).status_code == 200
        microscope = scheduler._ask("GET", "/api/v2/dags/tem1-daq").json()["file_token"]
        refused = [
            ("PATCH", dag, {"is_paused": True}),
            ("DELETE", dag, None),
            ("PATCH", run, {"state": "failed"}),
            ("DELETE", run, None),
            ("POST", f"{run}/clear", {"dry_run": False}),
            ("POST", f"{dag}/clearTaskInstances", {"dry_run": True, "dag_run_id": "mine"}),
            ("PATCH", "/api/v2/dags?dag_id_pattern=%25", {"is_paused": True}),
            ("PATCH", "/api/v2/dags/tem1-daq", {"is_paused": True}),
            ("PUT", f"/api/v2/parseDagFile/{microscope}", None),
            ("POST", "/api/v2/pools", {"name": "mine", "slots": 100}),
            ("PATCH", "/api/v2/pools/compute", {"pool": "compute", "slots": 100, "include_deferred": False}),
            ("POST", "/api/v2/variables", {"key": "mine", "value": "1"}),
            ("GET", "/api/v2/variables", None),
            ("GET", "/api/v2/connections", None),
            ("POST", "/api/v2/connections", {"connection_id": "mine", "conn_type": "http"}),
        ]
        answers = {(method, place): scheduler._ask(method, place, json=body) for method, place, body in refused}
        permitted = {asked: found.text for asked, found in answers.items() if found.status_code != 403}
        assert permitted == {}

    def test_all_components_are_healthy(self, scheduler: AirflowScheduler) -> None:
        health = scheduler.health()
        assert {name: health[name] for name in ("metadatabase", "scheduler", "dag_processor")} == {
            "metadatabase": "healthy",
            "scheduler": "healthy",
            "dag_processor": "healthy",
        }

    def test_no_server_is_unreachable(self, system_trial: Any) -> None:
        password = system_trial.system.home.airflow_password("cryodaq")
        with (
            AirflowScheduler("http://127.0.0.1:9", user="cryodaq", password_file=password) as absent,
            pytest.raises(SchedulerUnreachableError),
        ):
            absent.is_parsed("tem1-daq")
