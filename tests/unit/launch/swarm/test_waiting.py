"""Services of a stack begin once it is prepared for their own release, and not before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cryodaq.domain.home import Home
from cryodaq.launch.swarm import waiting


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


def test_waiting_loads_nothing_of_size() -> None:
    code = "import sys, cryodaq.launch.swarm.waiting; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = done.stdout
    assert not [name for name in ("airflow", "numpy", "sqlalchemy", "pydantic", "numba") if f"'{name}'" in loaded]
