"""One start of the whole embedded system with a real Airflow, shared by all tests that need one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from cryodaq.config import Facility, activate
from cryodaq.config.machines import Ports
from cryodaq.launch import sessions
from cryodaq.launch.ports import PortClaims
from cryodaq.launch.services import Service, free_ports
from cryodaq.launch.supervisor import ChildEvent
from cryodaq.launch.system import EmbeddedSystem
from cryodaq.scheduler.airflow import AirflowScheduler

LAST_OF_SYSTEM = "test_stopping_ends_a_running_transfer_and_leaves_no_process"
FAKES = Path(__file__).parent / "airflow_fakes"


def make_home(home: Path) -> Facility:
    """Write and activate the facility file of a system with one microscope, on ports that are free."""
    first = 20_000 + 3 * (os.getpid() % 4_000)  # apart from other test sessions on this machine
    claims = PortClaims()
    ports = free_ports(Ports(web=first, elogbook=first + 1, airflow=first + 2), claims)
    claims.release()  # the systems to come claim them again
    home.mkdir()
    (home / "window_s").write_text("2")
    share = home / "share"
    (home / "facility.toml").write_text(
        f"""
[storage]
root = "{home / "storage"}"
[ports]
web = {ports.web}
elogbook = {ports.elogbook}
airflow = {ports.airflow}
[pools]
compute_slots = 2
[[microscopes]]
name = "tem1"
instrument = "TEM1"
shares = [{{ root = "{share}" }}]
"""
    )
    return activate(home / "facility.toml", home=home)


def plain_services(facility: Facility) -> list[Service]:
    """Web servers that stand for the pages and the elogbook."""
    ports = {"web": facility.ports.web, "elogbook": facility.ports.elogbook}
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(FAKES)]
    return [Service(name=name, command=[*command, str(port)], port=port) for name, port in ports.items()]


@dataclass
class SystemTrial:
    """A system whose first supervisor was killed, and that was started again."""

    home: Path
    facility: Facility
    system: EmbeddedSystem
    happenings: list[ChildEvent] = field(default_factory=list)
    """What the running system says of its children, oldest first."""
    first_start_s: float = 0.0
    second_start_s: float = 0.0
    survivors: list[int] = field(default_factory=list)
    """Processes that outlived the first supervisor."""

    def calls(self, name: str) -> list[dict[str, Any]]:
        """Return what tasks noted under a name, oldest first."""
        path = self.home / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for line in lines if (call := json.loads(line))["call"] == name]

    def processes(self) -> list[psutil.Process]:
        """Return the live processes of all recorded sessions."""
        return [process for record in sessions.read_records(self.home / "run") for process in sessions.members(record)]


def within(limit_s: float, claim: Callable[[], bool]) -> bool:
    """Whether a claim comes true in time."""
    deadline = time.monotonic() + limit_s
    while not (holds := claim()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds


def kill_first_supervisor(trial: SystemTrial) -> None:
    """Start the system from a process that is then killed while a task runs."""
    services = [
        {"name": one.name, "command": list(one.command), "port": one.port} for one in plain_services(trial.facility)
    ]
    begun = time.monotonic()
    with (trial.home / "first.log").open("w") as log:
        first = subprocess.Popen(
            [sys.executable, str(FAKES / "run_system.py"), str(trial.home), json.dumps(services)],
            stdout=log,
            stderr=log,
        )
    try:
        assert within(110, (trial.home / "ready").exists), (trial.home / "first.log").read_text()
        trial.first_start_s = time.monotonic() - begun
        assert within(60, lambda: bool(trial.calls("prepare_sample")))  # so that a transfer is under way
    finally:
        first.kill()
        first.wait()
        trial.survivors = [process.pid for process in trial.processes()]


@pytest.fixture(scope="session")
def system_trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemTrial]:
    """PostgreSQL and Airflow, running; tasks write what they were asked into `<home>/calls.jsonl`."""
    home = tmp_path_factory.mktemp("system") / "home"
    facility = make_home(home)
    heard: list[ChildEvent] = []
    try:
        with pytest.MonkeyPatch.context() as patch:  # for the children that start here, and for no other test
            patch.setenv("PYTHONPATH", os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")]))
            system = EmbeddedSystem(home, facility, on_event=heard.append, services=plain_services(facility))
            trial = SystemTrial(home=home, facility=facility, system=system, happenings=heard)
            kill_first_supervisor(trial)
            begun = time.monotonic()
            system.start()
            trial.second_start_s = time.monotonic() - begun
        yield trial
    finally:
        system.stop()  # harmless where a test has stopped it
        for record in sessions.read_records(home / "run"):
            sessions.kill_session(record)  # where the first one was not followed by a second


@pytest.fixture(scope="session")
def airflow_scheduler(system_trial: SystemTrial) -> Iterator[AirflowScheduler]:
    """Our client at the running Airflow."""
    with system_trial.system.airflow.scheduler() as scheduler:
        yield scheduler


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the test that stops the shared system come last."""
    items.sort(key=lambda item: item.name == LAST_OF_SYSTEM)
