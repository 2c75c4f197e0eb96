"""The connection to PostgreSQL and the naming of its constraints; no tables."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine, MetaData

NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


DEAD_AFTER_S = 30
"""How long sent data may stay unanswered by the other machine."""
IDLE_TRANSACTION_LIMIT_S = 300
"""A process that is frozen within a transaction, on a machine that answers, gives its locks back after so long; the
longest that any of ours rests in one is the seconds in which a branch's exports are written."""


def schema_metadata(schema: str) -> MetaData:
    """Return the metadata of one PostgreSQL schema, with predictable names of constraints."""
    from sqlalchemy import MetaData

    return MetaData(schema=schema, naming_convention=NAMING_CONVENTION)


def address(url: URL) -> str:
    """Return which database a URL means, for people: its name, and its server or the folder of its socket."""
    place = url.host or url.query.get("host") or "this machine"
    return f"{url.database} at {place}{f':{url.port}' if url.port else ''}"


def open_engine(url: str, *, pool_size: int = 5, trusted_s: float = 0.0) -> Engine:
    """Return an engine for `postgresql+psycopg://...`; connections are tested before use and work in UTC.

    Parameters
    ----------
    trusted_s
        Seconds after its last use for which a connection is used without a test: a server that uses each many times
        a second saves a round trip every time.
    """
    from sqlalchemy import create_engine

    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=trusted_s == 0,
        connect_args={"connect_timeout": 5, **_noticing_who_is_gone()},
    )
    if trusted_s:
        _test_after_rest(engine, rest_s=trusted_s)
    return engine


def _noticing_who_is_gone() -> dict[str, object]:
    """Return the settings by which both ends give up a node without power or network within half a minute.

    Without them the server keeps such a client's transaction, and with it the lock of a lease, for two hours; that of a
    process that is frozen on a node which lives, for ever.
    """
    ours = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
    servers = " ".join(f"-c tcp_{name}={value}" for name, value in ours.items())
    idle = f"-c idle_in_transaction_session_timeout={IDLE_TRANSACTION_LIMIT_S}s"
    options = f"-c timezone=UTC {servers} -c tcp_user_timeout={DEAD_AFTER_S * 1000} {idle}"
    return {**ours, "tcp_user_timeout": DEAD_AFTER_S * 1000, "options": options}


def _test_after_rest(engine: Engine, *, rest_s: float) -> None:
    """Test a connection before use when it has rested; the pool replaces one that fails."""
    from sqlalchemy import event
    from sqlalchemy.exc import DisconnectionError

    def note(_: object, record: Any) -> None:  # Any: the pool's record, and below psycopg's connection
        record.info["used_at"] = time.monotonic()

    def test(connection: Any, record: Any, _: object) -> None:  # Any: as above
        if time.monotonic() - record.info.get("used_at", 0.0) < rest_s:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", test)
