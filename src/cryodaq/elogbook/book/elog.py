"""Entries of an experiment's log: threads, tags, earlier versions, and looking for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, OperationalError

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import attachments, runs
from cryodaq.elogbook.book.run_numbers import RunNumber, matches, read_run_number
from cryodaq.elogbook.book.times import write_time
from cryodaq.elogbook.book.work import Document, Work, contains
from cryodaq.elogbook.refusals import BadRequestError, NotFoundError, RuleError

MAX_TEXT_LENGTH = 200_000
MAX_TITLE_LENGTH = 500
MAX_TAGS = 50
EXPRESSION_LIMIT_MS = 2000
"""How long a search by a regular expression may take."""
_ORDER = (t.elog_entry.c.insert_time, t.elog_entry.c.id)
_COPIED = [
    column.name for column in t.elog_entry.c if column.name not in {"id", "deleted_by", "deleted_time", "once_key"}
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What somebody writes."""

    content: str
    title: str | None = None
    tags: tuple[str, ...] = ()
    email_to: tuple[str, ...] = ()
    run: RunNumber | None = None
    files: tuple[attachments.Upload, ...] = ()


def check_draft(draft: Draft) -> None:
    """Refuse an entry that says nothing, or too much. Raises `BadRequestError`."""
    if not draft.content.strip():
        raise BadRequestError("Cannot post an empty message")
    if len(draft.content) > MAX_TEXT_LENGTH or len(draft.title or "") > MAX_TITLE_LENGTH:
        message = f"An entry has up to {MAX_TEXT_LENGTH} characters, its title up to {MAX_TITLE_LENGTH}"
        raise BadRequestError(message)
    if len(draft.tags) > MAX_TAGS or any(len(tag) > 100 for tag in draft.tags):
        message = f"An entry has up to {MAX_TAGS} tags of up to 100 characters"
        raise BadRequestError(message)


def find_run(work: Work, experiment: str, text: str) -> RunNumber:
    """Return the run that a form names, `current` for the current one. Raises `RuleError`."""
    try:
        if text == "current":
            return runs.named_or_current(work, experiment, None)
        found = runs.find(work, experiment, read_run_number(text))
    except (NotFoundError, BadRequestError):
        message = f"Cannot find run with specified run number - {text:.80} for experiment {experiment}"
        raise RuleError(message) from None
    return RunNumber(number=found["number"], label=found["label"])


def add(work: Work, experiment: str, content: str, *, sample_name: str | None = None) -> str:
    """Write an entry of one text in the name of whoever asks, and return its id."""
    return _insert(work, experiment, {"content": content, "author": work.uid, "sample_name": sample_name})


def _insert(work: Work, experiment: str, values: Document) -> str:
    entry_id = work.new_id()
    work.connection.execute(
        sa.insert(t.elog_entry).values(id=entry_id, experiment_name=experiment, insert_time=work.now, **values)
    )
    return entry_id


def post(
    work: Work, experiment: RowMapping, draft: Draft, *, author: str, parent: str | None, once_key: str | None
) -> Document:
    """Write an entry, or an answer to another one, and return it.

    Parameters
    ----------
    once_key
        An entry with the same key is returned as it is: an automatic one that is sent again.

    Raises
    ------
    BadRequestError
        The text is empty, an attachment is refused, or there is no such parent.
    """
    check_draft(draft)
    name = experiment["name"]
    values = _columns(draft) | {
        "id": work.new_id(),
        "experiment_name": name,
        "insert_time": work.now,
        "author": author,
        "once_key": once_key,
        "sample_name": work.connection.scalar(
            sa.select(t.sample.c.name).where(t.sample.c.id == experiment["current_sample_id"])
        ),
    }
    if parent:
        answered = find(work, name, parent)
        values |= {"parent_id": answered["id"], "root_id": answered["root_id"] or answered["id"]}
    added = insert(t.elog_entry).values(values).on_conflict_do_nothing().returning(t.elog_entry.c.id)
    entry_id = work.connection.scalar(added)
    if entry_id is not None:
        attachments.store(work, entry_id, draft.files)
        return one(work, name, entry_id)
    e = t.elog_entry.c
    return _documents(work, sa.select(t.elog_entry).where(e.experiment_name == name, e.once_key == once_key))[0]


def _columns(draft: Draft) -> Document:
    return {
        "content": draft.content,
        "title": draft.title or None,
        "tags": list(dict.fromkeys(draft.tags)),
        "email_to": list(dict.fromkeys(draft.email_to)),
        "run_number": None if draft.run is None else draft.run.number,
        "run_label": None if draft.run is None else draft.run.label,
    }


def find(work: Work, experiment: str, entry_id: str) -> RowMapping:
    """Return an entry's row. Raises `NotFoundError`."""
    e = t.elog_entry.c
    statement = sa.select(t.elog_entry).where(e.experiment_name == experiment, e.id == entry_id)
    found = work.connection.execute(statement.with_for_update()).mappings().first()
    if found is None:
        message = f"There is no elog entry {entry_id:.80} in {experiment}"
        raise NotFoundError(message)
    return found


def one(work: Work, experiment: str, entry_id: str) -> Document:
    """Return an entry's document."""
    e = t.elog_entry.c
    return _documents(work, sa.select(t.elog_entry).where(e.experiment_name == experiment, e.id == entry_id))[0]


def modify(work: Work, experiment: str, entry_id: str, draft: Draft) -> Document:
    """Write an entry anew in the editor's name; what it said before stays as a deleted answer to it.

    Raises `BadRequestError`, `NotFoundError` or, for a deleted entry, `RuleError`.
    """
    check_draft(draft)
    before = find(work, experiment, entry_id)
    if before["deleted_time"] is not None:
        raise RuleError("This entry was deleted; it cannot be changed any more")
    kept_id = work.new_id()
    kept = {name: before[name] for name in _COPIED} | {
        "id": kept_id,
        "parent_id": entry_id,
        "root_id": before["root_id"] or entry_id,
        "deleted_by": work.uid,
        "deleted_time": work.now,
    }
    work.connection.execute(sa.insert(t.elog_entry).values(kept))
    values = _columns(draft) | {"author": work.uid, "previous_version": kept_id}
    work.connection.execute(sa.update(t.elog_entry).where(t.elog_entry.c.id == entry_id).values(values))
    attachments.store(work, entry_id, draft.files)
    return one(work, experiment, entry_id)


def delete(work: Work, experiment: str, entry_id: str) -> None:
    """Mark an entry as deleted; deleting it again changes nothing. Raises `NotFoundError`."""
    found = find(work, experiment, entry_id)
    if found["deleted_time"] is None:
        e = t.elog_entry
        work.connection.execute(
            sa.update(e).where(e.c.id == entry_id).values(deleted_by=work.uid, deleted_time=work.now)
        )


def listing(work: Work, experiment: str, *, sample_name: str | None = None) -> list[Document]:
    """Return the entries in the order in which they were written, of one sample or all."""
    e = t.elog_entry.c
    statement = sa.select(t.elog_entry).where(e.experiment_name == experiment)
    if sample_name is not None:
        statement = statement.where(e.sample_name == sample_name)
    return _documents(work, statement)


def thread(work: Work, experiment: str, entry_id: str) -> list[Document]:
    """Return the whole thread that an entry belongs to, its first entry first. Raises `NotFoundError`."""
    found = find(work, experiment, entry_id)
    root = found["root_id"] or found["id"]
    e = t.elog_entry.c
    of_thread = sa.or_(e.id == root, e.root_id == root)
    return _documents(work, sa.select(t.elog_entry).where(e.experiment_name == experiment, of_thread))


def _documents(work: Work, statement: sa.Select[Any]) -> list[Document]:  # Any: the table's columns
    rows = list(work.connection.execute(statement.order_by(*_ORDER)).mappings())
    attached = attachments.documents(work, [row["id"] for row in rows])
    return [_document(row, attached.get(row["id"])) for row in rows]


def _document(row: RowMapping, attached: list[Document] | None) -> Document:
    moment = write_time(row["insert_time"])
    entry: Document = {
        "_id": row["id"],
        "relevance_time": moment,
        "insert_time": moment,
        "author": row["author"],
        "content": row["content"],
        "content_type": "TEXT",
    }
    has_run = row["run_number"] is not None or row["run_label"] is not None
    optional = {
        "title": row["title"],
        "tags": row["tags"] or None,
        "email_to": row["email_to"] or None,
        "run_num": RunNumber(number=row["run_number"], label=row["run_label"]).value if has_run else None,
        "root": row["root_id"],
        "parent": row["parent_id"],
        "sample": row["sample_name"],
        "attachments": attached,
        "previous_version": row["previous_version"],
        "deleted_by": row["deleted_by"],
        "deleted_time": write_time(row["deleted_time"]),
    }
    return entry | {key: value for key, value in optional.items() if value is not None}


def tags(work: Work, experiment: str) -> list[str]:
    """Return the tags that are used, sorted."""
    e = t.elog_entry.c
    used = sa.select(sa.func.unnest(e.tags).label("tag")).where(
        e.experiment_name == experiment, e.deleted_time.is_(None)
    )
    return sorted(set(work.connection.scalars(used)))


def emails(work: Work, experiment: str) -> list[str]:
    """Return the addresses that entries were sent to, sorted."""
    used = sa.select(sa.func.unnest(t.elog_entry.c.email_to)).where(t.elog_entry.c.experiment_name == experiment)
    return sorted(set(work.connection.scalars(used)))


def search_text(work: Work, experiment: str, text: str) -> list[Document]:
    """Look for `t:<tag>`, `x:<regular expression>`, or words that all occur in an entry's text, title or tags.

    Raises `BadRequestError` for an expression that is none, or that takes too long.
    """
    e = t.elog_entry.c
    kind, _, rest = text.partition(":")
    if kind == "t":
        return _search(work, experiment, sa.literal(rest.strip()) == sa.any_(e.tags))
    if kind == "x":
        return _search_expression(work, experiment, rest.strip())
    whole = sa.func.concat_ws(" ", e.content, e.title, sa.func.array_to_string(e.tags, " "), e.author)
    return _search(work, experiment, *(contains(whole, word) for word in text.split()[:20]))


def _search_expression(work: Work, experiment: str, expression: str) -> list[Document]:
    e = t.elog_entry.c
    limit = sa.select(sa.func.set_config("statement_timeout", str(EXPRESSION_LIMIT_MS), True))  # noqa: FBT003  # SQL's
    try:
        work.connection.execute(limit)
        return _search(
            work, experiment, sa.or_(*(field.regexp_match(expression, flags="i") for field in (e.content, e.title)))
        )
    except (DataError, OperationalError):
        message = f"{expression!r:.80} is not a regular expression, or takes too long"
        raise BadRequestError(message) from None


def search_run(work: Work, experiment: str, run: RunNumber) -> list[Document]:
    """Return the entries about a run."""
    e = t.elog_entry.c
    return _search(work, experiment, matches(e.run_number, e.run_label, run))


def search_id(work: Work, experiment: str, entry_id: str) -> list[Document]:
    """Return the entry of an id, if there is one."""
    return _search(work, experiment, t.elog_entry.c.id == entry_id)


def search_time(work: Work, experiment: str, *, first: datetime, last: datetime) -> list[Document]:
    """Return the entries written from `first` to `last`."""
    return _search(work, experiment, t.elog_entry.c.insert_time.between(first, last))


def _search(work: Work, experiment: str, *conditions: sa.ColumnElement[bool]) -> list[Document]:
    return _documents(work, sa.select(t.elog_entry).where(t.elog_entry.c.experiment_name == experiment, *conditions))


def cross_post(work: Work, entry_id: str, *, source: str, target: str) -> Document:
    """Copy an entry with its attachments into another experiment's log and return the copy. Raises `NotFoundError`."""
    found = find(work, source, entry_id)
    values = {name: found[name] for name in ("content", "title", "tags", "email_to", "author")}
    copy_id = _insert(work, target, values)
    attachments.copy(work, entry_id, to=copy_id)
    return one(work, target, copy_id)
