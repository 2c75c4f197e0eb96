"""Tables of runs: which columns people look at, what is in them, and the cells that people write."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import RowMapping

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import runs
from cryodaq.elogbook.book.run_numbers import read_run_number
from cryodaq.elogbook.book.times import write_time
from cryodaq.elogbook.book.work import Document, Work, require_object, require_text
from cryodaq.elogbook.refusals import BadRequestError, NotFoundError, RuleError

KINDS = ("table", "histogram", "scatter", "generatedtable", "generatedscatter", "groupbytable")
MAX_COLUMNS = 200
_EDITABLE = re.compile(r"editable_params\.([^.$\0]{1,100})\.value")
_OF_A_RUN = (
    ("Number", "num", "Its number or name"),
    ("Type", "type", "What kind of run it is"),
    ("Begin", "begin_time", "When it began"),
    ("End", "end_time", "When it ended"),
    ("Duration", "duration", "s"),
    ("Sample", "sample", "Name of the sample"),
)


def document(row: RowMapping) -> Document:
    """Return the contract's document of a table's definition."""
    found: Document = {
        "_id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "table_type": row["table_type"],
        "sort_index": row["sort_index"],
        "coldefs": row["coldefs"],
        "is_editable": any(column.get("is_editable") is True for column in row["coldefs"]),
    }
    if row["patterns"]:
        found["patterns"] = row["patterns"]
    return {**found, "is_system_run_table": True} if row["experiment_name"] is None else found


def listing(work: Work, experiment: str) -> list[Document]:
    """Return the definitions of an experiment's tables, and of those that every experiment has."""
    r = t.run_table.c
    mine = sa.or_(r.experiment_name == experiment, r.experiment_name.is_(None))
    rows = work.connection.execute(sa.select(t.run_table).where(mine).order_by(r.sort_index, r.name, r.id)).mappings()
    return [document(row) for row in rows]


def find(work: Work, experiment: str, name: str) -> RowMapping:
    """Return a table's definition, the experiment's own first. Raises `NotFoundError`."""
    r = t.run_table.c
    mine = sa.or_(r.experiment_name == experiment, r.experiment_name.is_(None))
    statement = sa.select(t.run_table).where(mine, r.name == name).order_by(r.experiment_name.nulls_last()).limit(1)
    found = work.connection.execute(statement).mappings().first()
    if found is None:
        message = f"There is no run table {name!r:.80} in {experiment}"
        raise NotFoundError(message)
    return found


def sources(work: Work, experiment: str) -> dict[str, list[Document]]:
    """Return what columns can show, by group: of the run itself, its params as described, and people's cells."""
    own = [{"label": label, "source": source, "description": text} for label, source, text in _OF_A_RUN]
    described = {found["param_name"]: found["description"] for found in runs.param_descriptions(work, experiment)}
    newest = (
        sa.select(t.run.c.params).where(t.run.c.experiment_name == experiment).order_by(t.run.c.id.desc()).limit(20)
    )
    used = {name for params in work.connection.scalars(newest) for name in params}
    params = [
        {"label": name, "source": f"params.{name}", "description": described.get(name, name)}
        for name in sorted(used | described.keys())
    ]
    editable = {
        column["source"]: {"label": column["label"], "source": column["source"], "description": column["label"]}
        for found in listing(work, experiment)
        for column in found["coldefs"]
        if column.get("is_editable") is True
    }
    return {"Run Info": own, "Run Parameters": params, "Editables": list(editable.values())}


def define(work: Work, experiment: str, body: object) -> Document:
    """Make or replace a table of an experiment and return it. Raises `BadRequestError`."""
    given = require_object(body, what="A run table")
    name = require_text(given.get("name"), what="The table's name", max_length=100)
    if not name.strip():
        raise BadRequestError("A run table needs a name")
    kind = given.get("table_type", "table")
    if kind not in KINDS:
        message = f"table_type must be one of {', '.join(KINDS)}"
        raise BadRequestError(message)
    values = {
        "name": name,
        "description": require_text(given.get("description", ""), what="The description"),
        "table_type": kind,
        "sort_index": _index(given.get("sort_index", 100), what="sort_index"),
        "patterns": require_text(given.get("patterns") or "", what="patterns", max_length=1000) or None,
        "coldefs": _columns(given.get("coldefs", [])),
    }
    _put(work, experiment, values)
    return document(find(work, experiment, name))


def _index(value: object, *, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        message = f"{what} must be a whole number from 0 on, not {value!r:.80}"
        raise BadRequestError(message)
    return value


def _columns(given: object) -> list[Document]:
    if not isinstance(given, list) or len(given) > MAX_COLUMNS:
        message = f"coldefs must be a list of up to {MAX_COLUMNS} columns"
        raise BadRequestError(message)
    columns = []
    for position, item in enumerate(given):
        column = require_object(item, what="A column")
        source = require_text(column.get("source"), what="A column's source", max_length=300)
        columns.append(
            {
                "label": require_text(column.get("label", source), what="A column's label", max_length=300),
                "type": require_text(column.get("type", ""), what="A column's type", max_length=300),
                "source": source,
                "is_editable": column.get("is_editable") is True,
                "position": _index(column.get("position", position), what="A column's position"),
            }
        )
    return sorted(columns, key=lambda column: int(str(column["position"])))


def _put(work: Work, experiment: str | None, values: Document) -> None:
    """Store a definition under its name, in place of one that has it."""
    r = t.run_table
    same = (r.c.experiment_name.is_not_distinct_from(experiment), r.c.name == values["name"])
    if not work.connection.execute(sa.update(r).where(*same).values(values)).rowcount:
        work.connection.execute(sa.insert(r).values(id=work.new_id(), experiment_name=experiment, **values))


def clone(work: Work, experiment: str, name: str, *, new: str) -> Document:
    """Copy a table within the experiment. Raises `NotFoundError` or `RuleError`."""
    found = find(work, experiment, name)
    if any(known["name"] == new for known in listing(work, experiment)):
        message = f"Run table {new!r:.80} already exists"
        raise RuleError(message)
    return define(work, experiment, {**document(found), "name": new})


def make_for_all(work: Work, experiment: str, name: str, *, as_name: str) -> None:
    """Give every experiment a table that one experiment has. Raises `NotFoundError`."""
    found = find(work, experiment, name)
    kept = {key: found[key] for key in ("description", "table_type", "sort_index", "patterns", "coldefs")}
    _put(work, None, {**kept, "name": as_name})


def copy_system_tables(work: Work, experiment: str) -> None:
    """Give an experiment tables of its own like those that every experiment has."""
    r = t.run_table
    rows = work.connection.execute(sa.select(r).where(r.c.experiment_name.is_(None))).mappings()
    for row in rows.all():
        kept = {key: row[key] for key in ("name", "description", "table_type", "sort_index", "patterns", "coldefs")}
        _put(work, experiment, kept)


def delete(work: Work, experiment: str | None, name: str) -> None:
    """Remove a table of an experiment, or (None) of all. Raises `NotFoundError`."""
    r = t.run_table
    gone = work.connection.execute(
        sa.delete(r).where(r.c.experiment_name.is_not_distinct_from(experiment), r.c.name == name)
    )
    if not gone.rowcount:
        message = f"There is no run table {name!r:.80}"
        raise NotFoundError(message)


def pages(
    open_work: Callable[[], AbstractContextManager[Work]], experiment: str, table: Document, *, sample_name: str | None
) -> Iterator[list[Document]]:
    """Yield the rows of a table: of each run what the columns show, highest number first."""
    wanted = [column["source"] for column in table["coldefs"]]
    pattern = table.get("patterns")
    for page in runs.pages(open_work, experiment, sample_name=sample_name):
        yield [_row(run, wanted, pattern) for run in page]


def _row(run: Document, wanted: list[str], pattern: str | None) -> Document:
    row: Document = {key: run[key] for key in ("_id", "num", "begin_time", "end_time")}
    begun, ended = (
        None if run[key] is None else datetime.fromisoformat(run[key]) for key in ("begin_time", "end_time")
    )
    row |= {f"{key}_epoch": at.timestamp() * 1000 for key, at in (("begin_time", begun), ("end_time", ended)) if at}
    if begun is not None and ended is not None:
        row["duration"] = (ended - begun).total_seconds()
    if isinstance(run.get("sample"), dict):
        row["sample"] = run["sample"]["name"]
    for source in wanted:
        _project(run, source, row)
    if pattern:
        generated = {name: found for name, found in run["params"].items() if name.startswith(pattern)}
        row["params"] = {**row.get("params", {}), **generated}
    return row


def _project(run: Document, source: str, row: Document) -> None:
    """Copy one value, which a dotted name leads to, into a row; what is not there is left out."""
    first, _, rest = source.partition(".")
    if first not in {"type", "params", "editable_params"}:
        return
    if not rest:
        row[first] = run[first]
        return
    key, found = (rest, run[first].get(rest)) if first == "params" else (rest, _inner(run[first], rest.split(".")))
    if found is not None:
        place = row.setdefault(first, {})
        *folders, last = [key] if first == "params" else key.split(".")
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = found


def _inner(value: object, keys: list[str]) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def edit_cell(work: Work, experiment: str, run_num: str, *, source: str, value: str) -> Document:
    """Write a cell of a run, and return the run. Raises `BadRequestError` or `NotFoundError`."""
    match = _EDITABLE.fullmatch(source)
    if match is None:
        raise BadRequestError("Only editable_params.<name>.value can be written")
    text = require_text(value, what="value")
    found = runs.find(work, experiment, read_run_number(run_num))
    cell = {match[1]: {"value": text, "modified_by": work.uid, "modified_time": write_time(work.now)}}
    e = t.run.c.editable_params
    work.connection.execute(
        sa.update(t.run).where(t.run.c.id == found["id"]).values(editable_params=e.concat(sa.cast(cell, e.type)))
    )
    return runs.with_sample_document(work, runs.find(work, experiment, read_run_number(run_num)))


def as_csv(table: Document, pages_of_rows: Iterator[list[Document]]) -> Iterator[str]:
    """Yield a table as CSV: times in UTC, text that a spreadsheet would compute with an apostrophe before it."""
    columns: list[Document] = table["coldefs"]
    yield _line(["Run", *(column["label"] for column in columns)])
    for page in pages_of_rows:
        yield "".join(_line([row["num"], *(_cell(row, column["source"]) for column in columns)]) for row in page)


def _cell(row: Document, source: str) -> Any:  # Any: a JSON value
    first, _, rest = source.partition(".")
    if not rest:
        return row.get(first)
    held = row.get(first, {})
    return held.get(rest) if first == "params" else _inner(held, rest.split("."))


def _line(cells: list[Any]) -> str:  # Any: JSON values
    written = io.StringIO()
    csv.writer(written).writerow(
        f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
        for cell in cells
    )
    return written.getvalue()
