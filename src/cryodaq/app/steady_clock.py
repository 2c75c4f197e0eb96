"""A wall clock that never goes back behind what the ledger has on record.

Whose an exposure is follows from the order of polls and scans. Where our clock is put back, or another node's was
ahead, times go on from the last one on record at half speed until the wall clock has caught up: their order stays
true, and nothing waits for hours until "later" comes again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

LONGEST_LEAD = timedelta(days=1)
"""A time on record that is further ahead was wrong: it is not followed."""


class SteadyClock:
    """Tells times in their order, from any thread."""

    def __init__(self, wall: Callable[[], datetime], *, not_before: datetime | None) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._seen = wall()
        self._told = self._seen
        if not_before is not None and not_before - self._seen < LONGEST_LEAD:
            self._told = max(self._seen, not_before)

    def now(self) -> datetime:
        """Return the wall clock's time, or a later one while it is behind what was told before."""
        with self._lock:
            wall = self._wall()
            passed = max(timedelta(0), wall - self._seen)
            self._seen = wall
            self._told = wall if self._told - wall >= LONGEST_LEAD else max(wall, self._told + passed / 2)
            return self._told
