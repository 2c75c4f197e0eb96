"""A clock that moves only when the microscope sleeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cryodaq.simulator.plan import Clock


class FakeTime:
    """Starts on 22 November 2026 at 09:15:03 UTC; `on_sleep` is called before each sleep."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 22, 9, 15, 3, tzinfo=UTC)
        self.on_sleep: Callable[[], None] = lambda: None
        self.clock = Clock(now=lambda: self.moment, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.on_sleep()
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()
