"""Samples of an experiment, and which one is current."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import RowMapping

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import elog
from cryodaq.elogbook.book.ids import is_id
from cryodaq.elogbook.book.times import write_time
from cryodaq.elogbook.book.work import Document, Work, require_name, require_object, require_text
from cryodaq.elogbook.definitions import find_problem
from cryodaq.elogbook.refusals import BadRequestError, NotFoundError, RuleError

MAX_NAME_LENGTH = 100
_OWN_KEYS = frozenset({"_id", "name", "description", "params", "current", "create_associated_run"})
_FIND = sa.select(t.sample).where(
    t.sample.c.experiment_name == sa.bindparam("experiment"), t.sample.c.name == sa.bindparam("wanted")
)


def document(row: RowMapping | Mapping[str, object]) -> Document:
    """Return the contract's document of a sample, without `current`."""
    extra = row["extra"]
    return {
        **(extra if isinstance(extra, dict) else {}),
        "_id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "params": row["params"],
    }


def find(work: Work, experiment: str, name: str) -> RowMapping | None:
    """Return a sample by its name."""
    return work.connection.execute(_FIND, {"experiment": experiment, "wanted": name}).mappings().first()


def listing(work: Work, experiment: RowMapping) -> list[Document]:
    """Return all samples, newest first."""
    s = t.sample.c
    rows = work.connection.execute(
        sa.select(t.sample).where(s.experiment_name == experiment["name"]).order_by(s.id.desc())
    ).mappings()
    return [_with_current(document(row), experiment) for row in rows]


def by_name(work: Work, experiment: RowMapping, name: str) -> Document | None:
    """Return one sample's document."""
    row = find(work, experiment["name"], name)
    return None if row is None else _with_current(document(row), experiment)


def _with_current(found: Document, experiment: RowMapping) -> Document:
    return {**found, "current": True} if found["_id"] == experiment["current_sample_id"] else found


def _checked(work: Work, experiment: RowMapping, body: object) -> Document:
    """Return the columns of a sample's document. Raises `BadRequestError` or `RuleError`."""
    given = require_object(body, what="A sample")
    name, description = given.get("name"), given.get("description")
    if not name or description is None:
        raise BadRequestError("A sample must have a name and a description")
    params = require_object(given.get("params", {}), what="params")
    _check_params(work, experiment, params)
    return {
        "name": _check_name(name),
        "description": require_text(description, what="The description"),
        "params": params,
        "extra": {key: value for key, value in given.items() if key not in _OWN_KEYS},
    }


def _check_name(name: object) -> str:
    return require_name(name, what="A sample's name", max_length=MAX_NAME_LENGTH)


def _check_params(work: Work, experiment: RowMapping, params: Document) -> None:
    problem = find_problem(
        work.definitions,
        params,
        experiment_params={**experiment["extra"], "params": experiment["params"]},
        every_number_required=work.settings.dialect.every_number_required,
    )
    if problem is not None:
        raise RuleError(problem)


def create(work: Work, experiment: RowMapping, body: object) -> str:
    """Add a sample and return its id. Raises `BadRequestError` or `RuleError`."""
    if isinstance(body, dict) and "_id" in body:
        raise BadRequestError("Cannot specify an id when creating a sample")
    values = _checked(work, experiment, body)
    if find(work, experiment["name"], values["name"]) is not None:
        message = f"Sample {values['name']} already exists"
        raise RuleError(message)
    return _insert(work, experiment["name"], values)


def insert_unchecked(work: Work, experiment: str, *, name: str, description: str, params: Document) -> str:
    """Add a sample whose parameters are still to be given; it cannot be made current until they are."""
    values = {"name": _check_name(name), "description": description, "params": params, "extra": {}}
    return _insert(work, experiment, values)


def _insert(work: Work, experiment: str, values: Document) -> str:
    sample_id = work.new_id()
    work.connection.execute(sa.insert(t.sample).values(id=sample_id, experiment_name=experiment, **values))
    return sample_id


def update(work: Work, experiment: RowMapping, sample_id: str, body: object) -> None:
    """Replace a sample's document. Raises `BadRequestError`, `NotFoundError` or `RuleError`."""
    if not is_id(sample_id):
        message = f"{sample_id!r:.80} is not the id of a sample"
        raise NotFoundError(message)
    s = t.sample.c
    known = work.connection.scalar(
        sa.select(s.id).where(s.id == sample_id, s.experiment_name == experiment["name"]).with_for_update()
    )
    if known is None:
        message = f"Sample {sample_id} does not exist"
        raise RuleError(message)
    values = _checked(work, experiment, body)
    same_name = find(work, experiment["name"], values["name"])
    if same_name is not None and same_name["id"] != sample_id:
        message = f"Cannot rename sample {sample_id} to one that already exists {same_name['id']}"
        raise RuleError(message)
    work.connection.execute(sa.update(t.sample).where(s.id == sample_id).values(**values))


def clone(work: Work, experiment: RowMapping, existing: str, *, new: str) -> None:
    """Add a sample with another one's description and parameters. Raises `RuleError`."""
    source = find(work, experiment["name"], existing)
    if source is None:
        message = f"Sample {existing} does not exist"
        raise RuleError(message)
    if find(work, experiment["name"], new) is not None:
        message = f"Sample {new} already exists"
        raise RuleError(message)
    values = {key: source[key] for key in ("description", "params", "extra")}
    _insert(work, experiment["name"], {"name": _check_name(new), **values})


def delete(work: Work, experiment: RowMapping, name: str) -> None:
    """Remove a sample that was never used. Raises `RuleError`."""
    found = find(work, experiment["name"], name)
    if found is None:
        message = f"Cannot find sample {name}"
        raise RuleError(message)
    if found["id"] == experiment["current_sample_id"]:
        message = f"Cannot delete sample {name} as it is the current sample in the experiment"
        raise RuleError(message)
    count = work.connection.scalar(
        sa.select(sa.func.count()).select_from(t.run).where(t.run.c.sample_id == found["id"])
    )
    if count:
        message = f"Cannot delete sample {name} as it has {count} runs associated with it"
        raise RuleError(message)
    work.connection.execute(sa.delete(t.sample).where(t.sample.c.id == found["id"]))


def current_name(work: Work, experiment: RowMapping) -> str | None:
    """Return the current sample's name."""
    return work.connection.scalar(sa.select(t.sample.c.name).where(t.sample.c.id == experiment["current_sample_id"]))


def make_current(work: Work, experiment: RowMapping, name: str) -> None:
    """Make a sample current (`experiment` must be locked). Raises `RuleError`."""
    found = find(work, experiment["name"], name)
    if found is None:
        message = f"Sample {name} does not exist"
        raise RuleError(message)
    _check_params(work, experiment, found["params"])
    if found["id"] == experiment["current_sample_id"]:
        return
    _close_activation(work, experiment["name"])
    _set_current(work, experiment["name"], found["id"])
    work.connection.execute(
        sa.insert(t.sample_activation).values(
            id=work.new_id(),
            experiment_name=experiment["name"],
            sample_id=found["id"],
            sample_name=name,
            activated_at=work.now,
            activated_by=work.uid,
        )
    )
    elog.add(work, experiment["name"], f"Sample {name} was activated by {work.uid}", sample_name=name)


def stop_current(work: Work, experiment: RowMapping, name: str) -> None:
    """Make no sample current; nothing to stop is fine (`experiment` must be locked). Raises `RuleError`."""
    current = current_name(work, experiment)
    if current is None:
        return
    if current != name:
        message = f"Sample {name} is not the current sample"
        raise RuleError(message)
    _close_activation(work, experiment["name"])
    _set_current(work, experiment["name"], None)
    elog.add(work, experiment["name"], f"Sample {name} was stopped by {work.uid}", sample_name=name)


def _set_current(work: Work, experiment: str, sample_id: str | None) -> None:
    work.connection.execute(
        sa.update(t.experiment).where(t.experiment.c.name == experiment).values(current_sample_id=sample_id)
    )


def _close_activation(work: Work, experiment: str) -> None:
    a = t.sample_activation.c
    work.connection.execute(
        sa.update(t.sample_activation)
        .where(a.experiment_name == experiment, a.stopped_at.is_(None))
        .values(stopped_at=work.now, stopped_by=work.uid)
    )


def activation_history(work: Work, experiment: str) -> list[Document]:
    """Return when which sample was current, newest first (ours; an explgbk keeps none)."""
    a = t.sample_activation.c
    rows = work.connection.execute(
        sa.select(t.sample_activation).where(a.experiment_name == experiment).order_by(a.id.desc())
    ).mappings()
    return [
        {
            "_id": row["id"],
            "sample": row["sample_id"],
            "sample_name": row["sample_name"],
            "activated_at": write_time(row["activated_at"]),
            "activated_by": row["activated_by"],
            "stopped_at": write_time(row["stopped_at"]),
            "stopped_by": row["stopped_by"],
        }
        for row in rows
    ]
