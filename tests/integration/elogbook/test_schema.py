"""The migrations make the tables that the elogbook uses."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cryodaq.database import open_engine
from cryodaq.elogbook import tables
from cryodaq.migrations import VERSION_TABLE


def test_migrated_tables_are_the_elogbooks_tables(database_url: str) -> None:
    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "schema" or name == "elogbook"

    engine = open_engine(database_url)
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "include_name": ours,
            "compare_type": True,
            "compare_server_default": True,
            "version_table": VERSION_TABLE,
        }
        found = compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata)
    engine.dispose()
    assert found == []
