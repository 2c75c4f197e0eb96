"""One start of the whole embedded system with a real Airflow, shared by all tests that need one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryodaq.config import Facility, Ports, activate
from cryodaq.launch.services import Service, free_ports
from cryodaq.launch.supervisor import ChildEvent
from cryodaq.launch.system import EmbeddedSystem
from cryodaq.scheduler.airflow import AirflowScheduler

FAKES = Path(__file__).parent / "airflow_fakes"


def make_home(home: Path) -> Facility:
    """Write and activate the facility file of a system with one microscope, on ports that are free."""
    ports = free_ports(Ports(web=18080, elogbook=18081, airflow=18082))
    home.mkdir()
    (home / "window_s").write_text("3")
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


@pytest.fixture(scope="session")
def happenings() -> list[ChildEvent]:
    """What the running system says of its children, oldest first."""
    return []


@pytest.fixture(scope="session")
def embedded_system(tmp_path_factory: pytest.TempPathFactory, happenings: list[ChildEvent]) -> Iterator[EmbeddedSystem]:
    """PostgreSQL and Airflow, running; tasks write what they were asked into `<home>/calls.jsonl`."""
    home = tmp_path_factory.mktemp("system") / "home"
    facility = make_home(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")]))
        system = EmbeddedSystem(home, facility, on_event=happenings.append, services=plain_services(facility))
        with system:
            yield system


@pytest.fixture(scope="session")
def airflow_scheduler(embedded_system: EmbeddedSystem) -> Iterator[AirflowScheduler]:
    """Our client at the running Airflow."""
    with embedded_system.airflow.scheduler() as scheduler:
        yield scheduler
