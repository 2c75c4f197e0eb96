"""Bring the database's tables to what this program needs: a backup first, and never backwards."""

from __future__ import annotations

import logging
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.database import open_engine
from cryodaq.errors import LaunchError
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.migrations import current_revision, newest_revision, upgrade

if TYPE_CHECKING:
    from sqlalchemy import URL

DUMP_LIMIT_S = 3600

log = logging.getLogger(__name__)


def bring_up_to_date(url: str, *, postgres: EmbeddedPostgres, backups: Path) -> Path | None:
    """Upgrade a database's tables when they are older than this program; return the backup made before.

    Parameters
    ----------
    postgres
        Whose programs make the dump, whichever server the database is on.

    Raises
    ------
    SchemaVersionError
        A newer cryodaq made the tables.
    LaunchError
        The backup failed; nothing was changed.
    """
    engine = open_engine(url)
    try:
        found = current_revision(engine)
        if found == newest_revision():
            return None
        backup = None
        if found is not None:
            backups.mkdir(mode=0o700, parents=True, exist_ok=True)
            backup = backups / f"cryodaq-{found}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump"
            dump(engine.url, backup, program=postgres.binary("pg_dump"))
        log.info("upgrading the database", extra={"found": found, "backup": str(backup)})
        upgrade(engine)
        return backup
    finally:
        engine.dispose()


def dump(url: URL, target: Path, *, program: Path) -> None:
    """Write a database into a file that pg_restore reads, readable by its owner alone.

    Raises
    ------
    LaunchError
        With pg_dump's last lines; no file is left.
    """
    part = target.with_name(f"{target.name}.part")
    part.touch(mode=0o600)
    command = [str(program), "--format=custom", "--no-password", f"--file={part}"]
    done = subprocess.run(
        command, env=libpq_environment(url), capture_output=True, text=True, timeout=DUMP_LIMIT_S, check=False
    )
    if done.returncode != 0:
        part.unlink()
        lines = "\n".join(done.stderr.splitlines()[-20:])
        message = f"the database could not be backed up, nothing was changed:\n{lines}"
        raise LaunchError(message)
    part.replace(target)


def libpq_environment(url: URL) -> dict[str, str]:
    """Return an environment that makes libpq connect to `url`; a password never becomes an argument."""
    query = {key: value if isinstance(value, str) else value[-1] for key, value in url.query.items()}
    values = {
        "PGHOST": url.host or query.get("host"),
        "PGPORT": str(url.port) if url.port else query.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": str(url.password) if url.password else None,
        "PGPASSFILE": query.get("passfile"),
        "PGDATABASE": url.database,
    }
    return {**os.environ, **{key: value for key, value in values.items() if value}}
