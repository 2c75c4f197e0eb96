"""A backup brings back everything that it holds, in one step or not at all."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from cryodaq.database import open_engine
from cryodaq.domain.home import Home
from cryodaq.elogbook import accounts
from cryodaq.errors import LaunchError, SchemaVersionError
from cryodaq.launch.backup import BackupPlace, make_backup, restore_backup
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.ledger import events
from cryodaq.ledger.events import Subject

AT = datetime(2026, 11, 22, 3, 17, tzinfo=UTC)
DAG = "20260101-CT01_0123456789abcdef01234567.py"


def a_home(folder: Path) -> Home:
    home = Home(folder)
    for path, text in (
        (home.root / "facility.active.toml", "[storage]\n"),
        (home.templates / "pipeline_tomo_pre-processing.py", "# the site's\n"),
        (home.dag_folder / DAG, "# edited by hand\n"),
        (home.dag_folder / f"{DAG}.retired", "# of an earlier sample\n"),
        (home.secrets / "postgres", "a secret that stays at home"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home


def place(home: Home, url: str, postgres: EmbeddedPostgres) -> BackupPlace:
    return BackupPlace(home=home, url=url, dag_folder=home.dag_folder, postgres=postgres)


def fill(url: str, *, operator: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        events.record_event(connection, "happened", at=AT, subject=Subject(microscope="tem1"), facts={"who": operator})
        accounts.add_user(connection, operator, full_name="Ångström")
    engine.dispose()


def content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    engine = open_engine(url)
    with engine.connect() as connection:
        names = connection.execute(
            sa.text("select schemaname, tablename from pg_tables where schemaname in ('ledger', 'elogbook', 'public')")
        ).all()
        rows = {
            f"{schema}.{table}": sorted(
                map(str, connection.execute(sa.text(f'select * from {schema}."{table}"')).all())
            )
            for schema, table in names
        }
    engine.dispose()
    return rows  # type: ignore[return-value]  # rows as texts


def new_database(postgres: EmbeddedPostgres, name: str) -> str:
    postgres.create_databases([name])
    return postgres.url(name)


def test_a_backup_of_one_machine_is_the_same_on_another(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    fill(database_url, operator="anna")
    here = a_home(tmp_path / "here")
    made = make_backup(place(here, database_url, postgres), tmp_path / "backups", at=AT)
    assert made.name == "cryodaq-backup-20261122T031700Z.tar"
    assert made.stat().st_mode & 0o777 == 0o600
    assert b"a secret that stays at home" not in made.read_bytes()
    there = Home(tmp_path / "there")
    other = new_database(postgres, f"{database_url.rsplit('/', maxsplit=1)[-1].split('?', maxsplit=1)[0]}_2")
    assert restore_backup(place(there, other, postgres), made, at=AT) is None
    assert content(other) == content(database_url)
    assert len(content(other)["ledger.event"]) == 1
    for path in (
        "facility.active.toml",
        f"dags/{DAG}",
        f"dags/{DAG}.retired",
        "templates/pipeline_tomo_pre-processing.py",
    ):
        assert (there.root / path).read_text() == (here.root / path).read_text()
    fill(other, operator="berta")  # its identity columns go on where they were


def test_going_back_keeps_what_was_there_and_undoes_newer_tables(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    home = a_home(tmp_path)
    fill(database_url, operator="anna")
    before = content(database_url)
    made = make_backup(place(home, database_url, postgres), tmp_path / "backups", at=AT)
    fill(database_url, operator="berta")
    engine = open_engine(database_url)
    with engine.begin() as connection:  # as a newer release would leave it
        connection.execute(sa.text("create table ledger.later (id int)"))
        connection.execute(sa.text("update schema_version set version_num = '9999'"))
    engine.dispose()
    (home.dag_folder / DAG).write_text("# spoiled\n")
    newest = restore_backup(place(home, database_url, postgres), made, at=AT)
    assert content(database_url) == before
    assert (home.dag_folder / DAG).read_text() == "# edited by hand\n"
    assert newest is not None
    assert newest.parent == home.backups
    with pytest.raises(SchemaVersionError, match=r"^the backup \S+ has schema 9999"):
        restore_backup(place(home, database_url, postgres), newest, at=AT)  # the newer release can, this one cannot
    assert content(database_url) == before


@pytest.mark.parametrize("harm", ["cut", "changed", "another file", "absent"])
def test_a_damaged_backup_changes_nothing(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, harm: str
) -> None:
    home = a_home(tmp_path)
    fill(database_url, operator="anna")
    made = make_backup(place(home, database_url, postgres), tmp_path / "backups", at=AT)
    before = content(database_url)
    whole = made.read_bytes()
    with tarfile.open(made) as archive:
        inside = archive.getmember("database.dump").offset_data + 500
    spoiled = {
        "cut": whole[: len(whole) // 2],
        "changed": whole[:inside] + bytes([whole[inside] ^ 1]) + whole[inside + 1 :],
        "another file": b"hello",
    }
    made.unlink() if harm == "absent" else made.write_bytes(spoiled[harm])
    with pytest.raises(LaunchError, match="nothing was changed"):
        restore_backup(place(home, database_url, postgres), made, at=AT)
    assert content(database_url) == before


@pytest.mark.parametrize(
    "name", ["../outside", "outside", "dags/..", "dags/../../outside", "elsewhere/outside", "dags/a/outside"]
)
def test_an_archive_writes_nowhere_but_where_a_backup_has_its_files(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, name: str
) -> None:
    home = a_home(tmp_path / "home")
    made = make_backup(place(home, database_url, postgres), tmp_path / "backups", at=AT)
    (tmp_path / "payload").write_text("hello")
    with tarfile.open(made, "a") as archive:
        archive.add(tmp_path / "payload", arcname=name)
    with pytest.raises(LaunchError, match="does not belong into a backup"):
        restore_backup(place(home, database_url, postgres), made, at=AT)


def test_a_link_in_an_archive_is_refused(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> None:
    home = a_home(tmp_path / "home")
    made = make_backup(place(home, database_url, postgres), tmp_path / "backups", at=AT)
    link = tarfile.TarInfo("dags/link.py")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(made, "a") as archive:
        archive.addfile(link)
    with pytest.raises(LaunchError, match="does not belong into a backup"):
        restore_backup(place(home, database_url, postgres), made, at=AT)


def test_a_system_that_runs_is_not_replaced_under_its_feet(
    postgres: EmbeddedPostgres, database_url: str, open_database: Callable[[str], sa.Engine], tmp_path: Path
) -> None:
    home = a_home(tmp_path)
    made = make_backup(place(home, database_url, postgres), tmp_path / "backups", at=AT)
    with open_database(database_url).connect(), pytest.raises(LaunchError, match="in use by another program"):
        restore_backup(place(home, database_url, postgres), made, at=AT)


def test_an_empty_database_is_no_backup(postgres: EmbeddedPostgres, empty_database_url: str, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no tables"):
        make_backup(place(a_home(tmp_path), empty_database_url, postgres), tmp_path / "backups", at=AT)
    assert not (tmp_path / "backups").exists()
