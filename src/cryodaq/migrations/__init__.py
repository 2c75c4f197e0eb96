"""The history of the database's tables: one line of Alembic revisions over the schemas `ledger` and `elogbook`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.database import address
from cryodaq.errors import SchemaVersionError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

VERSION_TABLE = "schema_version"


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration; no file is read."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str:
    """Return the revision that this program needs."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None  # noqa: S101  # the package ships its revisions
    return head


def current_revision(engine: Engine) -> str | None:
    """Return the revision of a database, or None for an empty one.

    Raises
    ------
    SchemaVersionError
        A newer cryodaq made it.
    """
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        found = context.get_current_revision()
    if found is not None:
        require_known(found, where=f"the database {address(engine.url)}")
    return found


def require_known(revision: str, *, where: str) -> None:
    """Raise `SchemaVersionError` for a revision that this program does not know: a newer cryodaq made it.

    Parameters
    ----------
    where
        What has that revision, for people.
    """
    from alembic.script import ScriptDirectory

    known = {one.revision for one in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if revision not in known:
        raise SchemaVersionError(where=where, found=revision, known=newest_revision())


def upgrade(engine: Engine) -> None:
    """Bring a database to the newest revision, all steps in one transaction.

    Raises `SchemaVersionError` when a newer cryodaq made it.
    """
    from alembic import command

    current_revision(engine)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "head")
