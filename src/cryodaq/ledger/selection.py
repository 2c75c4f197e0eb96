"""Which of a sample's micrographs are in and which are out, and what the two look like: counts, histograms, trends.

A micrograph is in when a person says so, else when every limit holds; a number that was not measured holds no limit.
Only published movies are judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    collate,
    false,
    func,
    literal,
    select,
    true,
    tuple_,
)

from cryodaq.ledger.gallery import MOVIE_STATES, MovieRow, movies_by_id
from cryodaq.ledger.limits import Limits
from cryodaq.ledger.measurements import QUANTITIES
from cryodaq.ledger.said import Span, narrowed
from cryodaq.ledger.tables import branch, judgement, measurement, movie

PAGE_SIZE = 60
GROUPS_PAGE_SIZE = 200
PROBES = 2000
"""So many movies at most make trends and the ranges of histograms."""
FEWEST_BINS, BINS = 8, 40
"""A histogram has twice as many bins as the root of its movies, within these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which movies of a sample are meant, and how they are judged."""

    sample_id: str
    branch_name: str
    state: str = "all"
    """A key of `gallery.MOVIE_STATES`."""
    limits: Limits = field(default_factory=dict)
    which: str = "all"
    """all, in, or out."""
    square: str | None = None
    """Grid square; None: all."""
    hole: str | None = None
    text: str = ""
    """A part of the movie's name."""
    said: Limits = field(default_factory=dict)
    """Ranges of what the acquisition program said, by key of `said.SAID`."""
    taken: Span = (None, None)
    """When the exposure was taken."""
    sort: str = "time"
    """A quantity, or `time`."""
    descending: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedMovie:
    """One movie in a list."""

    movie: MovieRow
    is_in: bool | None
    """None while it is not published."""
    verdict: str | None
    """What a person said: in or out."""
    rating: int | None
    values: Mapping[str, float | None]
    """By quantity, in the column's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many movies a selection has."""

    shown: int
    """Of those meant, in every state."""
    published: int
    inside: int

    @property
    def outside(self) -> int:
        """Published movies that are out."""
        return self.published - self.inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The movies of one grid square or foil hole."""

    name: str
    movies: int
    published: int
    inside: int
    fit_resolution_ang: float | None
    """Medians."""
    defocus_ang: float | None
    motion_total_ang: float | None
    particle_count: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One movie of a trend: its place in the order of registration, from 0 to 1."""

    place: float
    is_in: bool
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How one quantity is spread over the published movies."""

    key: str
    median: float
    low: float
    high: float
    """The bins span from `low` to `high`; values beyond are in the outermost."""
    inside: tuple[int, ...]
    outside: tuple[int, ...]
    """Movies in each bin."""
    probes: tuple[Probe, ...]


_GROUPS: Mapping[str, ColumnElement[str]] = {"square": movie.c.grid_square, "hole": movie.c.foil_hole}


_PUBLISHED = and_(movie.c.state == "published", measurement.c.movie_id.is_not(None))
"""In the branch that is asked for: movies that have nothing in it do not count."""


def _is_in(limits: Limits) -> ColumnElement[bool]:
    holds: list[ColumnElement[bool]] = []
    for key, (low, high) in limits.items():
        column = measurement.c[key]
        holds += [column >= low] if low is not None else []
        holds += [column <= high] if high is not None else []
    passed = func.coalesce(and_(true(), *holds), false())
    return case((judgement.c.verdict == "in", true()), (judgement.c.verdict == "out", false()), else_=passed)


def _meant(selection: Selection, *columns: ColumnElement[Any]) -> Select[Any]:  # Any: of many types
    """Return the query for the movies that a selection means, without its `which`."""
    query = (
        select(*columns)
        .select_from(movie)
        .join(branch, and_(branch.c.sample_id == movie.c.sample_id, branch.c.name == selection.branch_name))
        .outerjoin(measurement, and_(measurement.c.movie_id == movie.c.id, measurement.c.branch_id == branch.c.id))
        .outerjoin(judgement, judgement.c.movie_id == movie.c.id)
        .where(movie.c.sample_id == selection.sample_id)
    )
    states = MOVIE_STATES[selection.state]
    if states:
        query = query.where(movie.c.state.in_(states))
    if selection.square is not None:
        query = query.where(movie.c.grid_square.is_not_distinct_from(selection.square))
    if selection.hole is not None:
        query = query.where(movie.c.foil_hole.is_not_distinct_from(selection.hole))
    if selection.text:
        query = query.where(movie.c.run_name.icontains(selection.text, autoescape=True))
    return narrowed(query, selection.said, selection.taken)


def _chosen(selection: Selection, *columns: ColumnElement[Any]) -> Select[Any]:  # Any: of many types
    query = _meant(selection, *columns)
    if selection.which == "all":
        return query
    wanted = _is_in(selection.limits)
    return query.where(_PUBLISHED, wanted if selection.which == "in" else ~wanted)


def count_selection(connection: Connection, selection: Selection) -> Counts:
    """Return how many movies a selection means and how many of them are in."""
    inside = func.count().filter(_PUBLISHED, _is_in(selection.limits))
    row = connection.execute(_meant(selection, func.count(), func.count().filter(_PUBLISHED), inside)).one()
    return Counts(shown=row[0], published=row[1], inside=row[2])


def selected_movies(
    connection: Connection, selection: Selection, *, page: int, page_size: int = PAGE_SIZE
) -> tuple[list[JudgedMovie], bool]:
    """Return one page of a selection, counted from 1, and whether there is another."""
    columns = [measurement.c[key] for key in QUANTITIES]
    judged = [
        _PUBLISHED.label("published"),
        judgement.c.verdict,
        judgement.c.rating,
        _is_in(selection.limits).label("is_in"),
    ]
    query = _chosen(selection, movie.c.id, *judged, *columns)
    by_time = movie.c.id.desc() if selection.descending else movie.c.id.asc()
    if selection.sort in QUANTITIES:
        column = measurement.c[selection.sort]
        query = query.order_by((column.desc() if selection.descending else column.asc()).nulls_last(), by_time)
    else:
        query = query.order_by(by_time)
    query = query.offset((page - 1) * page_size).limit(page_size + 1)
    rows = connection.execute(query).mappings().all()
    shown = rows[:page_size]
    movies = movies_by_id(connection, [int(row["id"]) for row in shown], branch_name=selection.branch_name)
    found = [
        JudgedMovie(
            movie=movies[int(row["id"])],
            is_in=row["is_in"] if row["published"] else None,
            verdict=row["verdict"],
            rating=row["rating"],
            values={key: row[key] for key in QUANTITIES},
        )
        for row in shown
    ]
    return found, len(rows) > page_size


def selected_ids(connection: Connection, selection: Selection) -> list[int]:
    """Return the published movies of a selection that are in, or out where it asks for those."""
    query = _chosen(selection, movie.c.id).where(_PUBLISHED)
    return [int(number) for number in connection.execute(query.order_by(movie.c.id)).scalars()]


def groups(
    connection: Connection, selection: Selection, *, by: str, page: int = 1, page_size: int = GROUPS_PAGE_SIZE
) -> tuple[list[Group], bool]:
    """Return one page of a selection's grid squares (`square`) or foil holes (`hole`), newest first, and if more come.

    Pages are counted from 1.
    """
    name = collate(_GROUPS[by], "C")

    def median(key: str) -> ColumnElement[Any]:  # Any: a function's type
        return func.percentile_cont(0.5).within_group(measurement.c[key]).label(key)

    query = (
        _chosen(
            selection,
            name.label("name"),
            func.count().label("movies"),
            func.count().filter(_PUBLISHED).label("published"),
            func.count().filter(_PUBLISHED, _is_in(selection.limits)).label("inside"),
            *[median(key) for key in ("fit_resolution_ang", "defocus_ang", "motion_total_ang", "particle_count")],
        )
        .where(name.is_not(None))
        .group_by(name)
        .order_by(func.max(movie.c.id).desc())
        .offset((page - 1) * page_size)
        .limit(page_size + 1)
    )
    found = [Group(**row) for row in connection.execute(query).mappings()]
    return found[:page_size], len(found) > page_size


def distributions(connection: Connection, selection: Selection, *, keys: Sequence[str] = ()) -> list[Distribution]:
    """Return how the quantities are spread over a selection's published movies; unmeasured ones are left out.

    The bins count every movie; their range and the trend come from `PROBES` movies evenly spread over the session.
    """
    wanted = [key for key in QUANTITIES if not keys or key in keys]
    rows = _probe(connection, selection, wanted)
    measured = {key: found for key in wanted if (found := sorted(row[key] for row in rows if row[key] is not None))}
    spans = {key: _span(values) for key, values in measured.items()}
    count = min(BINS, max(FEWEST_BINS, 2 * math.isqrt(max(map(len, measured.values()), default=0))))
    bins = _bins(connection, selection, spans, count=count) if spans else {}
    return [
        Distribution(
            key=key,
            median=float(values[len(values) // 2]),
            low=spans[key][0],
            high=spans[key][1],
            inside=bins[key][0],
            outside=bins[key][1],
            probes=tuple(
                Probe(place=row["place"], is_in=row["is_in"], value=float(row[key]))
                for row in rows
                if row[key] is not None
            ),
        )
        for key, values in measured.items()
    ]


def _probe(connection: Connection, selection: Selection, keys: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return movies evenly spread over the session, the newest among them, with their places in it."""
    total = connection.execute(_meant(selection, func.count()).where(_PUBLISHED)).scalar_one()
    step = max(1, -(-total // PROBES))
    number = func.row_number().over(order_by=movie.c.id).label("number")
    every = _meant(selection, movie.c.id, number).where(_PUBLISHED).subquery()
    taken = select(every).where(func.mod(total - every.c.number, step) == 0).subquery()
    values = [measurement.c[key] for key in keys]
    query = _meant(selection, taken.c.number, _is_in(selection.limits).label("is_in"), *values)
    query = query.join(taken, taken.c.id == movie.c.id).order_by(taken.c.number)
    return [
        {**row, "place": (int(row["number"]) - 1) / max(1, total - 1)} for row in connection.execute(query).mappings()
    ]


def _bins(
    connection: Connection, selection: Selection, spans: Mapping[str, tuple[float, float]], *, count: int
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the movies in each bin of each quantity, in and out, in one pass over the movies."""
    numbers = [_bin(key, *span, count=count).label(key) for key, span in spans.items()]
    each = _meant(selection, _is_in(selection.limits).label("is_in"), *numbers).where(_PUBLISHED).subquery()
    columns = [each.c[key] for key in spans]
    query = select(*columns, each.c.is_in, func.grouping(*columns).label("others"), func.count().label("movies"))
    counts = {key: {True: [0] * count, False: [0] * count} for key in spans}
    everything = 2 ** len(columns) - 1
    keys = {everything - 2**place: key for place, key in enumerate(reversed(list(spans)))}
    for row in connection.execute(
        query.group_by(func.grouping_sets(*[tuple_(column, each.c.is_in) for column in columns]))
    ).mappings():
        key = keys[row["others"]]
        if row[key] is not None:
            counts[key][row["is_in"]][row[key] - 1] = row["movies"]
    return {key: (tuple(found[True]), tuple(found[False])) for key, found in counts.items()}


def _bin(key: str, low: float, high: float, *, count: int) -> ColumnElement[int | None]:
    """Return the number of a movie's bin, from 1; null where it is not measured."""
    value = measurement.c[key]
    bucket = func.width_bucket(value, literal(low), literal(high), count)
    return case((value.is_(None), None), else_=func.least(count, func.greatest(1, bucket)))


def _span(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the range of all but the outermost 1 % of the values, widened where they are all alike."""
    cut = len(ordered) // 100
    low, high = float(ordered[cut]), float(ordered[-1 - cut])
    if high > low:
        return low, high
    pad = abs(high) * 0.1 or 0.5
    return low - pad, high + pad
