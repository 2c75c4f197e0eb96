"""What grows for ever unless it is cut: Airflow's rows of old runs, and the logs of their tasks."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from cryodaq.domain.home import Home
from cryodaq.errors import LaunchError
from cryodaq.launch.airflow import DATABASE
from cryodaq.launch.postgres import EmbeddedPostgres

CLEAN_LIMIT_S = 3600
_CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def clean_airflow(home: Home, *, before: datetime) -> str:
    """Remove Airflow's rows of runs that are older, by Airflow's own command; return its last words.

    The ledger knows what was published, so nothing is done again because Airflow forgot it. Raises `LaunchError`.
    """
    command = [sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive"]
    command += ["--clean-before-timestamp", before.isoformat()]
    done = subprocess.run(
        command, env=_environment(home), capture_output=True, text=True, timeout=CLEAN_LIMIT_S, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    if done.returncode != 0:
        message = "Airflow's database could not be cleaned:\n" + "\n".join(lines[-20:])
        raise LaunchError(message)
    return lines[-1] if lines else ""


def _environment(home: Home) -> dict[str, str]:
    """Return an environment with Airflow's database, which Airflow takes out of its tasks' own."""
    passed_on = {key: value for key, value in os.environ.items() if not key.startswith(_CONNECTION)}
    commands = {key: os.environ[key] for key in (f"{_CONNECTION}_CMD", f"{_CONNECTION}_SECRET") if key in os.environ}
    postgres = EmbeddedPostgres(home.root)
    if not commands and postgres.data.is_dir():
        commands = {_CONNECTION: postgres.url(DATABASE, driver="psycopg2"), "PGPASSFILE": str(postgres.password_file)}
    if not commands:
        message = f"Airflow's database is not known; set {_CONNECTION}_CMD to a command that prints its URL"
        raise LaunchError(message)
    return {"AIRFLOW_HOME": str(home.airflow), **passed_on, **commands}


def prune_logs(folder: Path, *, older_than: timedelta) -> tuple[int, int]:
    """Remove the log files below a folder that nobody wrote to for so long, and folders that are empty then.

    Links are neither followed nor removed. Return how many files, and their bytes.
    """
    limit_s = time.time() - older_than.total_seconds()
    files = size_bytes = 0
    lightened: set[Path] = set()
    for name_of_place, _, names in os.walk(folder, topdown=False, followlinks=False):
        place = Path(name_of_place)
        for path in (place / name for name in names):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime < limit_s:
                path.unlink()
                files, size_bytes = files + 1, size_bytes + found.st_size
                lightened.add(place)
        if place != folder and place in lightened and not any(place.iterdir()):
            place.rmdir()
            lightened.add(place.parent)
    return files, size_bytes
