"""Looking for movies by what their acquisition program said: where the stage stood, the defocus set, the time.

The numbers are read from the record that is stored with each movie; what it does not say is in no range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import ge, le
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Double,
    FromClause,
    Select,
    case,
    cast,
    func,
    literal_column,
    select,
    true,
)

from cryodaq.ledger.limits import Limits
from cryodaq.ledger.measurements import Quantity
from cryodaq.ledger.tables import movie

SAID = {
    one.key: one
    for one in (
        Quantity(key="applied_defocus_ang", title="Defocus set", unit="µm", digits=2, scale=1e-4),
        Quantity(key="stage_x_um", title="Stage x", unit="µm", digits=1),
        Quantity(key="stage_y_um", title="Stage y", unit="µm", digits=1),
        Quantity(key="tilt_deg", title="Tilt", unit="°", digits=1),
        Quantity(key="total_dose_e_ang2", title="Dose", unit="e⁻/Å²", digits=1),
    )
}
"""What can be looked for, by its field of the acquisition's record."""

_OFFSET = r":[0-9.]+(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"

Span: TypeAlias = tuple[datetime | None, datetime | None]
"""From and until, both in the facility's zone; None: open."""


def narrowed(query: Select[Any], ranges: Limits, taken: Span) -> Select[Any]:  # Any: of many types
    """Return a query for movies that means those only of which their program said so.

    Parameters
    ----------
    ranges
        Lowest and highest value by key of `SAID`, in the record's own units.
    taken
        When the exposure was taken: as its program wrote it, else when its movie was registered. What was written
        without a zone, as SerialEM does, is taken for the facility's time.
    """
    for key, (low, high) in ranges.items():
        value = cast(movie.c.metadata.op("->>")(key), Double)
        if low is not None:
            query = query.where(value >= low)
        if high is not None:
            query = query.where(value <= high)
    if taken == (None, None):
        return query
    written = _written_time()
    begin, end = taken
    query = query.join(written, true())
    if begin is not None:
        query = query.where(_compared(written.c.at, begin, ge))
    if end is not None:
        query = query.where(_compared(written.c.at, end, le))
    return query


def _written_time() -> FromClause:
    """Return, for each movie, the time that its program wrote; the database reads the text, and passes over none.

    Read once a movie: the offset keeps the database from reading it again wherever it is compared.
    """
    read = func.jsonb_path_query_first_tz(
        movie.c.metadata, literal_column("'$.acquired_at.datetime()'::jsonpath"), literal_column("'{}'::jsonb"), true()
    )
    text = read.op("#>>")(literal_column("'{}'::text[]"))
    return select(text.label("at")).offset(0).correlate(movie).lateral("written_time")


def _compared(
    text: ColumnElement[Any],  # Any: the database's text
    moment: datetime,
    compare: Callable[[Any, Any], Any],  # Any: columns' types
) -> ColumnElement[bool]:
    with_offset = cast(text, DateTime(timezone=True))
    local = cast(text, DateTime(timezone=False))
    return case(
        (text.is_(None), compare(movie.c.registered_at, moment)),
        (text.regexp_match(_OFFSET), compare(with_offset, moment)),
        else_=compare(local, moment.replace(tzinfo=None)),
    )


def records_of(connection: Connection, movie_ids: Sequence[int]) -> dict[int, Mapping[str, Any]]:  # Any: JSON
    """Return what is stored of each movie's acquisition, by movie; empty where nothing is."""
    rows = connection.execute(select(movie.c.id, movie.c.metadata).where(movie.c.id.in_(list(movie_ids))))
    return {int(row.id): row.metadata or {} for row in rows}
