"""The recorded conversations of a real explgbk, replayed against ours."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cryodaq.elogbook.dialect import EXPLGBK

REPLAY = Path(__file__).resolve().parents[4] / "shared" / "logbook-contract" / "replay.py"
RECORDED_AT = datetime(2026, 11, 22, 5, 21, 50, tzinfo=UTC)
"""The recorded lists are sorted by times of that day, so the replay happens then."""


def clock_of_the_recording() -> Callable[[], datetime]:
    shift = datetime.now(UTC) - RECORDED_AT
    return lambda: datetime.now(UTC) - shift


def replay(base: str, *options: str) -> tuple[int, int, set[str], str]:
    done = subprocess.run(
        [sys.executable, str(REPLAY), base, *options], capture_output=True, text=True, timeout=110, check=False
    )
    print(done.stdout, done.stderr)
    equal, known, differ = map(int, re.search(r"(\d+) equal, (\d+) differ .*, (\d+) differ", done.stdout).groups())
    steps = set(re.findall(r"^DIFFERS (\S+)", done.stdout, re.MULTILINE))
    assert len(steps) == differ
    return equal, known, steps, done.stdout


@pytest.fixture(autouse=True)
def _recordings() -> None:
    if not REPLAY.is_file():
        pytest.skip(f"the recorded conversations of {REPLAY.parent} are not there: nothing to replay")


@pytest.mark.parametrize("prefix", ["", "/cryoem-data"])
def test_in_an_explgbks_dialect_no_recorded_answer_differs(start_site: Callable[..., Any], prefix: str) -> None:
    site = start_site(
        dialect=EXPLGBK, definitions_folder=Path(__file__).parent / "recorded_site", clock=clock_of_the_recording()
    )
    equal, known, differing, told = replay(site.base + prefix)
    assert not differing, told
    assert equal + known == 168
    assert equal >= 164, "fewer answers are equal than were"
