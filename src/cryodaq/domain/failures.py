"""What a failed stage or a run without a result means for trying again; pure decisions."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

RERUN_PAUSES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=60))
"""Between the end of a run and the next one; a run has tries of its own (four in some two minutes) before it ends."""
MOST_RERUNS = len(RERUN_PAUSES)
"""Of a movie whose process dies or whose failure nobody foresaw: it may be the movie that does it."""


class Cause(StrEnum):
    """Why a stage failed."""

    PASSING = "passing"
    """Something outside was away or full; it is tried again for as long as it takes."""
    LASTING = "lasting"
    """The same input would fail again; a person must change something."""
    UNFORESEEN = "unforeseen"
    """An error that nobody foresaw."""
    LOST = "lost"
    """Its process ended without a word, or was ended."""


class RunState(StrEnum):
    """How far a run of the scheduler is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


def rerun_pause(cause: Cause, *, reruns: int) -> timedelta | None:
    """Return how long to wait before a movie is handed over anew, or None when that would be in vain.

    Parameters
    ----------
    cause
        Of the newest failure of the run that ended.
    reruns
        How often it was handed over anew before.
    """
    if cause is Cause.LASTING or (cause is not Cause.PASSING and reruns >= MOST_RERUNS):
        return None
    return RERUN_PAUSES[min(reruns, MOST_RERUNS - 1)]
