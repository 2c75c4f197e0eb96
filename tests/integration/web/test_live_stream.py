"""Open pages hear of changes at once, miss none over a reconnect, and hold nothing up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from sqlalchemy import Engine, text

from cryodaq.ledger.events import Subject, last_event_id, record_event
from cryodaq.testing.fake_access import Account, FakeAccessControl
from cryodaq.testing.running_pages import running_pages
from cryodaq.testing.seeded_ledger import LedgerSeeder
from cryodaq.web.live import EventReader, topics_of
from cryodaq.web.settings import SESSION_COOKIE, WebSettings

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MINE = "20261122-CS01"
A, B = "a" * 24, "b" * 24


@pytest.fixture
def settings(database_url: str, engine: Engine, tmp_path: Path) -> WebSettings:
    seed = LedgerSeeder(engine=engine, storage=tmp_path, now=NOW)
    seed.add_sample(A, experiment=MINE)
    seed.add_sample(B, experiment="20261122-CX99")
    access = FakeAccessControl(
        accounts={"user": Account(full_name="Uwe", password="x", reads={MINE})}, sessions={"user": "user"}
    )
    return WebSettings(
        database_url=database_url, access=access, microscopes=("tem1",), zone=ZoneInfo("UTC"), clock=lambda: NOW
    )


def happen(engine: Engine, *, sample: str | None = A, kind: str = "movie_published") -> int:
    """Write an event and return its id."""
    with engine.begin() as connection:
        record_event(connection, kind, at=NOW, subject=Subject(microscope="tem1", sample_id=sample))
        return last_event_id(connection)


def listen(
    url: str, topic: str, *, since: int | None = None, last_event_id: int | None = None
) -> Iterator[tuple[str, int]]:
    """Yield (kind, id) of a stream's messages."""
    params = {"topic": topic, **({} if since is None else {"since": since})}
    headers = {} if last_event_id is None else {"last-event-id": str(last_event_id)}
    cookies = {SESSION_COOKIE: "user"}
    with (
        httpx.Client(cookies=cookies, timeout=10) as client,
        client.stream("GET", f"{url}/live", params=params, headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        message: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                key, _, value = line.partition(": ")
                message[key] = value
            elif "event" in message:
                yield message["event"], int(message["id"])
                message = {}


def test_a_change_is_heard(settings: WebSettings, engine: Engine) -> None:
    with running_pages(settings) as url:
        messages = listen(url, f"sample:{A}")
        kind, _ = next(messages)
        while kind == "changed":  # what happened while the feed began
            kind, _ = next(messages)
        assert kind == "hello"
        event_id = happen(engine)
        heard = next(messages)
        while heard[1] < event_id:
            heard = next(messages)
        assert heard == ("changed", event_id)


def test_what_happened_while_away_is_told_on_return(settings: WebSettings, engine: Engine) -> None:
    seen = happen(engine)
    missed = happen(engine)
    with running_pages(settings) as url:
        assert next(listen(url, f"sample:{A}", last_event_id=seen)) == ("changed", missed)
        assert next(listen(url, f"sample:{A}", since=seen)) == ("changed", missed)
        assert next(listen(url, f"sample:{A}", since=seen, last_event_id=missed)) == ("hello", missed)
        assert next(listen(url, "alarms", last_event_id=seen)) == ("hello", missed)


def test_only_who_may_read_a_sample_may_listen(settings: WebSettings) -> None:
    with running_pages(settings) as url:
        mine = {SESSION_COOKIE: "user"}
        for topic in (f"sample:{B}", "movie:1", "sample:", "movie:x", "nonsense"):
            assert httpx.get(f"{url}/live", params={"topic": topic}, cookies=mine).status_code == 204
        assert httpx.get(f"{url}/live", params={"topic": "board"}).status_code == 204


def test_open_streams_are_ended_when_the_pages_end(settings: WebSettings) -> None:
    """A stream that the server had to cut off, because it held the end up, would raise here."""
    with running_pages(settings) as url:
        messages = listen(url, "board")
        next(messages)
    assert {kind for kind, _ in messages} <= {"hello", "changed"}


def test_a_feed_survives_the_loss_of_its_connection(settings: WebSettings, engine: Engine) -> None:
    with running_pages(settings) as url:
        messages = listen(url, "board")
        next(messages)
        with engine.connect() as connection:
            connection.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
            )
        deadline = time.monotonic() + 10
        event_id = None
        while time.monotonic() < deadline:
            event_id = event_id or happen(engine)
            if next(messages)[1] >= event_id:
                return
        pytest.fail("nothing was heard after the connection was lost")


def test_an_event_whose_transaction_ends_late_is_still_read(engine: Engine) -> None:
    with engine.connect() as reading, engine.connect() as slow:
        reader = EventReader.from_now(reading)
        reading.rollback()
        with slow.begin():
            record_event(slow, "slow", at=NOW, subject=Subject(sample_id=A))
            happen(engine, kind="quick")
            assert [entry.kind for entry in reader.read(reading)] == ["quick"]
            reading.rollback()
        assert [entry.kind for entry in reader.read(reading)] == ["slow"]
        reading.rollback()
        assert reader.read(reading) == []


def test_an_event_touches_the_pages_that_show_it(engine: Engine) -> None:
    with engine.begin() as connection:
        reader = EventReader.from_now(connection)
        record_event(connection, "alarm_raised", at=NOW, subject=Subject(sample_id=A, movie_id=7))
        assert topics_of(reader.read(connection)) == {"board", "alarms", f"sample:{A}", "movie:7"}
