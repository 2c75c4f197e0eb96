"""Data of an earlier major version of PostgreSQL is carried over whole, or left as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from cryodaq.errors import LaunchError
from cryodaq.launch.cluster import NEW, make_cluster, served
from cryodaq.launch.ledger_alone import embedded_database
from cryodaq.launch.postgres import MAJOR, EmbeddedPostgres

EARLIER = "16"
"""The wheel has its programs beside those of the version that we run."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose database PostgreSQL 16 made, with two databases."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    earlier = EmbeddedPostgres(folder, major=EARLIER)
    earlier.initialise()
    with served(earlier):
        earlier.create_databases(["airflow", "cryodaq"])
        for name in ("airflow", "cryodaq"):
            engine = sa.create_engine(earlier.url(name))
            with engine.begin() as connection:
                assert connection.execute(sa.text("show server_version")).scalar_one().startswith(EARLIER)
                connection.execute(sa.text("create table said (id bigint generated always as identity, text text)"))
                connection.execute(sa.text("insert into said (text) values (:text)"), {"text": f"4 e⁻/Å² in {name}"})
            engine.dispose()
    return folder


def said(url: str) -> tuple[str, list[str]]:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        version = str(connection.execute(sa.text("show server_version")).scalar_one())
        connection.execute(sa.text("insert into said (text) values ('more')"))
        texts = list(connection.execute(sa.text("select text from said order by id")).scalars())
    engine.dispose()
    return version.partition(".")[0], texts


def test_what_an_earlier_postgresql_made_is_carried_over_and_kept(home: Path) -> None:
    (home / NEW).mkdir(mode=0o700)
    (home / NEW / "PG_VERSION").write_text(f"{MAJOR}\n")  # an attempt that was interrupted before
    with embedded_database(home) as url:
        assert said(url) == (MAJOR, ["4 e⁻/Å² in cryodaq", "more"])
        assert said(EmbeddedPostgres(home).url("airflow")) == (MAJOR, ["4 e⁻/Å² in airflow", "more"])
    (kept,) = home.glob(f"postgres-{EARLIER}-*")
    assert (kept / "PG_VERSION").read_text().strip() == EARLIER
    names = sorted(re.sub(r"-\d{8}T\d{6}Z", "", path.name) for path in (home / "backups").iterdir())
    assert names == [f"postgres-{EARLIER}-airflow.dump", f"postgres-{EARLIER}-cryodaq.dump"]
    assert {path.stat().st_mode & 0o777 for path in (home / "backups").iterdir()} == {0o600}
    assert not (home / NEW).exists()
    with embedded_database(home) as url:  # once
        assert said(url) == (MAJOR, ["4 e⁻/Å² in cryodaq", "more", "more"])
    assert list(home.glob("postgres-*")) == [kept]


def test_an_end_between_the_two_renames_is_made_good(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    replace(server, folder=NEW).initialise()
    inode = (tmp_path / NEW).stat().st_ino
    make_cluster(server)
    assert server.data.stat().st_ino == inode
    assert not (tmp_path / NEW).exists()


@pytest.mark.parametrize("found", ["15", "99"])
def test_data_whose_programs_are_not_there_is_left_as_it_is_and_said(tmp_path: Path, found: str) -> None:
    data = tmp_path / "postgres"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text(f"{found}\n")
    with pytest.raises(LaunchError, match=rf"was made by PostgreSQL {found}, and this cryodaq has {MAJOR}.*restore"):
        make_cluster(EmbeddedPostgres(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["postgres"]
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]
