"""Runs: on a cryo-EM microscope a run is a movie, and many are open at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import JSONB, insert

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import samples
from cryodaq.elogbook.book.run_numbers import RunNumber, read_run_number
from cryodaq.elogbook.book.times import write_time
from cryodaq.elogbook.book.work import Document, Work, require_object, require_text
from cryodaq.elogbook.refusals import BadRequestError, ConflictError, NotFoundError

_COLUMNS = (
    t.run.c.id,
    t.run.c.number,
    t.run.c.label,
    t.run.c.type,
    t.run.c.begin_time,
    t.run.c.end_time,
    t.run.c.params,
    t.run.c.editable_params,
    t.run.c.sample_id,
)
_SAMPLE_NAME = (
    sa.select(t.sample.c.name)
    .where(t.sample.c.id == sa.literal_column("run.sample_id"))  # RETURNING of an INSERT correlates nothing else
    .scalar_subquery()
    .label("sample_name")
)
_EXPERIMENT: sa.BindParameter[str] = sa.bindparam("experiment")
_WANTED: sa.BindParameter[str | int] = sa.bindparam("wanted")
_INSERT = insert(t.run).on_conflict_do_nothing().returning(*_COLUMNS, _SAMPLE_NAME)
_OF_LABEL = (t.run.c.experiment_name == _EXPERIMENT, t.run.c.label == _WANTED)
_OF_NUMBER = (t.run.c.experiment_name == _EXPERIMENT, t.run.c.number == _WANTED)
PAGE_ROWS = 500
_FULL_WIDTH = str.maketrans({".": "．", "$": "＄"})


def number_of(row: RowMapping) -> int | str:
    """Return a run's number as the contract writes it."""
    return RunNumber(number=row["number"], label=row["label"]).value


def document(row: RowMapping, *, sample: object | None) -> Document:
    """Return the contract's document of a run; `sample` is in the form that the call at hand uses."""
    found = {
        "num": number_of(row),
        "type": row["type"],
        "begin_time": write_time(row["begin_time"]),
        "end_time": write_time(row["end_time"]),
        "params": row["params"],
        "editable_params": row["editable_params"],
        "_id": row["id"],
    }
    return found if sample is None else {**found, "sample": sample}


@dataclass(frozen=True, slots=True)
class _Questions:
    """One question about a run, asked by its name or by its integer; made once, as each movie asks them."""

    by_label: sa.Executable
    by_number: sa.Executable

    def ask(self, work: Work, experiment: str, wanted: RunNumber, **values: object) -> RowMapping:
        """Return the run's row. Raises `NotFoundError`."""
        question = self.by_label if wanted.number is None else self.by_number
        asked = {"experiment": experiment, "wanted": wanted.value, **values}
        found = work.connection.execute(question, asked).mappings().first()
        if found is None:
            message = f"There is no run {wanted.value} in {experiment}"
            raise NotFoundError(message)
        return found


_FIND = _Questions(*(sa.select(*_COLUMNS).where(*named) for named in (_OF_LABEL, _OF_NUMBER)))
_ADD_PARAMS = _Questions(
    *(
        sa.update(t.run)
        .where(*named)
        .values(params=t.run.c.params.concat(sa.bindparam("more", type_=JSONB)))
        .returning(*_COLUMNS, _SAMPLE_NAME)
        for named in (_OF_LABEL, _OF_NUMBER)
    )
)
_END = _Questions(
    *(
        sa.update(t.run).where(*named).values(end_time=sa.bindparam("ended_at")).returning(*_COLUMNS, _SAMPLE_NAME)
        for named in (_OF_LABEL, _OF_NUMBER)
    )
)


def find(work: Work, experiment: str, wanted: RunNumber) -> RowMapping:
    """Return a run. Raises `NotFoundError`."""
    return _FIND.ask(work, experiment, wanted)


def find_current(work: Work, experiment: str) -> RowMapping | None:
    """Return the run that was started last (or has the highest number, in an explgbk's dialect)."""
    if work.settings.dialect.current_run_is_highest:
        return find_highest(work, experiment)
    return _first(work, experiment, t.run.c.id)


def find_highest(work: Work, experiment: str) -> RowMapping | None:
    """Return the run with the highest number: the last name, else the largest integer."""
    return _first(work, experiment, t.run.c.label) or _first(work, experiment, t.run.c.number)


def _first(work: Work, experiment: str, column: sa.Column[Any]) -> RowMapping | None:  # Any: text or number
    """Return the run with the largest value of an indexed column."""
    statement = sa.select(*_COLUMNS).where(t.run.c.experiment_name == experiment, column.is_not(None))
    return work.connection.execute(statement.order_by(column.desc()).limit(1)).mappings().first()


def named_or_current(work: Work, experiment: str, wanted: str | None) -> RunNumber:
    """Return the run number of a query, or that of the current run. Raises `NotFoundError`."""
    if wanted is not None:
        return read_run_number(wanted)
    found = find_current(work, experiment)
    if found is None:
        message = f"There are no runs in {experiment}"
        raise NotFoundError(message)
    return RunNumber(number=found["number"], label=found["label"])


def sample_id_for_start(work: Work, experiment: RowMapping, name: str | None) -> str | None:
    """Return the id of the named sample, or of the current one. Raises `NotFoundError`."""
    if name is None:
        current: str | None = experiment["current_sample_id"]
        return current
    found = samples.find(work, experiment["name"], name)
    if found is None:
        message = f"Sample {name} does not exist"
        raise NotFoundError(message)
    return str(found["id"])


def close_highest(work: Work, experiment: str) -> None:
    """Close the highest run if it is open: what an explgbk does before it starts any other."""
    found = find_highest(work, experiment)
    if found is not None and found["end_time"] is None:
        work.connection.execute(sa.update(t.run).where(t.run.c.id == found["id"]).values(end_time=work.now))


def start(
    work: Work,
    experiment: str,
    *,
    label: RunNumber | None,
    run_type: str,
    begun_at: datetime,
    sample_id: str | None,
    params: object,
) -> Document:
    """Add a run.

    Parameters
    ----------
    label
        Its number; None counts.

    Raises
    ------
    ConflictError
        The run exists; nothing is changed.
    """
    number = _next_number(work, experiment) if label is None else label
    values = {
        "id": work.new_id(),
        "experiment_name": experiment,
        "number": number.number,
        "label": number.label,
        "type": require_text(run_type, what="run_type", max_length=100),
        "begin_time": begun_at,
        "params": escape_keys(require_object(params, what="The params of a run")),
        "sample_id": sample_id,
    }
    row = work.connection.execute(_INSERT, values).mappings().first()
    if row is None:
        message = f"Run {number.value} already exists in {experiment}"
        raise ConflictError(message)
    return document(row, sample=row["sample_name"])


def _next_number(work: Work, experiment: str) -> RunNumber:
    """Count on, past numbers that were given explicitly."""
    e, r = t.experiment.c, t.run.c
    while True:
        number = work.connection.scalar(
            sa.update(t.experiment)
            .where(e.name == experiment)
            .values(next_run_number=e.next_run_number + 1)
            .returning(e.next_run_number)
        )
        taken = sa.select(r.id).where(r.experiment_name == experiment, r.number == number)
        if work.connection.scalar(taken) is None:
            return RunNumber(number=number)


def end(work: Work, experiment: str, wanted: RunNumber, *, ended_at: datetime, files: list[Document]) -> Document:
    """Close a run; closing it again moves its end. Raises `NotFoundError`."""
    row = _END.ask(work, experiment, wanted, ended_at=ended_at)
    duration_s = (ended_at - row["begin_time"]).total_seconds()
    return {**document(row, sample=row["sample_name"]), "duration": duration_s, "file_catalog": files}


def escape_keys(params: Document) -> Document:
    """Return params with the characters in keys that the contract replaces."""
    return {key.translate(_FULL_WIDTH): value for key, value in params.items()}


def add_params(work: Work, experiment: str, wanted: RunNumber, params: Document) -> Document:
    """Merge values into a run's params and return the run. Raises `NotFoundError`."""
    row = _ADD_PARAMS.ask(work, experiment, wanted, more=escape_keys(params))
    return document(row, sample=row["sample_name"])


def change_sample(work: Work, row: RowMapping, *, sample_id: str) -> None:
    """Give a run to another sample."""
    work.connection.execute(sa.update(t.run).where(t.run.c.id == row["id"]).values(sample_id=sample_id))


def pages(
    open_work: Callable[[], AbstractContextManager[Work]],
    experiment: str,
    *,
    with_params: bool = True,
    sample_name: str | None = None,
) -> Iterator[list[Document]]:
    """Yield all runs with their samples' documents, highest number first: names bytewise, then integers.

    Each page is read in a transaction of its own, so that a slow reader holds no connection.
    """
    known: dict[str, Document] = {}
    for column in (t.run.c.label, t.run.c.number):
        page: list[RowMapping] | None = None
        while page is None or len(page) == PAGE_ROWS:
            after = None if page is None else page[-1][column.name]
            with open_work() as work:
                page = _page(work, experiment, column, after=after, sample_name=sample_name)
                _learn_samples(work, page, known)
            yield [_listed(row, known, with_params=with_params) for row in page]


def _page(
    work: Work,
    experiment: str,
    column: sa.Column[Any],  # Any: text or number
    *,
    after: object,
    sample_name: str | None,
) -> list[RowMapping]:
    r, s = t.run.c, t.sample.c
    statement = sa.select(*_COLUMNS).where(r.experiment_name == experiment, column.is_not(None))
    if after is not None:
        statement = statement.where(column < after)
    if sample_name is not None:
        statement = statement.where(
            r.sample_id.in_(sa.select(s.id).where(s.experiment_name == experiment, s.name == sample_name))
        )
    return list(work.connection.execute(statement.order_by(column.desc()).limit(PAGE_ROWS)).mappings())


def _learn_samples(work: Work, page: list[RowMapping], known: dict[str, Document]) -> None:
    unknown = {row["sample_id"] for row in page if row["sample_id"] is not None} - known.keys()
    if unknown:
        found = work.connection.execute(sa.select(t.sample).where(t.sample.c.id.in_(unknown))).mappings()
        known.update({row["id"]: samples.document(row) for row in found})


def _listed(row: RowMapping, known: dict[str, Document], *, with_params: bool) -> Document:
    run = document(row, sample=known.get(row["sample_id"]))
    if not with_params:
        del run["params"]
    return run


def with_sample_document(work: Work, row: RowMapping) -> Document:
    """Return a run with its sample's whole document."""
    sample = work.connection.execute(sa.select(t.sample).where(t.sample.c.id == row["sample_id"])).mappings().first()
    return document(row, sample=None if sample is None else samples.document(sample))


def spans(work: Work, names: list[str]) -> dict[str, Document]:
    """Return `first_run` and `last_run`, by their beginning, of the experiments that have runs."""
    r, e = t.run.c, t.experiment.c
    ids = sa.select(r.id).where(r.experiment_name == e.name).limit(1).correlate(t.experiment)
    ends = sa.select(e.name, ids.order_by(r.id).scalar_subquery(), ids.order_by(r.id.desc()).scalar_subquery()).where(
        e.name.in_(names)
    )
    found = {name: (first, last) for name, first, last in work.connection.execute(ends) if first is not None}
    wanted = {run for pair in found.values() for run in pair}
    rows = work.connection.execute(sa.select(*_COLUMNS).where(r.id.in_(wanted))).mappings() if wanted else ()
    short = {row["id"]: _short(row) for row in rows}
    return {name: {"first_run": short[first], "last_run": short[last]} for name, (first, last) in found.items()}


def _short(row: RowMapping) -> dict[str, Any]:  # Any: a JSON object's values
    begun, ended = write_time(row["begin_time"]), write_time(row["end_time"])
    return {"num": number_of(row), "begin_time": begun, "end_time": ended}


def describe_params(work: Work, experiment: str, body: object) -> None:
    """Say what params of runs mean. Raises `BadRequestError`."""
    for name, description in require_object(body, what="Descriptions").items():
        if not isinstance(description, str):
            message = f"The description of {name!r:.80} must be text"
            raise BadRequestError(message)
        statement = insert(t.run_param_description).values(
            id=work.new_id(), experiment_name=experiment, param_name=name, description=description
        )
        work.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["experiment_name", "param_name"], set_={"description": description}
            )
        )


def param_descriptions(work: Work, experiment: str) -> list[Document]:
    """Return the descriptions of params."""
    d = t.run_param_description.c
    rows = work.connection.execute(
        sa.select(d.id, d.param_name, d.description).where(d.experiment_name == experiment).order_by(d.id)
    )
    return [{"_id": i, "param_name": name, "description": text} for i, name, text in rows]
