"""Which exposures share the shift of the beam with which: decided when a movie is first published, and never again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cryodaq.ledger import beam_shifts
from cryodaq.ledger.exports import ExportSource
from cryodaq.publish.beam_shifts import Pattern, Place, area_of

if TYPE_CHECKING:
    from sqlalchemy import Connection


def with_beam_shift_group(connection: Connection, source: ExportSource) -> ExportSource:
    """Return the movie with its group: as it was decided, or decided now."""
    if source.beam_shift_group is not None:
        return source
    shift = (source.metadata or {}).get("beam_shift_xy")
    name = "" if shift is None else _place_name(connection, source, (float(shift[0]), float(shift[1])))
    beam_shifts.set_beam_shift_group(connection, source.movie_id, name)
    return replace(source, beam_shift_group=name)


def _place_name(connection: Connection, source: ExportSource, shift_xy: tuple[float, float]) -> str:
    known = _pattern(beam_shifts.lock_beam_shifts(connection, source.sample_id))
    pattern, area = known, area_of(source.run_name)
    if not pattern.has_places(area):
        pattern = pattern.one_more()
        if pattern.is_to_be_looked_for:
            everyone = beam_shifts.beam_shifts_of(connection, source.sample_id)
            areas = [area_of(run_name) for run_name, _ in everyone]
            pattern = pattern.looked([shift for _, shift in everyone], areas=areas)
    place = pattern.nearest(shift_xy, area=area)
    if place is None and pattern.has_places(area):
        pattern, place = pattern.extended(shift_xy, area=area)
    if pattern != known:
        beam_shifts.save_beam_shifts(connection, source.sample_id, asdict(pattern))
    return "" if place is None else place.name


def _pattern(stored: Mapping[str, Any] | None) -> Pattern:  # Any: JSON of the record
    if stored is None:
        return Pattern()
    return Pattern(**{**stored, "places": tuple(Place(**place) for place in stored["places"])})
