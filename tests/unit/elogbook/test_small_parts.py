"""Ids, times, run numbers and JSON of the elogbook."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.elogbook.api.bodies import parse_json
from cryodaq.elogbook.book.ids import IdMaker, is_id
from cryodaq.elogbook.book.run_numbers import read_run_number
from cryodaq.elogbook.book.times import WITH_FRACTION, read_time, to_milliseconds, write_time
from cryodaq.elogbook.refusals import BadRequestError

NOW = datetime(2026, 11, 22, 5, 11, 50, 107_999, tzinfo=UTC)


def test_ids_increase_even_when_the_clock_goes_back() -> None:
    maker = IdMaker()
    moments = [NOW, NOW, NOW - timedelta(hours=1), NOW + timedelta(microseconds=1)]
    ids = [maker.make(moment) for moment in moments for _ in range(100)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(is_id(found) for found in ids)
    assert int(ids[0][:8], 16) == int(NOW.timestamp())


def test_ids_of_two_servers_are_in_the_order_of_time() -> None:
    first, second = IdMaker().make(NOW), IdMaker().make(NOW + timedelta(milliseconds=1))
    assert first < second


def test_times_are_written_in_milliseconds_and_without_an_empty_fraction() -> None:
    assert write_time(NOW) == "2026-11-22T05:11:50.107000+00:00"
    assert write_time(NOW.replace(microsecond=999)) == "2026-11-22T05:11:50+00:00"


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_written_time_is_read_again(moment: datetime) -> None:
    assert read_time(write_time(moment), what="t", strict_format=None) == to_milliseconds(moment)


@pytest.mark.parametrize(
    "text", ["2026-11-22T08:00:00Z", "2026-11-22T08:00:00.000Z", "2026-11-22T09:00:00+01:00", "2026-11-22T08:00:00"]
)
def test_all_usual_ways_to_write_a_time_mean_the_same(text: str) -> None:
    assert read_time(text, what="t", strict_format=None) == datetime(2026, 11, 22, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", 5, None, "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(BadRequestError, match="start_time must be a time"):
        read_time(text, what="start_time", strict_format=None)


def test_an_explgbks_format_needs_its_fraction() -> None:
    with pytest.raises(BadRequestError):
        read_time("2026-11-22T08:00:00Z", what="t", strict_format=WITH_FRACTION)


def test_run_numbers_are_integers_or_names() -> None:
    assert read_run_number("00042").value == 42
    assert read_run_number(42).value == 42
    assert read_run_number("1_2").value == "1_2"
    assert read_run_number("9" * 30).value == "9" * 30
    assert read_run_number("00042", verbatim=True).value == "00042"
    for wrong in ("", True, 1.5, None, [], "x" * 501, 10**30):
        with pytest.raises(BadRequestError):
            read_run_number(wrong)


def test_numbers_that_json_cannot_say_become_text() -> None:
    assert parse_json(b'{"a": [NaN, Infinity, -Infinity, 1e999, -1e999, 4.0]}') == {
        "a": ["NaN", "Infinity", "-Infinity", "Infinity", "-Infinity", 4.0]
    }


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'"a\\u0000"', b'{"\\u0000": 1}', b'["\\ud800"]', b"[" * 100_000, b"[" * 60 + b"]" * 60],
)
def test_json_that_cannot_be_kept_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse_json(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("aäß€ 𝒳"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab."), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_ordinary_json_is_read_as_it_is(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
