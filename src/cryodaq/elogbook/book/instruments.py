"""Instruments (microscopes) and their stations."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book.work import Document, Work, require_keys, require_name, require_object, require_text
from cryodaq.elogbook.refusals import BadRequestError, ConflictError, NotFoundError
from cryodaq.elogbook.rights import APPLICATION

MAX_ID_LENGTH = 50
MAX_STATIONS = 100
_OWN_KEYS = frozenset({"_id", "description", "params", "roles"})


def find(work: Work, name: str, *, lock: bool = False) -> RowMapping | None:
    """Return an instrument by its name, whatever its case; `lock` holds it until the transaction ends."""
    statement = sa.select(t.instrument).where(sa.func.lower(t.instrument.c.id) == name.lower())
    return work.connection.execute(statement.with_for_update() if lock else statement).mappings().first()


def create(work: Work, body: object) -> None:
    """Add an instrument. Raises `BadRequestError` or `ConflictError`."""
    document = require_object(body, what="An instrument")
    require_keys(document, ["_id", "description"], what="Creating instrument")
    name = require_name(document["_id"], what="The instrument's _id", max_length=MAX_ID_LENGTH)
    if find(work, name) is not None:
        message = f"Instrument {name} already exists"
        raise ConflictError(message)
    work.connection.execute(
        sa.insert(t.instrument).values(
            id=name,
            description=require_text(document["description"], what="The description"),
            params=require_object(document.get("params", {}), what="params"),
            extra=_extra(document),
        )
    )


def add_missing(connection: Connection, wanted: Mapping[str, Document]) -> None:
    """Add instruments, by name, with these parameters; those that are there, in whatever case, stay as they are."""
    known = {name.lower() for name in connection.scalars(sa.select(t.instrument.c.id))}
    rows = [
        {"id": name, "description": "", "params": params, "extra": {}}
        for name, params in wanted.items()
        if name.lower() not in known
    ]
    if rows:
        connection.execute(sa.insert(t.instrument), rows)


def update(work: Work, name: str, body: object) -> None:
    """Replace the given keys of an instrument; roles have calls of their own. Raises `RefusalError`s."""
    document = require_object(body, what="An instrument")
    if document.get("_id", name) != name:
        raise BadRequestError("Instrument names do not match")
    found = (
        work.connection.execute(sa.select(t.instrument).where(t.instrument.c.id == name).with_for_update())
        .mappings()
        .first()
    )
    if found is None:
        message = f"Instrument {name} does not exist"
        raise NotFoundError(message)
    changes: Document = {"extra": {**found["extra"], **_extra(document)}}
    if "description" in document:
        changes["description"] = require_text(document["description"], what="The description")
    if "params" in document:
        changes["params"] = require_object(document["params"], what="params")
    work.connection.execute(sa.update(t.instrument).where(t.instrument.c.id == name).values(**changes))


def _extra(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in _OWN_KEYS}


def listing(work: Work) -> list[Document]:
    """Return all instruments, sorted by name."""
    players = t.instrument_player.c
    roles: dict[str, dict[str, list[str]]] = {}
    for instrument_id, role_name, player in work.connection.execute(
        sa.select(players.instrument_id, players.role_name, players.player).order_by(players.id)
    ):
        roles.setdefault(instrument_id, {}).setdefault(role_name, []).append(player)
    documents = []
    for row in work.connection.execute(sa.select(t.instrument).order_by(t.instrument.c.id)).mappings():
        document = {**row["extra"], "_id": row["id"], "description": row["description"], "params": row["params"]}
        if row["id"] in roles:
            document["roles"] = [
                {"app": APPLICATION, "name": name, "players": held} for name, held in roles[row["id"]].items()
            ]
        documents.append(document)
    return documents


def existing_experiments(work: Work, names: list[str]) -> list[str]:
    """Return those of the names that are experiments'."""
    found = work.connection.scalars(sa.select(t.experiment.c.name).where(t.experiment.c.name.in_(names)))
    known = set(found)
    return [name for name in names if name in known]


def station_count(params: Document) -> int:
    """Return how many stations an instrument has: its `num_stations`, which may be text; 1 without one."""
    try:
        return min(max(int(params.get("num_stations", 1)), 0), MAX_STATIONS)
    except (TypeError, ValueError, OverflowError):
        return 0


def stations(work: Work) -> list[Document]:
    """Return every station of every instrument."""
    rows = work.connection.execute(sa.select(t.instrument.c.id, t.instrument.c.params).order_by(t.instrument.c.id))
    return [
        {"instrument": name, "station": station} for name, params in rows for station in range(station_count(params))
    ]
