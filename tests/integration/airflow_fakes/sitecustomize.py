"""Gives the Airflow of the tests a `cryodaq.wiring` of its own: a system that only writes down what it was asked.

Python imports this at its start where the tests put this folder on PYTHONPATH.
"""

import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path


class FakeSystem:
    """Notes each call in `<home>/calls.jsonl`; `<home>/window_s` says how long a transfer's window is."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def wait_for_current_sample(self, microscope: str, *, stop: Callable[[], bool]) -> str:
        self._note("current_sample", microscope=microscope, stopped=stop())
        return "0123456789abcdef01234567"

    def prepare_samples(self, microscope: str) -> list[str]:
        self._note("prepare_sample", microscope=microscope)
        unready = self._home / "unready"
        return unready.read_text().split() if unready.exists() else []

    def transfer(self, microscope: str, *, stop: Callable[[], bool]) -> dict[str, object]:
        begun = time.time()
        window_s = float((self._home / "window_s").read_text())
        self._note("transfer_begun", microscope=microscope, window_s=window_s)
        while time.time() - begun < window_s and not stop():
            time.sleep(0.05)
        self._note("transfer", microscope=microscope, begun=begun, stopped=stop())
        return {"copied": 0}

    def clear_microscope(self, microscope: str, *, stop: Callable[[], bool]) -> dict[str, object]:
        self._note("clear_microscope", microscope=microscope, stopped=stop())
        return {}

    def run_stage(self, stage: str, movie_id: int, branch_id: int) -> dict[str, object]:
        self._note(stage, movie=movie_id, branch=branch_id)
        if (slow := self._home / f"slow-{stage}-{movie_id}").exists():
            slow.unlink()
            time.sleep(120)
        if (problem := self._home / f"problem-{stage}-{movie_id}").exists():
            from cryodaq.errors import ImagingError, LogbookUnreachableError

            kind = {"final": ImagingError, "passing": LogbookUnreachableError}[problem.read_text()]
            problem.unlink()
            message = f"{stage} of movie {movie_id} cannot be done"
            raise kind(message)
        return {"stage": stage}

    def _note(self, call: str, **facts: object) -> None:
        line = json.dumps({"call": call, "at": time.time(), "pid": os.getpid(), **facts}) + "\n"
        with (self._home / "calls.jsonl").open("a") as file:
            file.write(line)


wiring = types.ModuleType("cryodaq.wiring")
wiring.open_system = lambda: FakeSystem(Path(os.environ["CRYODAQ_HOME"]))  # type: ignore[attr-defined]
sys.modules["cryodaq.wiring"] = wiring
