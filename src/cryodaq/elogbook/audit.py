"""The audit log: telling the database who changes something, and reading what it noted.

Triggers write the log, so no change passes it by; they find the acting account and where it came from in two
settings of the transaction.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from cryodaq.elogbook import tables as t

MAX_ROWS = 500
UID_SETTING, ORIGIN_SETTING = "cryodaq.uid", "cryodaq.origin"


def setting(name: str, value: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return the expression that keeps a value for the rest of the transaction."""
    return sa.func.set_config(name, value, sa.true(), type_=sa.Text)


_NAME = sa.select(
    setting(UID_SETTING, sa.bindparam("uid", type_=sa.Text)),
    setting(ORIGIN_SETTING, sa.bindparam("origin", type_=sa.Text)),
)


def write_origin(origin: Mapping[str, str]) -> str:
    """Return the text that says from where a change comes."""
    return json.dumps(dict(origin))


def name_actor(connection: Connection, uid: str, *, origin: Mapping[str, str]) -> None:
    """Say who makes the changes of this transaction, and from where."""
    connection.execute(_NAME, {"uid": uid, "origin": write_origin(origin)})


def changes(
    connection: Connection,
    *,
    experiment: str | None,
    uid: str | None,
    table: str | None,
    without: Collection[str] = (),
    older_than: int | None,
    limit: int,
) -> list[dict[str, object]]:
    """Return changes, the newest first: of one experiment or of all, of one person, of one table.

    Parameters
    ----------
    without
        Tables that are left out, such as those that programs fill movie by movie.
    older_than
        Only what came before the change of this `_id`: the next page.
    limit
        At most this many, and at most 500.
    """
    a = t.audit.c
    statement = sa.select(t.audit).order_by(a.id.desc()).limit(min(limit, MAX_ROWS))
    chosen = ((a.experiment_name, experiment), (a.uid, uid), (a.table_name, table))
    statement = statement.where(*(column == value for column, value in chosen if value is not None))
    if without:
        statement = statement.where(a.table_name.not_in(without))
    if older_than is not None:
        statement = statement.where(a.id < older_than)
    return [
        {
            "_id": row["id"],
            "at": row["at"].isoformat(),
            "user": row["uid"],
            "origin": row["origin"],
            "action": row["action"],
            "table": row["table_name"],
            "key": row["row_key"],
            "experiment": row["experiment_name"],
            "before": row["before"],
            "after": row["after"],
        }
        for row in connection.execute(statement).mappings()
    ]
