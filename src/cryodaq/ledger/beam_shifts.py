"""The places in which the beam shifts of a sample's exposures lie, and which movie belongs to which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from cryodaq.ledger.tables import movie, sample

MOST_LOOKED_AT = 4_000
"""The newest exposures tell the pattern."""


def lock_beam_shifts(connection: Connection, sample_id: str) -> Mapping[str, Any] | None:  # Any: JSON of Pattern
    """Return what is known of a sample's shifts; nobody else changes it until this transaction ends."""
    query = select(sample.c.beam_shifts).where(sample.c.id == sample_id).with_for_update(key_share=True)
    found: Mapping[str, Any] | None = connection.execute(query).scalar_one()  # Any: JSON
    return found


def save_beam_shifts(connection: Connection, sample_id: str, pattern: Mapping[str, object]) -> None:
    """Record what is known of a sample's shifts."""
    connection.execute(update(sample).where(sample.c.id == sample_id).values(beam_shifts=dict(pattern)))


def set_beam_shift_groups(connection: Connection, names: Mapping[int, str]) -> None:
    """Record movies' groups, by the movies' ids, for good; empty where one is not told apart."""
    if names:
        statement = update(movie).where(movie.c.id == bindparam("of")).values(beam_shift_group=bindparam("name"))
        connection.execute(statement, [{"of": movie_id, "name": name} for movie_id, name in names.items()])


def beam_shifts_of(connection: Connection, sample_id: str) -> list[tuple[str, tuple[float, float]]]:
    """Return (run name, shift) of the newest of a sample's movies whose shift is known."""
    shift = movie.c.metadata["beam_shift_xy"]
    rows = connection.execute(
        select(movie.c.run_name, shift)
        .where(movie.c.sample_id == sample_id, shift[1].as_float().is_not(None))
        .order_by(movie.c.id.desc())
        .limit(MOST_LOOKED_AT)
    )
    return [(run_name, (float(x), float(y))) for run_name, (x, y) in rows]
