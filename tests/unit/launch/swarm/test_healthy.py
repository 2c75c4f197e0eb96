"""What a health check of the stack takes for ill, at a server that says what Airflow's API would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from cryodaq.launch.swarm.healthy import component_is_well, page_answers

HEALTH = {
    "metadatabase": {"status": "healthy"},
    "scheduler": {"status": "unhealthy", "latest_scheduler_heartbeat": "2026-11-22T10:00:00+00:00"},
    "dag_processor": {"status": "healthy"},
    "triggerer": {"status": None},
}


class Answers(BaseHTTPRequestHandler):
    body: ClassVar[bytes] = json.dumps(HEALTH).encode()

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/v2/monitor/health" else 500)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_component_is_ill_only_when_airflow_says_so(api: str) -> None:
    said = {name: component_is_well(name, api) for name in HEALTH}
    assert said == {"metadatabase": True, "scheduler": False, "dag_processor": True, "triggerer": True}


def test_a_component_is_not_to_blame_for_an_api_that_is_away_or_talks_nonsense(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert component_is_well("scheduler", "http://127.0.0.1:9")
    for nonsense in (b"[]", b"<html>", b""):
        monkeypatch.setattr(Answers, "body", nonsense)
        assert component_is_well("scheduler", api)


def test_a_page_is_well_when_it_comes(api: str) -> None:
    assert page_answers(f"{api}/api/v2/monitor/health")
    assert not page_answers(f"{api}/broken")
    assert not page_answers("http://127.0.0.1:9/")
