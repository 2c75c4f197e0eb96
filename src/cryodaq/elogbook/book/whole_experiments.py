"""Renaming, removing and copying whole experiments."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import RowMapping

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import experiments, switching
from cryodaq.elogbook.book.work import Document, Work, require_object
from cryodaq.elogbook.refusals import BadRequestError, ConflictError, RuleError

_PARTS = (
    t.log_subscription,
    t.elog_entry,
    t.run_table,
    t.run_file,
    t.run,
    t.run_param_description,
    t.sample_activation,
    t.sample,
    t.experiment_switch,
    t.experiment_player,
)
"""What belongs to an experiment, in an order in which it can be removed."""
_COPYABLE = ("samples", "roles", "setup", "run_param_descriptions")


def _refuse_active(work: Work, name: str, what: str) -> None:
    if any(found.get("name") == name for found in switching.active(work)):
        message = f"Cannot {what} experiment {name} while it is active on a microscope"
        raise RuleError(message)


def rename(work: Work, row: RowMapping, new: str, *, override: bool) -> None:
    """Give an experiment another name.

    Raises
    ------
    BadRequestError, ConflictError
        The name cannot be, or is taken.
    RuleError
        The experiment is active.
    """
    old = row["name"]
    experiments.check_name(work, new, override=override)
    if experiments.find(work, new) is not None:
        message = f"Experiment {new} already exists"
        raise ConflictError(message)
    _refuse_active(work, old, "rename")
    e = t.experiment
    work.connection.execute(sa.update(e).where(e.c.name == old).values(sequence=-e.c.sequence))
    held = {column.name: row[column.name] for column in e.c}
    work.connection.execute(sa.insert(e).values({**held, "name": new}))
    for part in _PARTS:
        work.connection.execute(sa.update(part).where(part.c.experiment_name == old).values(experiment_name=new))
    work.connection.execute(sa.delete(e).where(e.c.name == old))


def delete(work: Work, row: RowMapping) -> None:
    """Remove an experiment with all that belongs to it. Raises `RuleError` while it is active."""
    name = row["name"]
    _refuse_active(work, name, "delete")
    entries = sa.select(t.elog_entry.c.id).where(t.elog_entry.c.experiment_name == name)
    work.connection.execute(sa.delete(t.elog_attachment).where(t.elog_attachment.c.entry_id.in_(entries)))
    for part in _PARTS:
        work.connection.execute(sa.delete(part).where(part.c.experiment_name == name))
    work.connection.execute(sa.delete(t.experiment).where(t.experiment.c.name == name))


def clone(work: Work, source: RowMapping, new: str, body: object, *, override: bool) -> None:
    """Register an experiment like another one, and copy of that what the body asks for.

    Samples get ids of their own: an id names the folder with a sample's data. Raises what registering raises.
    """
    given = require_object(body, what="A clone")
    for key in ("start_time", "end_time"):
        if key not in given:
            message = f"Experiment registration missing keys {{{key!r}}}"
            raise BadRequestError(message)
    known = experiments.document(source)
    kept = {key: value for key, value in known.items() if key not in {"_id", "name", "is_locked", "initial_sample"}}
    changed = {key: value for key, value in given.items() if key.removeprefix("copy_") not in _COPYABLE}
    experiments.register(work, new, {**kept, **changed}, override=override)
    for what in _COPYABLE:
        if given.get(f"copy_{what}") is True:
            _COPY[what](work, source["name"], new)


def _copy_samples(work: Work, old: str, new: str) -> None:
    s = t.sample
    rows = work.connection.execute(sa.select(s).where(s.c.experiment_name == old).order_by(s.c.id)).mappings()
    copies: list[Document] = [{**row, "id": work.new_id(), "experiment_name": new} for row in rows]
    if copies:
        work.connection.execute(sa.insert(s), copies)


def _copy_roles(work: Work, old: str, new: str) -> None:
    p = t.experiment_player.c
    held = sa.select(p.role_name, p.player).where(p.experiment_name == old).order_by(p.id)
    for role, player in work.connection.execute(held).all():
        experiments.add_player(work, new, role=role, player=player)


def _copy_setup(work: Work, old: str, new: str) -> None:
    r = t.run_table
    rows = work.connection.execute(sa.select(r).where(r.c.experiment_name == old).order_by(r.c.id)).mappings()
    for row in rows.all():
        work.connection.execute(sa.insert(r).values({**row, "id": work.new_id(), "experiment_name": new}))


def _copy_descriptions(work: Work, old: str, new: str) -> None:
    d = t.run_param_description
    rows = work.connection.execute(sa.select(d).where(d.c.experiment_name == old).order_by(d.c.id)).mappings()
    copies: list[Document] = [{**row, "id": work.new_id(), "experiment_name": new} for row in rows]
    if copies:
        work.connection.execute(sa.insert(d), copies)


_COPY = {
    "samples": _copy_samples,
    "roles": _copy_roles,
    "setup": _copy_setup,
    "run_param_descriptions": _copy_descriptions,
}
