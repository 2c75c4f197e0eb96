"""Numbers have units, times have offsets, text is never markup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cryodaq.web.presentation import (
    MOVIE_STATES,
    age,
    breakable,
    count,
    duration,
    moment,
    number,
    size,
    state_badge,
    unbroken,
)

BERLIN = ZoneInfo("Europe/Berlin")
NNBSP, NBSP = "\u202f", "\u00a0"


def test_numbers_carry_their_unit() -> None:
    assert number(12345.6, "Å", 0) == f"12{NNBSP}346{NBSP}Å"
    assert number(37.54, "°", 1) == "37.5°"
    assert number(None, "Å") == "–"
    assert count(1, "file") == f"1{NBSP}file"
    assert count(2, "file") == f"2{NBSP}files"


@pytest.mark.parametrize(
    ("value", "text"), [(999, "999 B"), (412_334_112, "412 MB"), (7_100_000_000_000, "7.10 TB"), (None, "–")]
)
def test_sizes_use_the_unit_that_suits(value: int | None, text: str) -> None:
    assert size(value) == text.replace(" ", NBSP)


def test_a_time_is_shown_in_the_sites_zone_with_its_offset() -> None:
    summer = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    assert ">2026-07-01 14:00:00 +02:00<" in moment(summer, BERLIN)
    assert 'datetime="2026-07-01T14:00:00+02:00"' in moment(summer, BERLIN)
    assert ">2026-07-01 08:00:00 -04:00<" in moment(summer, ZoneInfo("America/New_York"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59, "59 s"), (61, "1 min"), (3700, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds).replace(NBSP, " ") == text


def test_an_age_keeps_the_exact_time_for_the_script_and_the_title() -> None:
    now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    text = age(now - timedelta(seconds=90), now, BERLIN)
    assert "data-age" in text
    assert f"1{NBSP}min ago" in text
    assert "+01:00" in text


def test_hostile_names_stay_text() -> None:
    name = '<script>alert(1)</script>_"x'
    assert "<script>" not in breakable(name)
    assert "<script>" not in state_badge(name, MOVIE_STATES)
    assert breakable("a_b/c") == "a_<wbr>b/<wbr>c"


def test_a_number_stays_on_one_line_with_its_unit() -> None:
    assert unbroken("40 frames × 1.1 e⁻/Å² = 44 e⁻/Å²; look at 3 things") == (
        "40\u00a0frames × 1.1\u00a0e⁻/Å² = 44\u00a0e⁻/Å²; look at 3 things"
    )
