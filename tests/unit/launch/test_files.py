"""Secrets, logs, ports and settings of the embedded system."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from sqlalchemy import make_url

from cryodaq.config import Facility, parse
from cryodaq.config.machines import Ports
from cryodaq.domain.home import Home
from cryodaq.errors import LaunchError
from cryodaq.launch import schema
from cryodaq.launch.airflow import EmbeddedAirflow
from cryodaq.launch.ports import PortClaims
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.secrets import secret
from cryodaq.launch.services import free_ports, own_services
from cryodaq.launch.sessions import read_records
from cryodaq.launch.supervisor import rotate_log, shorten_log

FACILITY = """
[storage]
root = "/data"
[elogbook]
kind = "{kind}"
url = "http://logbook"
[[microscopes]]
name = "tem1"
instrument = "TEM1"
shares = [{{ root = "/mnt/tem1" }}]
"""


def facility(kind: str = "embedded") -> Facility:
    return parse(FACILITY.format(kind=kind), source="test")


@pytest.fixture
def airflow(tmp_path: Path) -> EmbeddedAirflow:
    home = Home(tmp_path)
    airflow = EmbeddedAirflow(
        home=home, port=18082, dag_folder=home.dag_folder, postgres=EmbeddedPostgres(tmp_path), parallelism=8
    )
    airflow.prepare()
    return airflow


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "one"
    first = secret(path)
    assert len(first) == 43
    assert secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_airflow_listens_on_loopback_and_its_database_url_has_no_password(airflow: EmbeddedAirflow) -> None:
    settings = airflow.environment()
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert settings["AIRFLOW__API__EXPOSE_CONFIG"] == "False"
    assert make_url(settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).password is None
    assert settings == airflow.environment()  # fixed: all components and all starts share them


def test_airflows_secrets_are_private_files_and_stand_in_no_command(airflow: EmbeddedAirflow) -> None:
    secrets = {path: path.read_text() for path in airflow.home.secrets.iterdir()}
    assert secrets
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in secrets)
    passwords = json.loads((airflow.home.secrets / "airflow_passwords.json").read_text())
    assert set(passwords) == {"admin", "operator", "cryodaq"}
    commands = " ".join(word for child in airflow.children({}) for word in child.command)
    assert not any(value in commands for value in [*secrets.values(), *passwords.values()])
    config = (airflow.home.airflow / "airflow.cfg").read_text()
    assert "key" not in config


def test_all_three_components_share_one_set_of_settings(airflow: EmbeddedAirflow) -> None:
    children = airflow.children({"CRYODAQ_HOME": "/home"})
    assert [child.name for child in children] == ["airflow-api", "airflow-dag-processor", "airflow-scheduler"]
    assert all(child.environment == {"CRYODAQ_HOME": "/home", **airflow.environment()} for child in children)


def test_logs_are_kept_by_number_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    for number in range(8):
        path.write_text(str(number))
        rotate_log(path)
    assert not path.exists()
    assert [(tmp_path / f"part.log.{n}").read_text() for n in range(1, 6)] == ["7", "6", "5", "4", "3"]
    assert len(list(tmp_path.iterdir())) == 5


def test_a_log_that_grew_too_large_is_emptied_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    with path.open("ab", buffering=0) as output:
        output.write(b"x" * 100)
        shorten_log(path, largest_bytes=1000)
        assert path.stat().st_size == 100
        shorten_log(path, largest_bytes=50)
        output.write(b"next")
    assert path.read_bytes() == b"next"
    assert (tmp_path / "part.log.1").stat().st_size == 100


def test_a_log_that_filled_its_disk_is_emptied_without_a_copy(tmp_path: Path) -> None:
    path, kept = tmp_path / "part.log", tmp_path / "part.log.1"
    path.write_text("x" * 100)
    kept.symlink_to("/dev/full")
    shorten_log(path, largest_bytes=50)
    assert path.stat().st_size == 0
    assert not kept.is_symlink()


def test_a_taken_port_is_named_with_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=rf"port {port} is taken.*\[ports\] airflow"):
            PortClaims().require("airflow", port)
        claims = PortClaims()
        chosen = free_ports(Ports(web=port, elogbook=port + 1, airflow=port + 2), claims)
        assert port < chosen.web < chosen.elogbook < chosen.airflow
        claims.release()


def test_systems_that_start_at_once_choose_different_ports() -> None:
    first, second = PortClaims(), PortClaims()
    wanted = Ports(web=28_080, elogbook=28_081, airflow=28_082)
    chosen = [free_ports(wanted, claims) for claims in (first, second)]
    numbers = [number for ports in chosen for number in (ports.web, ports.elogbook, ports.airflow)]
    assert len(set(numbers)) == 6
    first.require("web", chosen[0].web)  # its own
    with pytest.raises(LaunchError, match="is taken"):
        second.require("web", chosen[0].web)
    first.release()
    second.require("web", chosen[0].web)
    second.release()


def test_a_foreign_elogbook_is_not_started() -> None:
    assert [service.name for service in own_services(facility())] == ["elogbook", "web", "watch"]
    assert [service.name for service in own_services(facility("explgbk"))] == ["web", "watch"]


def test_a_damaged_record_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"name": "b"}')
    assert read_records(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_backup_finds_its_server_by_environment_alone() -> None:
    url = make_url("postgresql+psycopg://me:p%40ss@db.example:5433/cryodaq?passfile=/x")
    found = schema.libpq_environment(url)
    wanted = {"PGHOST": "db.example", "PGPORT": "5433", "PGUSER": "me", "PGPASSWORD": "p@ss", "PGDATABASE": "cryodaq"}
    assert wanted.items() <= found.items()
    socket_url = make_url("postgresql+psycopg://me@/cryodaq?host=/run/pg&passfile=/x")
    assert {"PGHOST": "/run/pg", "PGPASSFILE": "/x"}.items() <= schema.libpq_environment(socket_url).items()
