"""What a stack needs done at each start: settings kept, tables up to date, DAG files and pools in place."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cryodaq
from cryodaq.config import Facility, read_secret
from cryodaq.domain.home import AIRFLOW_OPERATOR, Home
from cryodaq.errors import LaunchError, SchedulerUnreachableError
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.schema import bring_up_to_date
from cryodaq.launch.swarm.waiting import mark_prepared
from cryodaq.scheduler.airflow import AirflowScheduler

MIGRATION_LIMIT_S = 1800
ANSWER_LIMIT_S = 600.0
OPERATOR_PASSWORD = Path("/run/secrets/airflow_password_operator")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparing:
    """What is prepared; all of it may be done again at any time."""

    home: Home
    facility: Facility
    fill_elogbook: Callable[[str], None]
    """Makes the first accounts and the instruments of the embedded elogbook in a database."""

    def run(self) -> None:
        """Do all of it in order.

        Raises
        ------
        LaunchError
            The database does not take it, or Airflow does not answer in time.
        """
        url = self.database_url
        _create_database(url, "airflow")
        bring_up_to_date(url, postgres=EmbeddedPostgres(self.home.root), backups=self.home.backups)
        if self.facility.elogbook.kind == "embedded":
            self.fill_elogbook(url)
        _migrate_airflow()
        copy_dag_files(self.facility.storage.dag_folder or self.home.dag_folder)
        mark_prepared(self.home)
        self._make_pools()

    @property
    def database_url(self) -> str:
        """The database of ledger and elogbook. Raises `ConfigError`."""
        file = self.facility.database.url_file
        if file is None:
            message = "a stack needs [database] url_file"
            raise LaunchError(message)
        return read_secret(file).get_secret_value()

    def _make_pools(self) -> None:
        """Make Airflow's pools once its API answers, which it does some time after its tables are there."""
        pools = self.facility.pools
        wanted = {"transfer": len(self.facility.microscopes), "compute": pools.compute_slots, "gpu": pools.gpu_slots}
        deadline = time.monotonic() + ANSWER_LIMIT_S
        url = self.facility.airflow.url or ""
        with AirflowScheduler(url, user=AIRFLOW_OPERATOR, password_file=OPERATOR_PASSWORD) as scheduler:
            for name, slots in ((name, slots) for name, slots in wanted.items() if slots):
                while True:
                    try:
                        scheduler.ensure_pool(name, slots)
                        break
                    except SchedulerUnreachableError as error:
                        if time.monotonic() > deadline:
                            message = f"Airflow did not answer within {ANSWER_LIMIT_S:.0f} s: {error}"
                            raise LaunchError(message) from error
                        time.sleep(2)


def _create_database(url: str, name: str) -> None:
    """Make Airflow's database beside ours where there is none; a site's own server may have it already.

    A server that starts beside us is waited for. Raises `LaunchError` when it does not answer in time.
    """
    import psycopg
    from sqlalchemy import make_url

    address = make_url(url).set(drivername="postgresql")
    deadline = time.monotonic() + ANSWER_LIMIT_S
    while True:
        try:
            with psycopg.connect(address.render_as_string(hide_password=False), autocommit=True) as connection:
                found = connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone()
                if found is None:
                    connection.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(name)))
                return
        except psycopg.OperationalError as error:
            message = f"the database at {address.host} does not answer ({str(error).strip().splitlines()[0]})"
            if time.monotonic() > deadline:
                raise LaunchError(message) from error
            log.warning("waiting: %s", message)
            time.sleep(2)


def _migrate_airflow() -> None:
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, env=dict(os.environ), timeout=MIGRATION_LIMIT_S, check=False)
    if done.returncode != 0:
        message = "Airflow's tables could not be made; its words are above"
        raise LaunchError(message)


def copy_dag_files(folder: Path) -> None:
    """Put the DAG files that come with the program into the DAG folder, each by a rename."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in (Path(cryodaq.__file__).parent / "orchestration" / "dags").glob("*.py"):
        part = folder / f".{source.name}.part"
        part.write_bytes(source.read_bytes())
        part.replace(folder / source.name)
        log.info("put a DAG file in place", extra={"file": source.name})
