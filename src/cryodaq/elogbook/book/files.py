"""The catalogue of files of an experiment's runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import JSONB

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import runs
from cryodaq.elogbook.book.run_numbers import RunNumber, matches, read_run_number
from cryodaq.elogbook.book.times import WITHOUT_FRACTION, read_time, write_time
from cryodaq.elogbook.book.work import Document, Work, require_object, require_text
from cryodaq.elogbook.refusals import BadRequestError, NotFoundError

MAX_PATH_LENGTH = 2000
MAX_FILES_PER_CALL = 10_000
_OWN_KEYS = frozenset(
    {"_id", "path", "run_num", "checksum", "size", "create_timestamp", "modify_timestamp", "locations"}
)
_VALUES = "checksum, size_bytes, create_timestamp, modify_timestamp, extra"
_REGISTER = {
    column: sa.text(
        f"""
        INSERT INTO elogbook.run_file (id, experiment_name, run_number, run_label, path, {_VALUES})
        SELECT id, :experiment, run_number, run_label, path, {_VALUES} FROM jsonb_to_recordset(:files) AS f(
            id text, run_number bigint, run_label text, path text, checksum text, size_bytes bigint,
            create_timestamp timestamptz, modify_timestamp timestamptz, extra jsonb)
        ON CONFLICT (experiment_name, {column}, path) WHERE {column} IS NOT NULL DO UPDATE
        SET ({_VALUES}) = ROW ({", ".join(f"EXCLUDED.{name}" for name in _VALUES.split(", "))})
        """  # noqa: S608  # put together from the lines above alone
    ).bindparams(sa.bindparam("files", type_=JSONB), sa.bindparam("experiment", type_=sa.Text))
    for column in ("run_label", "run_number")
}
_OF_LABEL, _OF_NUMBER = (
    sa.select(t.run_file)
    .where(t.run_file.c.experiment_name == sa.bindparam("experiment"), column == sa.bindparam("wanted"))
    .order_by(t.run_file.c.create_timestamp.desc(), t.run_file.c.id)
    for column in (t.run_file.c.run_label, t.run_file.c.run_number)
)
PAGE_ROWS = 1000


def document(row: RowMapping) -> Document:
    """Return the contract's document of a file."""
    found = {
        **row["extra"],
        "_id": row["id"],
        "path": row["path"],
        "run_num": RunNumber(number=row["run_number"], label=row["run_label"]).value,
        "create_timestamp": write_time(row["create_timestamp"]),
        "modify_timestamp": write_time(row["modify_timestamp"]),
    }
    optional = {"checksum": row["checksum"], "size": row["size_bytes"], "locations": row["locations"] or None}
    return found | {key: value for key, value in optional.items() if value is not None}


def register(work: Work, experiment: str, given: object) -> None:
    """Register one file of a run; the same path and run again replaces it, but keeps its locations.

    Raises
    ------
    BadRequestError
        The document makes no sense; nothing is stored.
    """
    _store(work, experiment, [_row(work, experiment, given)])


def _row(work: Work, experiment: str, given: object) -> Document:
    """Return the columns of a file's document. Raises `BadRequestError`."""
    found = require_object(given, what="A file")
    if "path" not in found:
        raise BadRequestError("File registration missing keys {'path'}")
    path = require_text(found["path"], what="path", max_length=MAX_PATH_LENGTH)
    if not path:
        raise BadRequestError("path must not be empty")
    run = _run_of(work, experiment, found)
    return {
        "id": work.new_id(),
        "run_number": run.number,
        "run_label": run.label,
        "path": path,
        "checksum": _optional_text(found.get("checksum")),
        "size_bytes": _size(found.get("size")),
        "create_timestamp": _moment(work, found, "create_timestamp").isoformat(),
        "modify_timestamp": _moment(work, found, "modify_timestamp").isoformat(),
        "extra": {key: value for key, value in found.items() if key not in _OWN_KEYS},
    }


def _store(work: Work, experiment: str, rows: Iterable[Document]) -> None:
    """Store files in one statement a kind of run number; of the same path and run, the last counts."""
    for column, statement in _REGISTER.items():
        kept = {(row[column], row["path"]): row for row in rows if row[column] is not None}
        if kept:
            work.connection.execute(statement, {"experiment": experiment, "files": list(kept.values())})


def _run_of(work: Work, experiment: str, found: Document) -> RunNumber:
    if "run_num" in found:
        return read_run_number(found["run_num"], verbatim=work.settings.dialect.verbatim_file_runs)
    current = runs.find_current(work, experiment)
    if current is None:
        message = f"There is no run in {experiment} to register a file for; give a run_num"
        raise BadRequestError(message)
    return RunNumber(number=current["number"], label=current["label"])


def _optional_text(value: object) -> str | None:
    return None if value is None else require_text(value, what="checksum", max_length=200)


def _size(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        message = f"size must be a number of bytes, not {value!r:.80}"
        raise BadRequestError(message)
    return value


def _moment(work: Work, found: Document, key: str) -> datetime:
    if found.get(key) is None:
        return work.now
    strict = WITHOUT_FRACTION if work.settings.dialect.strict_times else None
    return read_time(found[key], what=key, strict_format=strict)


def register_several(work: Work, experiment: str, given: list[object]) -> list[Document]:
    """Register files one by one and answer for each; a wrong one does not stop the others."""
    if not given:
        raise BadRequestError("Please pass in the file json to register a new file.")
    if len(given) > MAX_FILES_PER_CALL:
        message = f"At most {MAX_FILES_PER_CALL} files can be registered in one call"
        raise BadRequestError(message)
    answers: list[Document] = []
    rows: list[Document] = []
    for item in given:
        try:
            rows.append(_row(work, experiment, item))
        except BadRequestError as refusal:
            answers.append({"errormsg": refusal.sentence, "success": False})
        else:
            answers.append({"success": True})
    _store(work, experiment, rows)
    return answers


def pages(
    open_work: Callable[[], AbstractContextManager[Work]], experiment: str, *, sample_name: str | None = None
) -> Iterator[list[Document]]:
    """Yield the files of all runs, or of one sample's, each page in a transaction of its own."""
    for column in (t.run_file.c.run_label, t.run_file.c.run_number):
        page: list[RowMapping] | None = None
        while page is None or len(page) == PAGE_ROWS:
            last = None if page is None else page[-1]
            with open_work() as work:
                page = list(work.connection.execute(_page(experiment, column, last, sample_name)).mappings())
            yield [document(row) for row in page]


def _page(
    experiment: str, column: sa.Column[Any], last: RowMapping | None, sample_name: str | None
) -> sa.Select[Any]:  # Any: text or number; the table's columns
    """Return the question for the files after `last`, by run downwards, then by time downwards."""
    f, r, s = t.run_file.c, t.run.c, t.sample.c
    statement = sa.select(t.run_file).where(f.experiment_name == experiment, column.is_not(None))
    if last is not None:
        at = last["create_timestamp"]
        later = sa.or_(f.create_timestamp < at, sa.and_(f.create_timestamp == at, f.id > last["id"]))
        statement = statement.where(column <= last[column.name], sa.or_(column < last[column.name], later))
    if sample_name is not None:
        same_run = sa.or_(f.run_label == r.label, f.run_number == r.number)
        of_sample = (
            sa.select(r.id)
            .join(t.sample, s.id == r.sample_id)
            .where(r.experiment_name == experiment, s.name == sample_name, same_run)
        )
        statement = statement.where(of_sample.exists())
    return statement.order_by(column.desc(), f.create_timestamp.desc(), f.id).limit(PAGE_ROWS)


def of_run(work: Work, experiment: str, run: RunNumber) -> list[Document]:
    """Return the files of one run."""
    question = _OF_LABEL if run.number is None else _OF_NUMBER
    rows = work.connection.execute(question, {"experiment": experiment, "wanted": run.value})
    return [document(row) for row in rows.mappings()]


def locations(work: Work) -> list[Document]:
    """Return the places that every experiment has."""
    places = (place for place in work.settings.file_locations if place.all_experiments)
    return [{"name": place.name, "all_experiments": True, "jid_prefix": ""} for place in places]


def note_available(work: Work, experiment: str, *, location: str, path: str, run: RunNumber) -> None:
    """Note that a file is at a place; a file that is not registered is no error. Raises `NotFoundError`."""
    if location not in {place.name for place in work.settings.file_locations}:
        raise NotFoundError("Please specify a valid location")
    f = t.run_file.c
    here = {location: {"asof": write_time(work.now)}}
    work.connection.execute(
        sa.update(t.run_file)
        .where(f.experiment_name == experiment, f.path == path, matches(f.run_number, f.run_label, run))
        .values(locations=f.locations.concat(sa.cast(here, f.locations.type)))
    )


def counts_by_extension(work: Work, experiment: str) -> dict[str, int]:
    """Return how many files there are of each extension."""
    counts: dict[str, int] = {}
    for path in work.connection.scalars(sa.select(t.run_file.c.path).where(t.run_file.c.experiment_name == experiment)):
        suffix = PurePosixPath(path).suffix.removeprefix(".")
        counts[suffix] = counts.get(suffix, 0) + 1
    return counts
