"""Schedules of faults from fixed seeds; scripts/faults runs more and others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.plants import PLANTS, planted, source_of

ROOT = Path(__file__).parents[2]
SCHEDULES = 300
"""From seed 8000 on."""
LEAST = 150
"""So many are run however busy the machine is."""
LIMIT_S = 180
"""No schedule begins later, once there were so many: a machine with two free cores comes to the end of all."""


def run_faults(*options: str) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own, because the schedules wrap system calls."""
    seed = 8000  # always the same here; scripts/faults is for others
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.run", *options, "--seed", str(seed)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    print(done.stdout[-6000:], done.stderr[-3000:])  # begins with the seed; the README says how to run it again
    return done


@pytest.mark.parametrize("name", PLANTS)
def test_every_error_can_still_be_planted(name: str) -> None:
    plant = PLANTS[name]
    compile(planted(plant, source_of(plant)), name, "exec", dont_inherit=True)


@pytest.mark.timeout(600)
def test_nothing_is_lost_misfiled_or_wrongly_removed_whatever_fails() -> None:
    done = run_faults("--schedules", str(SCHEDULES), "--at-least", str(LEAST), "--limit-s", str(LIMIT_S))
    assert done.returncode == 0
    counted = re.search(r"^(\d+) schedules, (\d+) points, (\d+) faults", done.stdout, re.MULTILINE)
    assert counted is not None
    assert int(counted[1]) >= LEAST
    assert int(counted[3]) >= LEAST


@pytest.mark.timeout(400)
def test_what_once_went_wrong_goes_right() -> None:
    done = run_faults("--directed")
    assert done.returncode == 0
    assert done.stdout.count(": 0 broken") >= 12


@pytest.mark.timeout(400)
def test_killed_processes_lose_nothing() -> None:
    done = run_faults("--kills", "20")
    assert done.returncode == 0
