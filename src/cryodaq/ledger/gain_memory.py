"""How the gain references of each microscope lie against its movies."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.gain_memory import GainMemory
from cryodaq.ledger.tables import gain_orientation


def gain_memory(connection: Connection, microscope: str, kind: str, *, to_change: bool = False) -> GainMemory | None:
    """Return what is known; None where no movie showed an orientation yet.

    Parameters
    ----------
    kind
        `domain.gain_memory.kind_of` gain reference and movie.
    to_change
        Nobody else changes it until this transaction ends.
    """
    query = select(gain_orientation.c.orientation, gain_orientation.c.agreed, gain_orientation.c.against).where(
        gain_orientation.c.microscope == microscope, gain_orientation.c.kind == kind
    )
    row = connection.execute(query.with_for_update() if to_change else query).first()
    return None if row is None else GainMemory(orientation=row.orientation, agreed=row.agreed, against=row.against)


def save_gain_memory(connection: Connection, microscope: str, kind: str, memory: GainMemory) -> None:
    """Record what is known."""
    values = asdict(memory)
    statement = insert(gain_orientation).values(microscope=microscope, kind=kind, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["microscope", "kind"], set_=values))
