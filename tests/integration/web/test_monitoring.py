"""Prometheus reads the facility's numbers with its token; without one nobody does, and no name is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from cryodaq.database import open_engine
from cryodaq.errors import SchedulerUnreachableError
from cryodaq.ledger.events import Subject, raise_alarm
from cryodaq.testing.fake_access import FakeAccessControl
from cryodaq.testing.seeded_ledger import LedgerSeeder
from cryodaq.web.application import create_app
from cryodaq.web.settings import WebSettings

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
TOKEN = "a-token-that-only-prometheus-has"
SAMPLE = "a" * 24
DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana.json"


class Airflow:
    """What the monitor asks of a scheduler."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent

    def health(self) -> Mapping[str, str]:
        if self._silent:
            message = "no answer"
            raise SchedulerUnreachableError(message)
        return {"scheduler": "healthy", "dag_processor": "unhealthy"}

    def pool_use(self) -> Mapping[tuple[str, str], int]:
        return {("compute", "all"): 32, ("compute", "queued"): 7}


def client_of(database_url: str, *, token: str | None, airflow: Airflow | None = None) -> TestClient:
    settings = WebSettings(
        database_url=database_url,
        access=FakeAccessControl(accounts={}),
        microscopes=("tem1",),
        zone=ZoneInfo("UTC"),
        metrics_token=token,
        scheduler=airflow,  # type: ignore[arg-type]  # as far as it is asked
    )
    return TestClient(create_app(settings), follow_redirects=False)


@pytest.fixture
def seeded(database_url: str, tmp_path: Path) -> str:
    engine = open_engine(database_url)
    seed = LedgerSeeder(engine=engine, storage=tmp_path / "storage", now=NOW)
    sample = seed.add_sample(SAMPLE, experiment="20261122-CS01", name="secret-grid")
    for name in ("a_1", "a_2", "a_3"):
        seed.add_movie(sample, name)
    with engine.begin() as connection:
        subject = Subject(microscope="tem1", experiment="20261122-CS01")
        raise_alarm(connection, "k", severity="error", message="of secret-grid", at=NOW, subject=subject)
    engine.dispose()
    return database_url


def read(client: TestClient) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert "secret-grid" not in answer.text
    assert "CS01" not in answer.text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_numbers_are_those_of_the_ledger_and_of_airflow(seeded: str) -> None:
    with client_of(seeded, token=TOKEN, airflow=Airflow(silent=False)) as client:
        found = read(client)
    assert sum(value for key, value in found.items() if key[:2] == ("cryodaq_movies", "tem1")) == 3
    assert sum(value for key, value in found.items() if key[:2] == ("cryodaq_files", "tem1")) >= 3
    assert found["cryodaq_alarms", "tem1", "error"] == 1
    assert found["cryodaq_airflow_healthy", "scheduler"] == 1
    assert found["cryodaq_airflow_healthy", "dag_processor"] == 0
    assert found["cryodaq_airflow_pool_slots", "compute", "queued"] == 7
    assert ("cryodaq_movies_to_process", "tem1", "in_flight") in found  # also when it is none


def test_the_dashboard_asks_for_what_is_there(seeded: str) -> None:
    with client_of(seeded, token=TOKEN, airflow=Airflow(silent=False)) as client:
        text = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
    asked = set(re.findall(r"cryodaq_[a-z0-9_]+", DASHBOARD.read_text()))
    assert len(asked) > 8
    assert asked <= set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def test_a_silent_airflow_takes_no_other_number_away(seeded: str) -> None:
    with client_of(seeded, token=TOKEN, airflow=Airflow(silent=True)) as client:
        found = read(client)
    assert found["cryodaq_airflow_healthy", "api"] == 0
    assert found["cryodaq_alarms", "tem1", "error"] == 1


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer guess"}, {"authorization": f"Basic {TOKEN}"}])
def test_strangers_get_nothing(database_url: str, header: dict[str, str]) -> None:
    with client_of(database_url, token=TOKEN) as client:
        answer = client.get("/metrics", headers=header)
    assert answer.status_code == 401
    assert answer.content == b""


def test_without_a_token_there_is_no_such_page(database_url: str) -> None:
    with client_of(database_url, token=None) as client:
        assert client.get("/metrics", headers={"authorization": "Bearer None"}).status_code == 404
