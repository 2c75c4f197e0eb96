"""`cryodaq transfer SOURCE TARGET` as people run it: with its own database, once, and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.transfer.conftest import movie_bytes, until

from cryodaq.transfer.copy import hash_of


def command(source: Path, target: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "cryodaq", "transfer", str(source), str(target), *options]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "one").mkdir(parents=True)
    (folder / "one/grid_00001.tif").write_bytes(movie_bytes())
    (folder / "one/grid_00001.xml").write_bytes(b"<a/>")
    (folder / "notes.txt").write_bytes(b"note")
    return folder


@pytest.mark.timeout(240)
def test_everything_is_brought_once_and_a_second_start_goes_on(source: Path, tmp_path: Path) -> None:
    target, environment = tmp_path / "target", {**os.environ, "CRYODAQ_HOME": str(tmp_path / "home")}
    environment.pop("CRYODAQ_DATABASE_URL", None)
    done = subprocess.run(
        command(source, target, "--once"), env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 files are verified" in done.stdout
    assert "backlog" in done.stdout
    for name in ("one/grid_00001.tif", "one/grid_00001.xml", "notes.txt"):
        assert (target / name).read_bytes() == (source / name).read_bytes()
    lines = dict(reversed(line.split("  ")) for line in (target / "manifest.xxh128").read_text().splitlines())
    assert {name: hash_of(target / name) for name in lines} == lines
    assert len(lines) == 3


@pytest.mark.timeout(240)
def test_it_follows_a_growing_folder_until_it_is_stopped(source: Path, tmp_path: Path, database_url: str) -> None:
    target, environment = tmp_path / "target", {**os.environ, "CRYODAQ_DATABASE_URL": database_url}
    running = subprocess.Popen(command(source, target), env=environment, stdout=subprocess.PIPE, text=True)
    until((target / "one/grid_00001.tif").exists, "nothing is copied", wait_s=100)
    (source / "one/grid_00002.tif").write_bytes(movie_bytes(seed=2))
    until((target / "one/grid_00002.tif").exists, "the new one is not copied", wait_s=100)
    running.send_signal(signal.SIGINT)
    assert "files are verified" in running.communicate(timeout=60)[0]
    done = subprocess.run(
        command(source, target, "--once"), env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "4 of 4 files are verified" in done.stdout, done.stdout + done.stderr


def test_a_target_inside_its_source_is_refused(source: Path, database_url: str) -> None:
    environment = {**os.environ, "CRYODAQ_DATABASE_URL": database_url}
    done = subprocess.run(
        command(source, source / "one"), env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "lie in each other" in done.stderr
