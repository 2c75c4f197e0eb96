"""Times of every program become one kind of text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.formats.times import iso_time


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2025-01-08T15:49:21.1049704+00:00", "2025-01-08T15:49:21.104970+00:00"),
        ("2020-02-06T17:06:06.9595601+01:00", "2020-02-06T17:06:06.959560+01:00"),
        ("2025-01-08T15:10:39Z", "2025-01-08T15:10:39+00:00"),
        ("25-Sep-23  14:13:26", "2023-09-25T14:13:26"),
        ("08-Oct-2021  07:39:08", "2021-10-08T07:39:08"),
        ("Apr-08-2022 12:34:56", "2022-04-08T12:34:56"),
        ("31-Jun-23  10:00:00", "31-Jun-23  10:00:00"),
        ("8-Okt-23  10:00:00", "8-Okt-23  10:00:00"),
        ("yesterday", "yesterday"),
        ("  ", None),
        (None, None),
    ],
)
def test_each_dialect_is_understood_and_the_unknown_is_kept(written: str | None, expected: str | None) -> None:
    assert iso_time(written) == expected


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1000))
def test_a_time_in_iso_is_read_back_as_the_same_moment(moment: datetime) -> None:
    said = iso_time(moment.isoformat())
    assert said is not None
    assert datetime.fromisoformat(said) == moment


@given(st.text(max_size=80))
def test_any_text_is_a_time_or_stays_a_text(text: str) -> None:
    found = iso_time(text)
    assert found is None or len(found) <= 60
