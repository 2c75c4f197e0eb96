"""Several versions of one source: which rows a later version has taken the place of."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, select


def superseded(rows: Table, *, of: str) -> ColumnElement[bool]:
    """Return the condition that a row has a later version.

    Parameters
    ----------
    rows
        A table with the columns `path` and `version`.
    of
        The column that says whose path it is.
    """
    later = rows.alias("later")
    return (
        select(later.c.id)
        .where(
            later.c[of] == rows.c[of],
            later.c.path == rows.c.path,
            later.c.version > 1,  # an index has only these
            later.c.version == rows.c.version + 1,
        )
        .exists()
    )
