"""One file with everything that a facility cannot make anew: ledger, elogbook, and what the site configured.

A backup is a tar archive, readable by its owner alone: `database.dump` (pg_dump's custom format), the facility file,
templates and samples' DAG files, and `backup.json` with the hash of each. Secrets are not in it: a home without them
makes new ones. Restoring first makes a backup of what it replaces, and replaces it in one transaction or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from sqlalchemy import make_url, text

from cryodaq.config import ACTIVE_NAME
from cryodaq.database import open_engine
from cryodaq.domain.home import Home
from cryodaq.errors import LaunchError
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.schema import DUMP_LIMIT_S, dump, libpq_environment
from cryodaq.migrations import VERSION_TABLE, require_known

DUMP, LABEL = "database.dump", "backup.json"
FOLDERS = ("templates", "dags")
HEAD_BYTES = 4096
"""Of a script by pg_restore, within which its settings stand before anything of ours."""
SCHEMAS = ("ledger", "elogbook")
PREFIX, SUFFIX = "cryodaq-backup-", ".tar"
OTHERS = (
    "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
    "and backend_type = 'client backend'"
)
LETS_GO_S = 2.0
"""A connection that was closed just now is still listed for a moment."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPlace:
    """What is backed up and restored."""

    home: Home
    url: str
    """Of the database with ledger and elogbook."""
    dag_folder: Path
    postgres: EmbeddedPostgres
    """Whose programs are used, whichever server the database is on."""


def make_backup(place: BackupPlace, target: Path, *, at: datetime) -> Path:
    """Write a backup into the folder `target`; return the file.

    Raises
    ------
    LaunchError
        The database has no tables yet, or its dump failed; no file is left.
    """
    revision = _stored_revision(place.url)
    if revision is None:
        message = "the database has no tables yet, so there is nothing to back up"
        raise LaunchError(message)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    final = target / f"{PREFIX}{at:%Y%m%dT%H%M%SZ}{SUFFIX}"
    part = final.with_name(f".{final.name}.part")
    with tempfile.TemporaryDirectory(dir=target, prefix=".cryodaq-") as name:
        folder = Path(name)
        dump(make_url(place.url), folder / DUMP, program=place.postgres.binary("pg_dump"))
        members = {DUMP: folder / DUMP, **dict(_configuration(place))}
        label = {
            "cryodaq": version("cryodaq"),
            "schema": revision,
            "made_at": at.isoformat(),
            "sha256": {member: _sha256(path) for member, path in members.items()},
        }
        (folder / LABEL).write_text(json.dumps(label, indent=2), encoding="utf-8")
        part.touch(mode=0o600)
        with tarfile.open(part, "w") as archive:
            for member, path in {LABEL: folder / LABEL, **members}.items():
                archive.add(path, arcname=member, recursive=False)
    part.replace(final)
    return final


def _configuration(place: BackupPlace) -> Iterator[tuple[str, Path]]:
    """Yield what the site configured, by its name in the archive."""
    active = place.home.root / ACTIVE_NAME
    if active.is_file():
        yield ACTIVE_NAME, active
    for name, folder in zip(FOLDERS, (place.home.templates, place.dag_folder), strict=True):
        for path in sorted(folder.glob("*.py*")) if folder.is_dir() else []:
            if path.is_file() and not path.is_symlink():
                yield f"{name}/{path.name}", path


def prune_backups(folder: Path, *, keep: int) -> list[Path]:
    """Remove all but the newest backups of a folder; return those removed."""
    old = sorted(folder.glob(f"{PREFIX}*{SUFFIX}"), reverse=True)[keep:]
    for path in old:
        path.unlink()
        log.info("an old backup was removed", extra={"path": str(path)})
    return old


def restore_backup(place: BackupPlace, source: Path, *, at: datetime) -> Path | None:
    """Replace ledger, elogbook and configuration by a backup's; return the backup of what was there before.

    Raises
    ------
    LaunchError
        The file is damaged or no backup, the database is in use, or PostgreSQL refuses; nothing was changed.
    SchemaVersionError
        A newer cryodaq made the backup.
    """
    with tempfile.TemporaryDirectory(prefix="cryodaq-") as name:
        folder = Path(name)
        label = _unpacked(source, folder)
        require_known(str(label.get("schema")), where=f"the backup {source}")
        _require_unused(place.url)
        before = make_backup(place, place.home.backups, at=at) if _stored_revision(place.url) else None
        _replace_tables(place, folder / DUMP)
        _replace_configuration(place, folder)
    return before


def _stored_revision(url: str) -> str | None:
    """Return which tables a database has, also those of a newer cryodaq, which is rolled back now."""
    found = _ask(url, f"select to_regclass('{VERSION_TABLE}')::text")
    return None if found is None else str(_ask(url, f"table {VERSION_TABLE}"))


def _ask(url: str, question: str) -> object:
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(question)).scalar_one()
    finally:
        engine.dispose()


def _unpacked(source: Path, folder: Path) -> dict[str, object]:
    """Unpack an archive of ours after its label agrees with its content. Raises `LaunchError`."""
    try:
        with tarfile.open(source, "r:") as archive:
            for member in archive:
                _unpack(archive, member, folder)
        label = json.loads((folder / LABEL).read_text(encoding="utf-8"))
        hashes = dict(label["sha256"])
        wrong = [member for member, expected in hashes.items() if _sha256(folder / member) != expected]
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        message = f"{source} is no backup of cryodaq, or is damaged ({error}); nothing was changed"
        raise LaunchError(message) from error
    if wrong or DUMP not in hashes:
        message = f"{source} is damaged ({', '.join(wrong) or DUMP}); nothing was changed"
        raise LaunchError(message)
    return dict(label)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one file of an archive, readable by its owner alone. Raises `ValueError` for anything but a file of ours.

    Not by tarfile's own filters: Python 3.11 has them from 3.11.4 on, and Debian 12 is older.
    """
    parts = PurePosixPath(member.name).parts
    known = member.name in (LABEL, DUMP, ACTIVE_NAME) or (len(parts) == 2 and parts[0] in FOLDERS)  # folder and name
    content = archive.extractfile(member) if member.isreg() and known and ".." not in parts else None
    if content is None:
        message = f"{member.name!r} does not belong into a backup"
        raise ValueError(message)
    target = folder.joinpath(*parts)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with content, target.open("xb") as file:
        shutil.copyfileobj(content, file)


def _require_unused(url: str) -> None:
    deadline = time.monotonic() + LETS_GO_S
    while (count := _ask(url, OTHERS)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if count:
        others = "another program" if count == 1 else f"{count} other programs"
        message = f"the database is in use by {others}; stop the system first; nothing was changed"
        raise LaunchError(message)


def _replace_tables(place: BackupPlace, dumped: Path) -> None:
    """Drop what is there and load the dump, in one transaction."""
    environment = libpq_environment(make_url(place.url))
    drops = dumped.with_name("drop.sql")
    lines = [f"drop schema if exists {schema} cascade;" for schema in SCHEMAS]
    drops.write_text("\n".join([*lines, f"drop table if exists {VERSION_TABLE};\n"]), encoding="utf-8")
    script = dumped.with_name("restore.sql")
    unpack = [
        str(place.postgres.binary("pg_restore")),
        "--no-owner",
        "--no-privileges",
        f"--file={script}",
        str(dumped),
    ]
    load = [str(place.postgres.binary("psql")), "--no-psqlrc", "--quiet", "--no-password", "--single-transaction"]
    load += ["--set=ON_ERROR_STOP=1", f"--file={drops}", f"--file={script}"]
    _run(unpack, environment)
    _let_older_servers_read(script)
    _run(load, environment)


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DUMP_LIMIT_S, check=False)
    if done.returncode != 0:
        lines = done.stderr.splitlines()[-20:]
        message = f"{Path(command[0]).name} failed, nothing was changed:\n" + "\n".join(lines)
        raise LaunchError(message)


def _let_older_servers_read(script: Path) -> None:
    """Make a comment of the one setting in a script's head that PostgreSQL knows from version 17 on.

    Our tools are newer than the server of many a site. The setting is its default, and the script keeps its length.
    """
    with script.open("r+b") as file:
        at = file.read(HEAD_BYTES).find(b"\nSET transaction_timeout = 0;\n")
        if at >= 0:
            file.seek(at + 1)
            file.write(b"-- ")


def _replace_configuration(place: BackupPlace, folder: Path) -> None:
    """Put the site's files back, each by a rename; files that the backup does not have are left alone."""
    targets = dict(zip(FOLDERS, (place.home.templates, place.dag_folder), strict=True))
    pairs = [(folder / ACTIVE_NAME, place.home.root / ACTIVE_NAME)]
    for name, target in targets.items():
        pairs += [(path, target / path.name) for path in sorted((folder / name).glob("*"))]
    for source, target in pairs:
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, part)
            part.replace(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
