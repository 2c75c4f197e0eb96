"""Looking for movies by what their acquisition program said: where the stage stood, the defocus set, the time.

The numbers are read from the record that is stored with each movie; what it does not say is in no range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import ge, le
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, DateTime, Double, case, cast, func, literal_column, select, true

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


def conditions(ranges: Limits, taken: Span) -> Iterator[ColumnElement[bool]]:
    """Return what the movies meant fulfil.

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
            yield value >= low
        if high is not None:
            yield value <= high
    begin, end = taken
    if begin is not None:
        yield _compared(begin, ge)
    if end is not None:
        yield _compared(end, le)


def _compared(moment: datetime, compare: Callable[[Any, Any], Any]) -> ColumnElement[bool]:  # Any: columns' types
    """Compare when a movie was taken; the database reads the text, and passes over what is no time."""
    read = func.jsonb_path_query_first_tz(
        movie.c.metadata, literal_column("'$.acquired_at.datetime()'::jsonpath"), literal_column("'{}'::jsonb"), true()
    )
    text = read.op("#>>")(literal_column("'{}'::text[]"))
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
