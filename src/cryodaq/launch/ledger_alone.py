"""The embedded PostgreSQL alone, for a command that needs a ledger and nothing else."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryodaq.domain.home import Home
from cryodaq.errors import LaunchError
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.schema import bring_up_to_date
from cryodaq.launch.socket_folders import remove_socket_folder
from cryodaq.launch.system import DATABASE

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0


@contextmanager
def embedded_ledger(home: Path) -> Iterator[str]:
    """Give the URL of the embedded database below a home, its tables up to date; started and ended unless it runs.

    Raises `LaunchError` when it does not start.
    """
    with embedded_database(home) as url:
        bring_up_to_date(url, postgres=EmbeddedPostgres(home), backups=Home(home).backups)
        yield url


@contextmanager
def embedded_database(home: Path) -> Iterator[str]:
    """Give the URL of the embedded database below a home as it is; it is started, and ended again, unless it runs.

    Raises `LaunchError` when it does not start.
    """
    server = EmbeddedPostgres(home)
    running = server.data.exists() and server.is_ready()
    if running:
        yield _url(server)
        return
    server.initialise()
    log_path = Home(home).logs / "postgres.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("a") as log:
        process = subprocess.Popen(
            server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(server, process, log_path)
            yield _url(server)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait(STOP_LIMIT_S)
            remove_socket_folder(server.socket_folder)


def _wait(server: EmbeddedPostgres, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not server.is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            message = f"the embedded database did not start; see {log_path}"
            raise LaunchError(message)
        time.sleep(0.05)


def _url(server: EmbeddedPostgres) -> str:
    server.create_databases([DATABASE])
    return server.url(DATABASE)
