"""Entries of an experiment's log."""

from __future__ import annotations

import sqlalchemy as sa

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book.times import write_time
from cryodaq.elogbook.book.work import Document, Work


def add(work: Work, experiment: str, content: str, *, sample_name: str | None = None) -> str:
    """Write an entry in the name of whoever asks, and return its id."""
    entry_id = work.new_id()
    work.connection.execute(
        sa.insert(t.elog_entry).values(
            id=entry_id,
            experiment_name=experiment,
            author=work.uid,
            content=content,
            insert_time=work.now,
            sample_name=sample_name,
        )
    )
    return entry_id


def listing(work: Work, experiment: str, *, sample_name: str | None = None) -> list[Document]:
    """Return the entries in the order in which they were written, of one sample or all."""
    e = t.elog_entry.c
    statement = sa.select(t.elog_entry).where(e.experiment_name == experiment).order_by(e.id)
    if sample_name is not None:
        statement = statement.where(e.sample_name == sample_name)
    entries = []
    for row in work.connection.execute(statement).mappings():
        moment = write_time(row["insert_time"])
        entry: Document = {
            "_id": row["id"],
            "relevance_time": moment,
            "insert_time": moment,
            "author": row["author"],
            "content": row["content"],
            "content_type": "TEXT",
        }
        entries.append(entry if row["sample_name"] is None else {**entry, "sample": row["sample_name"]})
    return entries
