"""From a task into the system: which errors are tried again, and how a signal ends a window."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types

import pytest

from cryodaq.errors import CryodaqError, ImagingError, LogbookUnreachableError, ShareMissingError
from cryodaq.orchestration.system import opened_system, stop_flag


@pytest.fixture(autouse=True)
def wiring(monkeypatch: pytest.MonkeyPatch) -> object:
    system = object()
    module = types.ModuleType("cryodaq.wiring")
    module.open_system = lambda: system  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "cryodaq.wiring", module)
    return system


def test_a_task_gets_the_opened_system(wiring: object) -> None:
    with opened_system() as system:
        assert system is wiring


def test_an_error_that_will_not_go_away_fails_the_task_at_once() -> None:
    from airflow.sdk.exceptions import AirflowFailException

    error = ImagingError("too few frames")
    with pytest.raises(AirflowFailException, match="too few frames") as caught, opened_system():
        raise error
    assert caught.value.__cause__ is error


def test_an_error_that_may_pass_is_left_for_the_next_try() -> None:
    from pathlib import PurePosixPath

    errors: list[CryodaqError] = [
        LogbookUnreachableError("away"),
        ShareMissingError(PurePosixPath("/mnt/tem1"), why=".online is not there"),
    ]
    for error in errors:
        with pytest.raises(type(error)) as caught, opened_system():
            raise error
        assert caught.value is error


def test_an_error_that_nobody_foresaw_is_tried_again_too() -> None:
    with pytest.raises(ZeroDivisionError), opened_system():
        _ = 1 / 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_the_flag_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_flag() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) is before


PROCESS_OF_A_TASK = """
import logging, sys, threading, types
from airflow.sdk.log import configure_logging
configure_logging(json_output=True, output=sys.stdout.buffer, sending_to_supervisor=True)
sys.modules["cryodaq.wiring"] = types.ModuleType("cryodaq.wiring")
sys.modules["cryodaq.wiring"].open_system = object
from cryodaq.orchestration.system import opened_system
log = logging.getLogger("cryodaq.app.transfer_movies")
with opened_system(microscope="tem1"):
    log.info("a window ended", extra={"copied": 3})
    thread = threading.Thread(target=log.warning, args=("a trigger was refused",), kwargs={"extra": {"problem": "why"}})
    thread.start()
    thread.join()
log.info("afterwards", extra={"copied": 3})
"""


def test_records_of_a_task_carry_its_facts_and_their_own() -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS_OF_A_TASK], capture_output=True, check=True, timeout=60)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    (window, refused, after) = [one for one in records if one.get("logger", "").startswith("cryodaq")]
    assert (window["event"], window["microscope"], window["copied"]) == ("a window ended", "tem1", 3)
    assert (refused["event"], refused["microscope"], refused["problem"]) == ("a trigger was refused", "tem1", "why")
    assert "microscope" not in after
