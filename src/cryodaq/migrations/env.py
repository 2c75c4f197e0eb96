"""Alembic's entry: runs the revisions on the connection that `cryodaq.migrations` hands over."""

from alembic import context

from cryodaq.migrations import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=VERSION_TABLE, include_schemas=True)
with context.begin_transaction():
    context.run_migrations()
