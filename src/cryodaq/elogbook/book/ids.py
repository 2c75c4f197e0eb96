"""Identities of documents: 24 hexadecimal digits whose order is the order of creation."""

from __future__ import annotations

import re
import secrets
import threading
from datetime import datetime

_ID = re.compile(r"[0-9a-f]{24}")
_STEPS_PER_SECOND = 1 << 32


class IdMaker:
    """Makes ids of 4 bytes of seconds (as an ObjectId has), 4 of fractions of a second, and 4 random ones.

    Ids of one maker are strictly increasing, whatever the clock does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def make(self, now: datetime) -> str:
        """Return a new id for something created at `now` (with an offset)."""
        steps = int(now.timestamp() * _STEPS_PER_SECOND)
        with self._lock:
            self._last = max(steps, self._last + 1)
            ticks = self._last
        return f"{ticks:016x}{secrets.token_hex(4)}"


def is_id(text: str) -> bool:
    """Whether a text has the shape of an id."""
    return _ID.fullmatch(text) is not None
