"""The whole system as a stranger starts it: two movies travel from the simulated camera to the pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import starfile

DEMO_LIMIT_S = 420


@pytest.mark.system
@pytest.mark.timeout(DEMO_LIMIT_S + 60)
@pytest.mark.parametrize("software", ["epu", "serialem"])
def test_the_demo_publishes_every_movie_close_to_the_truth_and_leaves_no_process(tmp_path: Path, software: str) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "cryodaq", "demo", "--movies", "2", "--software", software, "--exit-when-done"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRYODAQ_")}
    done = subprocess.run(
        [*command, "--home", str(home)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEMO_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((home / "summary.json").read_text())
    assert summary["missing"] == []
    assert summary["published"] == summary["collected"] == 2
    assert summary["defocus_within_2_percent"] == 2
    assert summary["drift_within_half_px"] >= 1
    (star,) = (home / "storage").rglob("micrographs_ctf.star")
    tables = starfile.read(star)
    assert len(tables["micrographs"]) == 2
    for name in tables["micrographs"]["rlnMicrographName"]:
        assert (star.parent / name).is_file()
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(home) in _command(process)]
    assert not _readable_by_others(home / "secrets")


def _command(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or [])


def _readable_by_others(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.stat().st_mode & 0o077]
