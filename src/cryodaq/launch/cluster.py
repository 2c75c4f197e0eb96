"""The embedded PostgreSQL's data: made where there is none, and carried over from an earlier major version.

PostgreSQL does not read data of another major version. So the earlier version's own programs, where the installation
has them, serve it once more, every database is dumped, and the dumps are restored into a new cluster; only then does
that one take the old one's place, which is kept beside it. After an interruption the next start begins anew, or ends
what was begun.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from cryodaq.domain.home import Home
from cryodaq.errors import LaunchError
from cryodaq.launch.postgres import MAJOR, EmbeddedPostgres
from cryodaq.launch.schema import DUMP_LIMIT_S, dump, libpq_environment
from cryodaq.launch.socket_folders import remove_socket_folder

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
NEW = "postgres.new"
"""Data folder of the cluster that takes the old one's place."""

log = logging.getLogger(__name__)


def make_cluster(server: EmbeddedPostgres) -> None:
    """Make the cluster where there is none; carry over one that an earlier major version made.

    Raises
    ------
    LaunchError
        The data is of a version whose programs are not there, or a program failed; the data is as it was.
    """
    new = replace(server, folder=NEW)
    if not server.data.exists() and new.data.exists():
        new.data.rename(server.data)  # the last step of carrying over was interrupted
    found = server.made_by
    if found in {None, MAJOR}:
        server.initialise()
        return
    old = replace(server, major=str(found))
    _require_programs(old)
    if new.data.exists():
        shutil.rmtree(new.data)
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    log.info("carrying the database over", extra={"found": found, "to": MAJOR})
    _restore(new, _dumped(old, stamp=stamp))
    kept = server.data.with_name(f"{server.folder}-{found}-{stamp}")
    server.data.rename(kept)
    new.data.rename(server.data)
    log.info("the database was carried over; what was there is kept", extra={"kept": str(kept)})


@contextmanager
def served(server: EmbeddedPostgres) -> Iterator[None]:
    """Run a cluster's server for the block. Raises `LaunchError` when it does not start."""
    log_path = Home(server.home).logs / "postgres.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("a") as output:
        process = subprocess.Popen(
            server.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait(server, process, log_path)
            yield
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


def _require_programs(old: EmbeddedPostgres) -> None:
    try:
        old.binary("postgres")
    except LaunchError as error:
        message = (
            f"{old.data} was made by PostgreSQL {old.major}, and this cryodaq has {MAJOR}: {error}; with the release "
            f"that made it run 'cryodaq backup', move {old.data} away, and run 'cryodaq restore' with this one"
        )
        raise LaunchError(message) from error


def _dumped(old: EmbeddedPostgres, *, stamp: str) -> dict[str, Path]:
    """Write each database of a cluster into a file of its own, which stays as a backup; return them by name."""
    backups = Home(old.home).backups
    backups.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = replace(old, major=MAJOR).binary("pg_dump")  # reads what earlier servers hold
    dumps = {}
    with served(old):
        for name in _databases(old):
            dumps[name] = backups / f"postgres-{old.major}-{name}-{stamp}.dump"
            dump(make_url(old.url(name)), dumps[name], program=program)
    return dumps


def _databases(server: EmbeddedPostgres) -> list[str]:
    import psycopg

    query = "select datname from pg_database where not datistemplate and datname <> 'postgres' order by datname"
    with psycopg.connect(server.dsn("postgres")) as connection:
        return [str(row[0]) for row in connection.execute(query).fetchall()]


def _restore(new: EmbeddedPostgres, dumps: Mapping[str, Path]) -> None:
    """Make a cluster that has what the dumps hold; each database in one transaction."""
    new.initialise()
    with served(new):
        new.create_databases(list(dumps))
        for name, path in dumps.items():
            command = [str(new.binary("pg_restore")), "--no-password", "--no-owner", "--exit-on-error"]
            command += ["--single-transaction", f"--dbname={name}", str(path)]
            environment = libpq_environment(make_url(new.url(name)))
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=DUMP_LIMIT_S, check=False
            )
            if done.returncode != 0:
                lines = "\n".join(done.stderr.splitlines()[-20:])
                message = f"{path} could not be restored into PostgreSQL {MAJOR}, nothing was changed:\n{lines}"
                raise LaunchError(message)
