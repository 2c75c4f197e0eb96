"""Alarms become entries of the experiment that they concern."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from cryodaq.app.note_alarms import elogbook_channel
from cryodaq.app.notify_people import Notifying, notify
from cryodaq.database import open_engine
from cryodaq.domain.experiment import Assignment
from cryodaq.ledger.events import Subject, clear_alarm, raise_alarm
from cryodaq.ledger.observations import Observation, record_observation
from cryodaq.testing.fake_logbook import FakeLogbook

MINE, THEIRS = "20261122-CS01", "20261122-CS02"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


def test_each_alarm_is_told_once_in_the_experiment_that_it_concerns(engine: Engine) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    logbook = FakeLogbook()
    logbook.add_instrument("TEM1")
    for experiment in (MINE, THEIRS):
        logbook.add_experiment(experiment, instrument="TEM1")
    with engine.begin() as connection:
        seen = Observation(
            microscope="tem1", asked_at=now, answered_at=now, assignment=Assignment.NO_SAMPLE, experiment=MINE
        )
        record_observation(connection, seen)
        for key, text, subject in (
            ("share:tem1", "the share is full", Subject(microscope="tem1")),
            ("copy:b", "a copy differs", Subject(microscope="tem1", experiment=THEIRS)),
            ("clock:node1", "a clock jumped", Subject()),
        ):
            raise_alarm(connection, key, severity="error", message=text, at=now, subject=subject)
    notifying = Notifying(
        engine=engine,
        channels=[elogbook_channel(engine, logbook, microscopes=["tem1"])],
        site="here",
        zone=ZoneInfo("UTC"),
        hold=timedelta(minutes=1),
        alive_at=None,
        now=lambda: now,
    )
    now += timedelta(minutes=2)
    logbook.is_down = True
    notify(notifying)
    logbook.is_down = False
    for _ in range(3):
        now += timedelta(minutes=2)
        notify(notifying)
    assert logbook.recorded_notes(MINE) == ["Error: the share is full"]
    assert logbook.recorded_notes(THEIRS) == ["Error: a copy differs"]
    with engine.begin() as connection:
        clear_alarm(connection, "share:tem1", at=now)
    now += timedelta(minutes=2)
    notify(notifying)
    assert logbook.recorded_notes(MINE) == ["Error: the share is full", "Over: the share is full"]
