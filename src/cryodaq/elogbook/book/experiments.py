"""Experiments: registration, editing, locking, and the lists of them."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import insert

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import instruments, runs, samples
from cryodaq.elogbook.book.tallies import tallies
from cryodaq.elogbook.book.times import WITH_FRACTION, read_time, write_time
from cryodaq.elogbook.book.work import (
    Document,
    Work,
    contains,
    require_keys,
    require_name,
    require_object,
    require_text,
)
from cryodaq.elogbook.refusals import BadRequestError, ConflictError
from cryodaq.elogbook.rights import site_privileges

MAX_NAME_LENGTH = 100
_REQUIRED = ("instrument", "start_time", "end_time", "leader_account", "contact_info")
_TEXTS = ("leader_account", "contact_info")
_OWN_KEYS = frozenset({*_REQUIRED, "params", "_id", "name", "is_locked"})


def find(work: Work, name: str) -> RowMapping | None:
    """Return an experiment's row."""
    return work.connection.execute(_select(name)).mappings().first()


def hold(work: Work, name: str) -> RowMapping:
    """Return the row of an experiment that exists, held until the transaction ends."""
    return work.connection.execute(_select(name).with_for_update()).mappings().one()


def _select(name: str) -> sa.Select[Any]:  # Any: the table's columns
    return sa.select(t.experiment).where(t.experiment.c.name == name)


def document(row: RowMapping) -> Document:
    """Return the contract's info document."""
    found = {
        **row["extra"],
        "instrument": row["instrument_id"],
        "start_time": write_time(row["start_time"]),
        "end_time": write_time(row["end_time"]),
        "leader_account": row["leader_account"],
        "contact_info": row["contact_info"],
        "params": row["params"],
        "_id": row["name"],
        "name": row["name"],
    }
    return {**found, "is_locked": True} if row["is_locked"] else found


def check_name(work: Work, name: str, *, override: bool) -> None:
    """Refuse a name that cannot be a folder, or breaks the site's rule without an override."""
    require_name(name, what="The experiment's name", max_length=MAX_NAME_LENGTH)
    settings = work.settings
    if not override and re.fullmatch(settings.experiment_name_pattern, name, re.ASCII) is None:
        message = (
            f"The experiment name {name!r} does not follow {settings.experiment_name_placeholder} "
            f"({settings.experiment_name_hint}); its data would not be processed"
        )
        raise BadRequestError(message)


def register(work: Work, name: str, body: object, *, override: bool) -> None:
    """Add an experiment with its first roles.

    Raises
    ------
    BadRequestError, ConflictError
        The document or the name is wrong, or the name is taken.
    """
    given = require_object(body, what="An experiment")
    require_keys(given, _REQUIRED, what="Experiment registration")
    check_name(work, name, override=override)
    if find(work, name) is not None:
        message = f"Experiment {name} already exists"
        raise ConflictError(message)
    values = _values(work, given)
    _check_order(values)
    work.connection.execute(sa.insert(t.experiment).values(name=name, extra=_extra(given), **{"params": {}, **values}))
    leader = f"uid:{values['leader_account']}"
    players = [("Editor", leader), ("Manager", leader)]
    if given.get("posix_group"):
        players.append(("Writer", require_text(given["posix_group"], what="posix_group", max_length=100)))
    if work.principal is not None and "ops_page" not in site_privileges(work.connection, work.principal):
        players += [("Editor", f"uid:{work.uid}"), ("Manager", f"uid:{work.uid}")]
    for role, player in players:
        add_player(work, name, role=role, player=player)
    if given.get("initial_sample"):
        _add_initial_sample(work, name, require_text(given["initial_sample"], what="initial_sample"))


def _add_initial_sample(work: Work, experiment: str, sample_name: str) -> None:
    """Make the sample that was named at registration, its parameters still to be given, and its first run."""
    sample_id = None
    if not work.settings.dialect.initial_sample_is_lost:
        sample_id = samples.insert_unchecked(work, experiment, name=sample_name, description="", params={})
    runs.start(work, experiment, label=None, run_type="DATA", begun_at=work.now, sample_id=sample_id, params={})


def add_player(work: Work, experiment: str, *, role: str, player: str) -> bool:
    """Give a role in an experiment; False when it was held already."""
    statement = insert(t.experiment_player).values(experiment_name=experiment, role_name=role, player=player)
    added = statement.on_conflict_do_nothing().returning(t.experiment_player.c.id)
    return work.connection.scalar(added) is not None


def _values(work: Work, given: Document) -> Document:
    """Return the columns that a document sets."""
    strict = WITH_FRACTION if work.settings.dialect.strict_times else None
    values: Document = {}
    for key in ("start_time", "end_time"):
        if key in given:
            values[key] = read_time(given[key], what=key, strict_format=strict)
    for key in _TEXTS:
        if key in given:
            values[key] = require_text(given[key], what=key, max_length=1000)
    if "params" in given:
        values["params"] = require_object(given["params"], what="params")
    if "instrument" in given:
        name = require_text(given["instrument"], what="instrument", max_length=1000)
        found = instruments.find(work, name)
        if found is None:
            message = f"The instrument specified {name}  is not a valid instrument"
            raise BadRequestError(message)
        values["instrument_id"] = found["id"]
    return values


def _check_order(values: Document) -> None:
    if values["end_time"] < values["start_time"]:
        raise BadRequestError("The experiment ends before it starts")


def _extra(given: Document) -> Document:
    return {key: value for key, value in given.items() if key not in _OWN_KEYS}


def edit(work: Work, row: RowMapping, body: object) -> None:
    """Replace the given keys of an experiment. Raises `BadRequestError`."""
    given = require_object(body, what="An experiment")
    values = _values(work, given)
    _check_order({**row, **values})
    work.connection.execute(
        sa.update(t.experiment)
        .where(t.experiment.c.name == row["name"])
        .values(extra={**row["extra"], **_extra(given)}, **values)
    )


def add_params(work: Work, row: RowMapping, body: object) -> None:
    """Merge keys into the experiment's params."""
    params = {**row["params"], **require_object(body, what="params")}
    work.connection.execute(sa.update(t.experiment).where(t.experiment.c.name == row["name"]).values(params=params))


def toggle_lock(work: Work, row: RowMapping) -> None:
    """Lock an unlocked experiment, or unlock a locked one."""
    work.connection.execute(
        sa.update(t.experiment).where(t.experiment.c.name == row["name"]).values(is_locked=not row["is_locked"])
    )


def internal_info(row: RowMapping) -> Document:
    """Return the short document that programs of the data acquisition read."""
    found = {
        "instrument": row["instrument_id"],
        "proposal_id": row["name"],
        "start_time": write_time(row["start_time"]),
        "end_time": write_time(row["end_time"]),
        "params": row["params"],
    }
    return {**found, "posix_group": row["extra"]["posix_group"]} if "posix_group" in row["extra"] else found


def overviews(work: Work, names: list[str]) -> list[Document]:
    """Return info documents with players, counts of runs and files, in the order of registration."""
    chosen = sa.select(t.experiment).where(t.experiment.c.name.in_(names)).order_by(t.experiment.c.sequence)
    players, post_players = _players(work, names)
    counts = tallies(work, names)
    spans = runs.spans(work, names)
    found = []
    for row in work.connection.execute(chosen).mappings():
        name = row["name"]
        found.append(
            {
                **document(row),
                "players": players.get(name, []),
                "post_players": post_players.get(name, []),
                "totalFiles": counts[name].files,
                "totalDataSize": counts[name].size_bytes,
                "run_count": counts[name].runs,
                **spans.get(name, {}),
            }
        )
    return found


def _players(work: Work, names: list[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    p = t.experiment_player.c
    rows = work.connection.execute(
        sa.select(p.experiment_name, p.player, t.role.c.privileges)
        .join(t.role, t.role.c.name == p.role_name)
        .where(p.experiment_name.in_(names))
        .order_by(p.id)
    )
    everyone: dict[str, list[str]] = {}
    posting: dict[str, list[str]] = {}
    for name, player, privileges in rows:
        for group in (everyone, posting) if "post" in privileges else (everyone,):
            if player not in group.setdefault(name, []):
                group[name].append(player)
    return everyone, posting


def categorize(overview: list[Document]) -> dict[str, dict[str, list[Document]]]:
    """Sort overviews by instrument and by the year of the last run ("null" without runs)."""
    shelves: dict[str, dict[str, list[Document]]] = {}
    for found in overview:
        last: dict[str, Any] | None = found.get("last_run")  # Any: a run's short document
        year = "null" if last is None else str(last["begin_time"])[:4]
        shelves.setdefault(found["instrument"], {}).setdefault(year, []).append(found)
    return shelves


def sorted_names(work: Work, names: list[str], *, keys: list[tuple[str, int]]) -> list[str]:
    """Return names sorted by `name`, `start_time` or `end_time`, each 1 (up) or -1 (down)."""
    e = t.experiment.c
    columns = {"name": e.name, "_id": e.name, "start_time": e.start_time, "end_time": e.end_time}
    order = [columns[key].asc() if way > 0 else columns[key].desc() for key, way in keys if key in columns]
    found = work.connection.scalars(sa.select(e.name).where(e.name.in_(names)).order_by(*order, e.sequence))
    return list(found)


def search(work: Work, text: str) -> list[str]:
    """Return the names of experiments whose name, people or description contain a text."""
    e = t.experiment.c
    fields = (e.name, e.leader_account, e.contact_info, e.extra["description"].astext)
    found = work.connection.scalars(
        sa.select(e.name).where(sa.or_(*(contains(field, text) for field in fields))).order_by(e.sequence)
    )
    return list(found)
