"""Which exposures share the shift of the beam with which: decided when a movie is first published, and never again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cryodaq.ledger import beam_shifts
from cryodaq.ledger.exports import ExportSource
from cryodaq.publish.beam_shifts import Pattern, Place, Shift, area_of

if TYPE_CHECKING:
    from sqlalchemy import Connection


def with_beam_shift_groups(connection: Connection, sources: Sequence[ExportSource]) -> list[ExportSource]:
    """Return a sample's movies with their groups: as they were decided, or decided now in the order given."""
    undecided = [source for source in sources if source.beam_shift_group is None]
    names = _decided(connection, undecided)
    beam_shifts.set_beam_shift_groups(connection, names)
    return [replace(one, beam_shift_group=names.get(one.movie_id, one.beam_shift_group)) for one in sources]


def _decided(connection: Connection, sources: Sequence[ExportSource]) -> dict[int, str]:
    """Return the name of each movie's group by the movie's id; empty where it is not told apart."""
    names = dict.fromkeys((source.movie_id for source in sources), "")
    shifted = [(source, shift) for source in sources if (shift := _shift(source)) is not None]
    if not shifted:
        return names
    sample_id = shifted[0][0].sample_id
    known = _pattern(beam_shifts.lock_beam_shifts(connection, sample_id))
    pattern, everyone = known, None
    for source, shift_xy in shifted:
        area = area_of(source.run_name)
        if not pattern.has_places(area):
            pattern = pattern.one_more()
            if pattern.is_to_be_looked_for:
                everyone = everyone or beam_shifts.beam_shifts_of(connection, sample_id)
                areas = [area_of(run_name) for run_name, _ in everyone]
                pattern = pattern.looked([shift for _, shift in everyone], areas=areas)
        pattern, place = pattern.placed(shift_xy, area=area)
        names[source.movie_id] = "" if place is None else place.name
    if pattern != known:
        beam_shifts.save_beam_shifts(connection, sample_id, asdict(pattern))
    return names


def _shift(source: ExportSource) -> Shift | None:
    said = (source.metadata or {}).get("beam_shift_xy")
    return None if said is None else (float(said[0]), float(said[1]))


def _pattern(stored: Mapping[str, Any] | None) -> Pattern:  # Any: JSON of the record
    if stored is None:
        return Pattern()
    return Pattern(**{**stored, "places": tuple(Place(**place) for place in stored["places"])})
