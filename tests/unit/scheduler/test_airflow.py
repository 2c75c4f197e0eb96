"""How the client speaks with Airflow's REST interface, and what it makes of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cryodaq.errors import (
    ConfigError,
    DagNotParsedError,
    RunConflictError,
    SchedulerError,
    SchedulerUnreachableError,
)
from cryodaq.scheduler.airflow import AirflowScheduler

PASSWORD = "a-password-that-stays-secret"
DAG = "20260101-CT01_0123456789abcdef01234567"
CONF = {"movie_id": 7, "branch_id": 1}
Answer = Callable[[httpx.Request], httpx.Response]


class ScriptedAirflow:
    """Answers by method and path; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, object] | None]] = []
        self.answers: dict[tuple[str, str], list[httpx.Response]] = {}
        self.tokens = 0

    def will(self, method: str, path: str, *answers: httpx.Response) -> None:
        self.answers[method, path] = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        content = json.loads(request.content) if request.content else None
        path = request.url.raw_path.decode().partition("?")[0]
        self.asked.append((request.method, path, content))
        if path == "/auth/token":
            self.tokens += 1
            good = content == {"username": "cryodaq", "password": PASSWORD}
            return httpx.Response(201 if good else 401, json={"access_token": f"token-{self.tokens}"})
        script = self.answers[request.method, path]
        return script.pop(0) if len(script) > 1 else script[0]


@pytest.fixture
def airflow() -> ScriptedAirflow:
    return ScriptedAirflow()


@pytest.fixture
def scheduler(airflow: ScriptedAirflow, tmp_path: Path) -> AirflowScheduler:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return AirflowScheduler(
        "http://127.0.0.1:1",
        user="cryodaq",
        password_file=tmp_path / "password",
        transport=httpx.MockTransport(airflow),
    )


def run_conf(conf: dict[str, object]) -> httpx.Response:
    return httpx.Response(200, json={"dag_run_id": "m1", "conf": conf})


RUNS = f"/api/v2/dags/{DAG}/dagRuns"
CONFLICT = httpx.Response(409, json={"detail": {"reason": "Unique constraint violation"}})
NO_ERRORS = httpx.Response(200, json={"import_errors": [], "total_entries": 0})
PARSED = {"is_stale": False, "has_import_errors": False}


def test_a_trigger_names_run_and_conf_and_no_logical_date(
    airflow: ScriptedAirflow, scheduler: AirflowScheduler
) -> None:
    airflow.will("POST", RUNS, run_conf(CONF))
    scheduler.trigger(DAG, "m1", conf=CONF)
    assert airflow.asked[-1][2] == {"dag_run_id": "m1", "logical_date": None, "conf": CONF}


def test_one_token_serves_many_calls(airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    airflow.will("POST", RUNS, run_conf(CONF))
    for _ in range(3):
        scheduler.trigger(DAG, "m1", conf=CONF)
    assert airflow.tokens == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_renewed_once(status: int, airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    airflow.will("POST", RUNS, httpx.Response(status, json={"detail": "expired"}), run_conf(CONF))
    scheduler.trigger(DAG, "m1", conf=CONF)
    assert airflow.tokens == 2
    airflow.will("POST", RUNS, httpx.Response(status, json={"detail": "no"}))
    with pytest.raises(SchedulerError, match=str(status)):
        scheduler.trigger(DAG, "m1", conf=CONF)
    assert airflow.tokens == 3


def test_the_same_run_again_is_accepted(airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    airflow.will("POST", RUNS, CONFLICT)
    airflow.will("GET", f"{RUNS}/m1", run_conf({**CONF, "note": "another key"}))
    scheduler.trigger(DAG, "m1", conf=CONF)


@pytest.mark.parametrize("found", [{"movie_id": 8, "branch_id": 1}, {"movie_id": 7, "branch_id": 2}, {}])
def test_a_run_of_another_movie_is_a_conflict(
    airflow: ScriptedAirflow, scheduler: AirflowScheduler, found: dict[str, object]
) -> None:
    airflow.will("POST", RUNS, CONFLICT)
    airflow.will("GET", f"{RUNS}/m1", run_conf(found))
    with pytest.raises(RunConflictError, match="neither was changed"):
        scheduler.trigger(DAG, "m1", conf=CONF)


def test_an_unknown_dag_waits_with_the_reason(airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    airflow.will("POST", RUNS, httpx.Response(404, json={"detail": "not found"}))
    error = {"filename": f"{DAG}.py", "stack_trace": "SyntaxError: invalid syntax\n"}
    airflow.will("GET", "/api/v2/importErrors", httpx.Response(200, json={"import_errors": [error]}))
    with pytest.raises(DagNotParsedError, match="SyntaxError") as caught:
        scheduler.trigger(DAG, "m1", conf=CONF)
    assert caught.value.retryable


def test_a_dag_whose_file_broke_later_waits_too(airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    airflow.will("POST", RUNS, httpx.Response(400, json={"detail": "has import errors"}))
    airflow.will("GET", f"/api/v2/dags/{DAG}", httpx.Response(200, json={**PARSED, "has_import_errors": True}))
    airflow.will("GET", "/api/v2/importErrors", NO_ERRORS)
    with pytest.raises(DagNotParsedError):
        scheduler.trigger(DAG, "m1", conf=CONF)


def test_a_conf_that_breaks_the_schema_is_refused_in_airflows_words(
    airflow: ScriptedAirflow, scheduler: AirflowScheduler
) -> None:
    airflow.will("POST", RUNS, httpx.Response(400, json={"detail": "Invalid input for param movie_id"}))
    airflow.will("GET", f"/api/v2/dags/{DAG}", httpx.Response(200, json=PARSED))
    with pytest.raises(SchedulerError, match="Invalid input for param movie_id") as caught:
        scheduler.trigger(DAG, "m1", conf={"movie_id": "seven"})
    assert not caught.value.retryable


def test_trouble_inside_airflow_is_tried_again_later(airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    airflow.will("POST", RUNS, httpx.Response(503, text="database is away"))
    with pytest.raises(SchedulerUnreachableError) as caught:
        scheduler.trigger(DAG, "m1", conf=CONF)
    assert caught.value.retryable


def test_no_answer_at_all_is_tried_again_later(tmp_path: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        message = "refused"
        raise httpx.ConnectError(message, request=request)

    (tmp_path / "password").write_text(PASSWORD)
    scheduler = AirflowScheduler(
        "http://127.0.0.1:1", user="cryodaq", password_file=tmp_path / "password", transport=httpx.MockTransport(refuse)
    )
    with pytest.raises(SchedulerUnreachableError, match="does not answer") as caught:
        scheduler.is_parsed(DAG)
    assert PASSWORD not in str(caught.value)


def test_a_wrong_or_missing_password_is_said_without_the_password(scheduler: AirflowScheduler, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong-one")
    with pytest.raises(SchedulerError, match="logging in as cryodaq") as caught:
        scheduler.is_parsed(DAG)
    assert "wrong-one" not in str(caught.value)
    (tmp_path / "password").unlink()
    with pytest.raises(ConfigError, match="password"):
        scheduler.is_parsed(DAG)


@pytest.mark.parametrize(
    ("answer", "parsed"),
    [
        (httpx.Response(200, json=PARSED), True),
        (httpx.Response(200, json={**PARSED, "is_stale": True}), False),
        (httpx.Response(200, json={**PARSED, "has_import_errors": True}), False),
        (httpx.Response(404, json={"detail": "not found"}), False),
    ],
)
def test_a_dag_is_parsed_when_it_would_take_a_run(
    airflow: ScriptedAirflow, scheduler: AirflowScheduler, answer: httpx.Response, parsed: bool
) -> None:
    airflow.will("GET", f"/api/v2/dags/{DAG}", answer)
    assert scheduler.is_parsed(DAG) is parsed


def test_refresh_rings_at_a_microscopes_dag_and_asks_for_it_once(
    airflow: ScriptedAirflow, scheduler: AirflowScheduler
) -> None:
    airflow.will("GET", "/api/v2/dags", httpx.Response(200, json={"dags": [{"file_token": "a.b/c"}]}))
    airflow.will("PUT", "/api/v2/parseDagFile/a.b%2Fc", httpx.Response(201, json=None), httpx.Response(409, json={}))
    scheduler.refresh()
    scheduler.refresh()
    assert [asked[:2] for asked in airflow.asked].count(("GET", "/api/v2/dags")) == 1


def test_refresh_looks_the_token_up_again_when_it_is_no_longer_valid(
    airflow: ScriptedAirflow, scheduler: AirflowScheduler
) -> None:
    tokens = [httpx.Response(200, json={"dags": [{"file_token": name}]}) for name in ("old", "new")]
    airflow.will("GET", "/api/v2/dags", *tokens)
    airflow.will("PUT", "/api/v2/parseDagFile/old", httpx.Response(201, json=None), httpx.Response(404, json={}))
    airflow.will("PUT", "/api/v2/parseDagFile/new", httpx.Response(201, json=None))
    scheduler.refresh()
    scheduler.refresh()
    assert airflow.asked[-1][:2] == ("PUT", "/api/v2/parseDagFile/new")


def test_refresh_before_any_dag_is_known_does_nothing(airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    airflow.will("GET", "/api/v2/dags", httpx.Response(200, json={"dags": []}))
    scheduler.refresh()
    assert not any(method == "PUT" for method, _, _ in airflow.asked)


def test_an_import_error_of_another_file_is_not_ours(airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    error = {"filename": "other.py", "stack_trace": "boom"}
    airflow.will("GET", "/api/v2/importErrors", httpx.Response(200, json={"import_errors": [error]}))
    assert scheduler.import_error(f"{DAG}.py") is None
    assert scheduler.import_error("other.py") == "boom"


def test_a_missing_pool_is_made_and_an_existing_one_changed(
    airflow: ScriptedAirflow, scheduler: AirflowScheduler
) -> None:
    airflow.will("PATCH", "/api/v2/pools/compute", httpx.Response(404, json={"detail": "no such pool"}))
    airflow.will("POST", "/api/v2/pools", httpx.Response(201, json={"name": "compute"}))
    scheduler.ensure_pool("compute", 4)
    assert airflow.asked[-1][2] == {"name": "compute", "slots": 4, "description": "", "include_deferred": False}
    airflow.will("PATCH", "/api/v2/pools/compute", httpx.Response(200, json={"name": "compute"}))
    scheduler.ensure_pool("compute", 8)
    assert airflow.asked[-1][0] == "PATCH"


def test_health_names_each_component(airflow: ScriptedAirflow, scheduler: AirflowScheduler) -> None:
    health = {"scheduler": {"status": "healthy"}, "triggerer": {"status": None}}
    airflow.will("GET", "/api/v2/monitor/health", httpx.Response(200, json=health))
    assert scheduler.health() == {"scheduler": "healthy", "triggerer": "unknown"}


def test_a_hostile_dag_id_stays_one_component_of_the_path(
    airflow: ScriptedAirflow, scheduler: AirflowScheduler
) -> None:
    airflow.will("GET", "/api/v2/dags/..%2F..%2Fauth%2Ftoken", httpx.Response(404, json={"detail": "no"}))
    assert not scheduler.is_parsed("../../auth/token")
