"""Tell people when a gain reference is stale or wrong: movies then share a pattern that it should have removed.

The unaligned sums of the latest movies of a gain reference are kept for that; older ones go.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.app.remember_gain import save_gain_picture
from cryodaq.domain.layout import BranchLayout
from cryodaq.errors import FormatError, ImagingError
from cryodaq.ledger import events
from cryodaq.ledger.gains import sums_with_gain
from cryodaq.ledger.results import MovieToProcess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Engine

EVERY = 25
"""One movie in so many, by chance, is followed by a look: to count them would cost more with every movie."""
COMPARED = 12
"""Latest movies that are compared."""
OUTDATED = 8
"""Sums beyond those that are looked for to be removed: several publications may end at once."""
TOLERATED = 0.02
"""Pattern, as a fraction of the mean counts; a fresh reference leaves a few tenths of a percent."""


def watch_gain(engine: Engine, movie: MovieToProcess, *, layout: BranchLayout, at: datetime) -> bool:
    """Look at the latest movies of a gain reference now and then; return whether there was a look.

    An alarm says how strong the pattern is and where its picture lies; it is cleared by the next look that finds none.
    """
    if movie.gain is None or not is_looked_after(movie.movie_id):
        return False
    sums = _latest(engine, movie, limit=COMPARED)
    if len(sums) < COMPARED:
        return False
    from cryodaq.imaging.fixed_pattern import as_png, fixed_pattern

    try:
        found = fixed_pattern(_read(sums))
    except (FormatError, ImagingError, OSError):
        return False  # sums of another camera mode among them, or taken away: the next look has others
    picture = save_gain_picture(layout.gain_check, as_png(found.picture))
    key = f"gain:{movie.sample_id}"
    with engine.begin() as connection:
        if found.rms <= TOLERATED:
            events.clear_alarm(connection, key, at=at)
        else:
            name = Path(movie.gain).name
            message = (
                f"{movie.experiment}: after correction with {name} the latest {found.pictures} movies share a pattern "
                f"of {found.rms:.1%} of their counts ({picture}); take a new gain reference"
            )
            events.raise_alarm(connection, key, severity="warning", message=message, at=at, subject=movie.subject)
    return True


def is_looked_after(movie_id: int) -> bool:
    """Whether this movie is one of those that are followed by a look: the same ones each time, without a rhythm."""
    return zlib.crc32(str(movie_id).encode()) % EVERY == 0


def remove_outdated_sums(engine: Engine, movie: MovieToProcess, unaligned_sum: Path) -> None:
    """Remove a published movie's unaligned sum as soon as it is not needed for the watch any more."""
    if movie.gain is None or not movie.is_current:
        unaligned_sum.unlink(missing_ok=True)
        return
    for outdated in _latest(engine, movie, limit=COMPARED + OUTDATED)[COMPARED:]:
        Path(outdated).unlink(missing_ok=True)


def _latest(engine: Engine, movie: MovieToProcess, *, limit: int) -> list[str]:
    with engine.connect() as connection:
        return sums_with_gain(connection, movie.sample_id, movie.gain or "", branch_id=movie.branch_id, limit=limit)


def _read(paths: Sequence[str]) -> Iterator[NDArray[np.float32]]:
    from cryodaq.formats.mrc import read_micrograph

    for path in paths:
        yield read_micrograph(Path(path))[0]
