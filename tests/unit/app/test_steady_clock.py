"""Times that stay in their order when the wall clock does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryodaq.app.steady_clock import SteadyClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def told(*walls_s: float, not_before_s: float | None = None) -> list[float]:
    """Return what is told while the wall clock shows some times, s after noon; the first is when it is made."""
    walls = iter(NOON + timedelta(seconds=wall_s) for wall_s in walls_s)
    before = None if not_before_s is None else NOON + timedelta(seconds=not_before_s)
    clock = SteadyClock(lambda: next(walls), not_before=before)
    return [(clock.now() - NOON).total_seconds() for _ in walls_s[1:]]


def test_it_is_the_wall_clock_as_long_as_that_goes_on() -> None:
    assert told(0, 1, 5, 7205) == [1, 5, 7205]


def test_after_the_clock_was_put_back_it_goes_on_slower_until_the_wall_clock_has_caught_up() -> None:
    assert told(7200, 7201, 1, 101, 10_001, 20_000) == [7201, 7201, 7251, 12_201, 20_000]


def test_it_goes_on_from_the_last_time_on_record() -> None:
    assert told(0, 10, 20, 3000, not_before_s=600) == [605, 610, 3000]


def test_a_time_on_record_that_lies_days_ahead_is_not_believed() -> None:
    assert told(0, 10, not_before_s=3 * 86_400) == [10]
    assert told(3 * 86_400, 3 * 86_400 + 1, 5) == [3 * 86_400 + 1, 5]
