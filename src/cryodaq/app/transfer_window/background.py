"""Something that is done over and over in a thread of its own, because it may wait for somebody else."""

from __future__ import annotations

import threading
from collections.abc import Callable

JOIN_S = 2.0
"""How long the end waits for what is under way; what hangs is left behind."""


class Background:
    """Does `act` every `every_s` seconds, or at once when asked to."""

    def __init__(self, act: Callable[[], None], *, every_s: float, name: str) -> None:
        self._act = act
        self._every_s = every_s
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def now(self) -> None:
        """Do it at once instead of at the next turn."""
        self._asked.set()

    def check(self) -> None:
        """Raise what ended the thread before its time, such as a lost database."""
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """End after what is under way."""
        self._ended.set()
        self._asked.set()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._asked.clear()
                self._act()
                self._asked.wait(self._every_s)
        except Exception as error:  # noqa: BLE001  # the thread's outermost loop: `check` hands it to the owner
            self._failure = error
