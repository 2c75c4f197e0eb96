"""What the elogbook said when, by several that ask it beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from cryodaq.database import open_engine
from cryodaq.domain.experiment import Assignment
from cryodaq.ledger.observations import Observation, polls_since, record_observation

START = datetime(2026, 11, 22, 8, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


def said(engine: Engine, name: str, *, asked_s: float, answered_s: float, now_s: float | None = None) -> bool:
    at = None if now_s is None else START + timedelta(seconds=now_s)
    seen = Observation(
        microscope="tem1",
        asked_at=START + timedelta(seconds=asked_s),
        answered_at=START + timedelta(seconds=answered_s),
        assignment=Assignment.SAMPLE,
        sample_name=name,
    )
    with engine.begin() as connection:
        return record_observation(connection, seen, at=at)


def on_record(engine: Engine) -> list[float]:
    """Seconds of all polls on record."""
    with engine.connect() as connection:
        polls = polls_since(connection, "tem1", START)
    return sorted({(poll.asked_at - START).total_seconds() for poll in polls})


def test_an_answer_that_lay_while_others_asked_is_not_taken_for_a_new_one(engine: Engine) -> None:
    assert said(engine, "grid1", asked_s=0, answered_s=1)
    assert said(engine, "grid2", asked_s=70, answered_s=71)
    assert not said(engine, "grid1", asked_s=60, answered_s=3600)
    assert not said(engine, "grid1", asked_s=60, answered_s=61, now_s=3600)
    assert on_record(engine) == [1, 71]


def test_after_the_clock_was_put_back_answers_count_at_once(engine: Engine) -> None:
    assert said(engine, "grid1", asked_s=3600, answered_s=3601)
    assert said(engine, "grid2", asked_s=10, answered_s=11)
    assert on_record(engine) == [11, 3601]
