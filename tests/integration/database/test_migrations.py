"""The tables that the migrations make are the tables that the queries use."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cryodaq.errors import SchemaVersionError
from cryodaq.ledger.message_tables import metadata as ledger  # with all tables
from cryodaq.migrations import VERSION_TABLE, current_revision, newest_revision, upgrade

OpenDatabase = Callable[[str], sa.Engine]


def test_an_empty_database_is_brought_to_the_newest_revision(
    empty_database_url: str, open_database: OpenDatabase
) -> None:
    engine = open_database(empty_database_url)
    assert current_revision(engine) is None
    upgrade(engine)
    assert current_revision(engine) == newest_revision()


def test_the_migrations_make_the_ledgers_tables(database_url: str, open_database: OpenDatabase) -> None:
    with open_database(database_url).connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "version_table": VERSION_TABLE,
                "include_name": lambda name, kind, _: kind != "schema" or name == "ledger",
            },
        )
        assert compare_metadata(context, ledger) == []


def test_upgrading_twice_changes_nothing(database_url: str, open_database: OpenDatabase) -> None:
    engine = open_database(database_url)
    upgrade(engine)
    assert current_revision(engine) == newest_revision()


def test_a_database_of_a_newer_cryodaq_is_refused(database_url: str, open_database: OpenDatabase) -> None:
    engine = open_database(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"update {VERSION_TABLE} set version_num = '9999'"))
    with pytest.raises(SchemaVersionError, match=r"^the database \w+ at \S+ has schema 9999"):
        upgrade(engine)
