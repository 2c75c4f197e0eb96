"""Services of a stack begin once it is prepared for their own release, and not before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from cryodaq.domain.home import Home
from cryodaq.launch.swarm import waiting


class Answers(BaseHTTPRequestHandler):
    """Airflow's API, which is not well yet."""

    status: ClassVar[int] = 503

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_stack_that_was_prepared_for_another_release_is_waited_for(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert not waiting.is_prepared(home)
    home.prepared.write_text("cryodaq 0.0.1, Airflow 3.0.0, tables 0001\n")
    assert not waiting.is_prepared(home)
    waiting.mark_prepared(home)
    assert waiting.is_prepared(home)
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"]


@pytest.mark.timeout(30)
def test_the_program_begins_in_place_of_the_one_that_waited(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import os; print(os.getpid())"]
    with subprocess.Popen(
        [sys.executable, "-m", "cryodaq.launch.swarm.waiting", *program],
        env={**os.environ, "CRYODAQ_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stderr is not None
        assert "waiting until the service prepare has prepared" in started.stderr.readline()
        waiting.mark_prepared(Home(tmp_path))
        out, _ = started.communicate(timeout=20)
    assert out.strip() == str(started.pid)


@pytest.mark.timeout(60)
def test_a_worker_begins_once_the_api_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting.mark_prepared(Home(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/execution/health"
    command = [sys.executable, "-m", "cryodaq.launch.swarm.waiting", "--until-answers", url, "echo", "begun"]
    environment = {**os.environ, "CRYODAQ_HOME": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stderr is not None
        assert started.stderr.readline() == f"waiting until {url} answers\n"
        monkeypatch.setattr(Answers, "status", 200)
        out, _ = started.communicate(timeout=40)
    server.shutdown()
    server.server_close()
    assert out == "begun\n"


def test_waiting_loads_nothing_of_size() -> None:
    code = "import sys, cryodaq.launch.swarm.waiting; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = done.stdout
    assert not [name for name in ("airflow", "numpy", "sqlalchemy", "pydantic", "numba") if f"'{name}'" in loaded]
