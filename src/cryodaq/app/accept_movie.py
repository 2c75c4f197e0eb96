"""Accept a movie that is short for good: the beam was lost, the camera ended early, and nothing more will come."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cryodaq.errors import LedgerError
from cryodaq.ledger import acceptances
from cryodaq.ledger.acceptances import HeldMovie

if TYPE_CHECKING:
    from sqlalchemy import Engine


def find_held(engine: Engine, name: str) -> HeldMovie:
    """Return the one held movie of a name. Raises `LedgerError` when none or several have it."""
    with engine.connect() as connection:
        found = acceptances.held_movies(connection, name=name)
    if not found:
        message = f"no movie called {name} is held; cryodaq held list names those that are"
        raise LedgerError(message)
    if len(found) > 1:
        message = f"several held movies are called {name}: {', '.join(one.path for one in found)}; give the whole path"
        raise LedgerError(message)
    return found[0]


def accept_movie(engine: Engine, held: HeldMovie, *, reason: str, by: str, at: datetime) -> int:
    """Record that a short movie is all that there will be; the next look copies it. Return its frames.

    Should the file change after all, the word does not count for what it is then.

    Raises
    ------
    LedgerError
        Its format calls it unfinished, or there is no reason.
    """
    if held.frame_count is None or held.frame_count < 1:
        message = f"{held.path} cannot be accepted, because nobody could read it: {held.problem}"
        raise LedgerError(message)
    if not reason.strip():
        raise LedgerError("say why the movie is short; those who look at its results will want to know")
    with engine.begin() as connection:
        acceptances.accept(connection, held, frame_count=held.frame_count, reason=reason.strip(), by=by, at=at)
    return held.frame_count
