"""An older database is upgraded after a backup, a current one is left alone, a newer one refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from cryodaq.errors import LaunchError, SchemaVersionError
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.schema import bring_up_to_date, dump
from cryodaq.migrations import VERSION_TABLE, alembic_config, current_revision, newest_revision

OpenDatabase = Callable[[str], sa.Engine]


def test_an_older_database_is_backed_up_and_upgraded(
    postgres: EmbeddedPostgres, empty_database_url: str, open_database: OpenDatabase, tmp_path: Path
) -> None:
    engine = open_database(empty_database_url)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
    backup = bring_up_to_date(empty_database_url, postgres=postgres, backups=tmp_path / "backups")
    assert current_revision(engine) == newest_revision()
    assert backup is not None
    assert backup.name.startswith("cryodaq-0001-")
    assert backup.stat().st_mode & 0o777 == 0o600
    listing = subprocess.run(
        [str(postgres.binary("pg_restore")), "--list", str(backup)], capture_output=True, text=True, check=True
    )
    assert VERSION_TABLE in listing.stdout
    assert bring_up_to_date(empty_database_url, postgres=postgres, backups=tmp_path / "backups") is None
    assert list((tmp_path / "backups").iterdir()) == [backup]


def test_a_new_database_needs_no_backup(
    postgres: EmbeddedPostgres, empty_database_url: str, open_database: OpenDatabase, tmp_path: Path
) -> None:
    assert bring_up_to_date(empty_database_url, postgres=postgres, backups=tmp_path / "backups") is None
    assert current_revision(open_database(empty_database_url)) == newest_revision()
    assert not (tmp_path / "backups").exists()


def test_a_newer_database_is_refused_and_left_alone(
    postgres: EmbeddedPostgres, database_url: str, open_database: OpenDatabase, tmp_path: Path
) -> None:
    with open_database(database_url).begin() as connection:
        connection.execute(sa.text("update schema_version set version_num = '9999'"))
    with pytest.raises(SchemaVersionError, match=r"^the database \w+ at \S+ has schema 9999"):
        bring_up_to_date(database_url, postgres=postgres, backups=tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_backup_nothing_is_changed(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    absent = sa.make_url(postgres.url("no_such_database"))
    with pytest.raises(LaunchError, match="nothing was changed"):
        dump(absent, tmp_path / "x.dump", program=postgres.binary("pg_dump"))
    assert not list(tmp_path.iterdir())
