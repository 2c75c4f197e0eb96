"""Children that die are started again and said so; what stops leaves no process, nor a task in a group of its own."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cryodaq.domain.home import Home
from cryodaq.errors import LaunchError
from cryodaq.launch import sessions
from cryodaq.launch import supervisor as supervision
from cryodaq.launch.supervisor import Child, ChildEvent, Supervisor
from cryodaq.launch.system import ended_by_sigterm

SLEEPER = "import time; time.sleep(60)"
WITH_TASK = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: None)   # waits for its task, as Airflow's scheduler does
task = os.fork()
if task == 0:
    os.setpgid(0, 0)
    def ended(*_):
        open(sys.argv[1], "a").write("interrupted")
        os._exit(0)
    signal.signal(signal.SIGINT, ended)
    open(sys.argv[1] + ".ready", "w").close()
    time.sleep(60)
os.waitpid(task, 0)
"""
LISTENER = """
import socket, sys, time
with socket.socket() as own:
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    own.bind(("127.0.0.1", int(sys.argv[1])))
    own.listen()
    time.sleep(60)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def within(limit_s: float, claim: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + limit_s
    while not (holds := claim()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def happenings() -> list[ChildEvent]:
    return []


@pytest.fixture
def supervisor(home: Home, happenings: list[ChildEvent]) -> Iterator[Supervisor]:
    supervisor = Supervisor(home, on_event=happenings.append)
    yield supervisor
    supervisor.stop()


def child(home: Home, program: str, *arguments: str, **options: object) -> Child:
    settings: dict[str, object] = {"stop_grace_s": 2.0, "is_healthy": lambda: True, **options}
    return Child(
        name="part",
        command=[sys.executable, "-c", program, *arguments],
        environment=dict(os.environ),
        folder=home.root,
        **settings,  # type: ignore[arg-type]  # options of the test at hand
    )


def test_a_killed_child_is_started_again_and_said_so(
    supervisor: Supervisor, home: Home, happenings: list[ChildEvent]
) -> None:
    supervisor.start(child(home, SLEEPER))
    first = supervisor.process_ids()["part"]
    os.kill(first, signal.SIGKILL)
    assert within(5, lambda: supervisor.process_ids()["part"] != first)
    assert psutil.pid_exists(supervisor.process_ids()["part"])
    assert [event.what for event in happenings if event.what != "healthy"] == ["started", "died", "restarted"]
    assert "SIGKILL" in next(event.sentence for event in happenings if event.what == "died")


def test_a_child_that_keeps_dying_is_started_ever_later(
    supervisor: Supervisor, home: Home, happenings: list[ChildEvent]
) -> None:
    supervisor.start(child(home, "raise SystemExit(3)", is_healthy=lambda: False))
    assert within(8, lambda: [event.what for event in happenings].count("died") >= 3)
    pauses = [event.sentence.rsplit(" in ", 1)[1] for event in happenings if event.what == "died"]
    assert pauses[:3] == ["0.5 s", "1 s", "2 s"]


def test_a_child_that_does_not_come_up_is_an_error_with_its_last_lines(
    supervisor: Supervisor, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.05)
    supervisor.start(child(home, "raise SystemExit('no such thing')", is_healthy=lambda: False))
    with pytest.raises(LaunchError, match="no such thing"):
        supervisor.wait_until_healthy(["part"], timeout_s=20)


def test_stopping_interrupts_tasks_in_groups_of_their_own(supervisor: Supervisor, home: Home, tmp_path: Path) -> None:
    note = tmp_path / "note"
    supervisor.start(child(home, WITH_TASK, str(note), runs_tasks=True, stop_grace_s=5.0))
    assert within(5, note.with_suffix(".ready").exists)
    record = sessions.read_records(home.run)[0]
    assert len(sessions.members(record)) == 2
    begun = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - begun < 3
    assert note.read_text() == "interrupted"
    assert not sessions.members(record)
    assert not sessions.read_records(home.run)


def test_a_child_that_ignores_the_signal_is_killed(
    supervisor: Supervisor, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "STOP_LIMIT_S", 0.0)
    supervisor.start(child(home, STUBBORN, stop_grace_s=0.5))
    assert within(5, lambda: "up" in (home.logs / "part.log").read_text())
    record = sessions.read_records(home.run)[0]
    supervisor.stop()
    assert not sessions.members(record)


def test_what_a_dead_child_left_is_ended_before_it_is_started_again(
    supervisor: Supervisor, home: Home, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    supervisor.start(child(home, WITH_TASK, str(note), runs_tasks=True))
    assert within(5, note.with_suffix(".ready").exists)
    record = sessions.read_records(home.run)[0]
    os.kill(supervisor.process_ids()["part"], signal.SIGKILL)
    assert within(8, lambda: supervisor.process_ids()["part"] != record.session)
    assert note.read_text() == "interrupted"
    assert not sessions.members(record)


def test_a_later_process_of_the_same_id_is_not_taken_for_ours(supervisor: Supervisor, home: Home) -> None:
    supervisor.start(child(home, SLEEPER))
    record = sessions.read_records(home.run)[0]
    facts = {"name": "part", "session": record.session}
    assert sessions.members(record)
    assert not sessions.members(
        sessions.SessionRecord(**facts, leader_started=record.leader_started - 100, epoch=record.epoch)
    )
    assert not sessions.members(
        sessions.SessionRecord(**facts, leader_started=record.leader_started, epoch="another boot")
    )


def test_a_child_that_no_longer_answers_is_killed_and_started_again(
    supervisor: Supervisor, home: Home, happenings: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "SICK_LIMIT_S", 0.3)
    monkeypatch.setattr(supervision, "HEALTH_EVERY_S", 0.1)
    answers: list[bool | None] = [True]
    supervisor.start(child(home, SLEEPER, is_healthy=lambda: answers[-1]))
    first = supervisor.process_ids()["part"]
    assert within(5, lambda: "healthy" in [event.what for event in happenings])
    answers.append(None)  # cannot be told: no reason to kill it
    assert not within(1.0, lambda: "sick" in [event.what for event in happenings])
    answers.append(False)
    assert within(5, lambda: supervisor.process_ids()["part"] != first)
    assert "sick" in [event.what for event in happenings]


def test_another_programs_answers_are_not_taken_for_the_childs(
    supervisor: Supervisor, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.05)
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        supervisor.start(child(home, LISTENER, str(port), port=port))
        with pytest.raises(LaunchError, match="Address already in use"):
            supervisor.wait_until_healthy(["part"], timeout_s=20)
    assert within(10, lambda: sessions.listens(sessions.read_records(home.run)[0], port))
    supervisor.wait_until_healthy(["part"], timeout_s=20)


def test_on_a_full_disk_a_child_runs_without_a_log(
    home: Home, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cryodaq.launch.supervisor.LEAST_LOG_BYTES", 1 << 62)
    program = "import pathlib, time; print('x' * 9999, flush=True); pathlib.Path('printed').touch(); time.sleep(60)"
    supervisor.start(child(home, program))
    assert within(5, (home.root / "printed").exists)
    assert not (home.logs / "part.log").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_ends_things_as_ctrl_c_does(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # whoever runs the tests may ignore it
    try:
        with pytest.raises(KeyboardInterrupt), ended_by_sigterm():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_sigterm():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
