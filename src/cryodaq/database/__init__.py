"""The connection to PostgreSQL and the naming of its constraints; no tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData

NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def schema_metadata(schema: str) -> MetaData:
    """Return the metadata of one PostgreSQL schema, with predictable names of constraints."""
    from sqlalchemy import MetaData

    return MetaData(schema=schema, naming_convention=NAMING_CONVENTION)


def open_engine(url: str, *, pool_size: int = 5) -> Engine:
    """Return an engine for `postgresql+psycopg://...`; connections are tested before use and work in UTC."""
    from sqlalchemy import create_engine

    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": "-c timezone=UTC"},
    )
