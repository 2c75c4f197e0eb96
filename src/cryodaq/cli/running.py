"""`cryodaq up`: the whole system on this machine for real microscopes."""

from __future__ import annotations

import logging
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import facility_file, home_folder

if TYPE_CHECKING:
    from cryodaq.config import Facility
    from cryodaq.launch.ports import PortClaims
    from cryodaq.launch.supervisor import ChildEvent
    from cryodaq.launch.system import EmbeddedSystem

HomeOption = Annotated[Path | None, typer.Option("--home", envvar="CRYODAQ_HOME", help="State of the system.")]


class Executor(StrEnum):
    """Who does Airflow's tasks."""

    LOCAL = "local"
    CELERY = "celery"


def up(
    config_path: Annotated[
        Path | None, typer.Option("--config", envvar="CRYODAQ_CONFIG", help="The facility file (TOML).")
    ] = None,
    home: HomeOption = None,
    executor: Annotated[
        Executor | None, typer.Option(help="How tasks are done; default: as [airflow] executor says.")
    ] = None,
) -> None:
    """Run the whole system for the microscopes of a facility file, until Ctrl-C."""
    from cryodaq import config
    from cryodaq.cli.accounts import OPERATOR, operator_password_file
    from cryodaq.launch.system import ended_by_sigterm

    folder = home_folder(home)
    facility, mistake = config.activate_or_keep(facility_file(config_path), home=folder)
    if mistake is not None:
        print(f"cryodaq: {mistake}", file=sys.stderr, flush=True)
    if executor is not None:
        airflow = facility.airflow.model_copy(update={"executor": executor.value})
        facility = facility.model_copy(update={"airflow": airflow})
    system = make_system(folder, facility)
    _tell_full_disks(system)
    with ended_by_sigterm(), system:
        print(f"board     http://127.0.0.1:{facility.ports.web}/")
        if facility.elogbook.kind == "embedded":
            print(f"elogbook  http://127.0.0.1:{facility.ports.elogbook}/")
            print(f"log in as {OPERATOR}; the first password is in {operator_password_file(system.home)}")
        print(f"Airflow   {system.airflow.url}")
        print("Ctrl-C ends everything.", flush=True)
        wait_for_the_end()


def _tell_full_disks(system: EmbeddedSystem) -> None:
    """Say at the start what would make tasks fail for want of a log."""
    from cryodaq.app.watch_facility import state_disks

    for sentence, full in state_disks([system.home.root, system.home.logs]):
        if full:
            print(f"cryodaq: {sentence}", file=sys.stderr, flush=True)


def make_system(home: Path, facility: Facility, claims: PortClaims | None = None) -> EmbeddedSystem:
    """Return the embedded system with the accounts and instruments that its elogbook needs; nothing is started yet."""
    from cryodaq.cli.accounts import ensure_accounts, ensure_instruments
    from cryodaq.database import open_engine
    from cryodaq.domain.home import Home
    from cryodaq.launch.system import EmbeddedSystem

    def fill_elogbook(database_url: str) -> None:
        engine = open_engine(database_url)
        ensure_accounts(engine, Home(home.resolve()))
        ensure_instruments(engine, facility)
        engine.dispose()

    embedded = facility.elogbook.kind == "embedded"
    on_database = fill_elogbook if embedded else lambda _: None
    return EmbeddedSystem(home, facility, on_event=_tell, on_database=on_database, claims=claims)


def _tell(event: ChildEvent) -> None:
    """Say what happened to a child where people look; INFO is in the logs alone."""
    if event.what in {"died", "sick", "restarted"}:
        print(f"cryodaq: {event.sentence}", flush=True)
    logging.getLogger(__name__).info("%s", event.sentence)


def wait_for_the_end() -> None:
    """Sleep until Ctrl-C or SIGTERM."""
    while True:
        signal.pause()
