"""Tell people when a gain reference is stale or wrong: movies then share a pattern that it should have removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

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
"""Movies of one gain reference between two looks."""
COMPARED = 12
"""Latest movies that are compared."""
TOLERATED = 0.02
"""Pattern, as a fraction of the mean counts; a fresh reference leaves a few tenths of a percent."""


def watch_gain(engine: Engine, movie: MovieToProcess, *, layout: BranchLayout, at: datetime) -> bool:
    """Look at the latest movies of a gain reference after every so many; return whether there was a look.

    An alarm says how strong the pattern is and where its picture lies; it is cleared by the next look that finds none.
    """
    if movie.gain is None:
        return False
    with engine.connect() as connection:
        count, sums = sums_with_gain(connection, movie.sample_id, movie.gain, branch_id=movie.branch_id, limit=COMPARED)
    if count == 0 or count % EVERY or len(sums) < COMPARED:
        return False
    from PIL import Image

    from cryodaq.imaging.fixed_pattern import fixed_pattern

    try:
        found = fixed_pattern(_read(sums))
    except (FormatError, ImagingError, OSError):
        return False  # sums of another camera mode among them, or taken away: the next look has others
    picture = Path(layout.gain_check)
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(found.picture, mode="L").save(picture)
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


def _read(paths: Sequence[str]) -> Iterator[NDArray[np.float32]]:
    from cryodaq.formats.mrc import read_micrograph

    for path in paths:
        yield read_micrograph(Path(path))[0]
