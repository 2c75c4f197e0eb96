"""Tells open pages that something changed: a server-sent event a change, fed by the ledger's events.

NOTIFY only wakes; a poll every second is the truth. An event's id is given before its transaction ends, so ids
may appear out of order: recent ids are read again and remembered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryodaq.ledger.events import CHANNEL, Event, events_after, last_event_id

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)

POLL_S = 1.0
HEARTBEAT_S = 15.0
OVERLAP = 300
"""So many ids below the newest are read again, because their transactions may have ended later."""
_QUEUE_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Topics that changed up to an event."""

    last_id: int
    topics: frozenset[str]


def topics_of(events: Iterable[Event]) -> frozenset[str]:
    """Return the pages' topics that events touch; every event touches the board."""
    topics: set[str] = set()
    for entry in events:
        topics.add("board")
        if entry.subject.sample_id is not None:
            topics.add(f"sample:{entry.subject.sample_id}")
        if entry.subject.movie_id is not None:
            topics.add(f"movie:{entry.subject.movie_id}")
        if entry.kind.startswith("alarm_"):
            topics.add("alarms")
    return frozenset(topics)


@dataclass(slots=True)
class EventReader:
    """Reads each event once, whatever the order in which transactions ended."""

    newest: int
    _seen: set[int] = field(default_factory=set)

    def read(self, connection: Connection) -> list[Event]:
        """Return events that were not returned before."""
        found = events_after(connection, max(0, self.newest - OVERLAP), limit=2 * OVERLAP)
        fresh = [entry for entry in found if entry.id not in self._seen]
        if fresh:
            self.newest = max(self.newest, fresh[-1].id)
        self._seen |= {entry.id for entry in fresh}
        self._seen = {number for number in self._seen if number > self.newest - OVERLAP}
        return fresh

    @classmethod
    def from_now(cls, connection: Connection) -> EventReader:
        """Return a reader that takes everything of the past as read."""
        newest = last_event_id(connection)
        reader = cls(newest=newest)
        reader.read(connection)
        return reader


class LiveFeed:
    """One thread that reads events, and the open pages that wait for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscribers: set[asyncio.Queue[Change | None]] = set()
        self._thread = threading.Thread(target=self._run, name="live-feed", daemon=True)

    def start(self) -> None:
        """Begin to read; call from the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End all streams and the thread; may be called twice."""
        self._stop.set()
        for queue in list(self._subscribers):
            self._put(queue, None)

    async def stream(
        self, topic: str, *, since: int | None, still_allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[str]:
        """Yield server-sent events for one page.

        Parameters
        ----------
        since
            The last event that the page has seen; what happened after it is told at once.
        still_allowed
            Asked at every heartbeat; the stream ends when it says no.
        """
        queue: asyncio.Queue[Change | None] = asyncio.Queue(_QUEUE_LENGTH)
        self._subscribers.add(queue)
        try:
            yield "retry: 2000\n\n"
            missed = await asyncio.to_thread(self._missed, since)
            yield _message(missed, topic)
            while not self._stop.is_set():
                try:
                    change = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    if not await still_allowed():
                        return
                    yield ": still here\n\n"
                    continue
                if change is None:
                    return
                if change.topics & {topic, "*"}:
                    yield _message(change, topic)
        finally:
            self._subscribers.discard(queue)

    def _missed(self, since: int | None) -> Change:
        with self._engine.connect() as connection:
            newest = last_event_id(connection)
            if since is None or since >= newest:
                return Change(last_id=newest, topics=frozenset())
            missed = events_after(connection, since, limit=500)
            complete = not missed or missed[-1].id >= newest
            return Change(last_id=newest, topics=topics_of(missed) if complete else frozenset({"*"}))

    def _run(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        while not self._stop.is_set():
            try:
                self._follow()
            except SQLAlchemyError as error:
                log.warning("the database does not answer", extra={"problem": str(error)})
                self._stop.wait(POLL_S)

    def _follow(self) -> None:
        from psycopg import Connection as PsycopgConnection
        from psycopg import OperationalError
        from sqlalchemy import text

        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, PsycopgConnection)  # noqa: S101  # database.open_engine takes no other
            connection.detach()  # listens for itself: closed at the end, and never handed to a page
            connection.execute(text(f"listen {CHANNEL}"))
            reader = EventReader.from_now(connection)
            self._broadcast(Change(last_id=reader.newest, topics=frozenset({"*"})))
            while not self._stop.is_set():
                events = reader.read(connection)
                if events:
                    self._broadcast(Change(last_id=reader.newest, topics=topics_of(events)))
                if len(events) >= OVERLAP:  # a burst: the rest is there already
                    continue
                try:
                    for _ in driver.notifies(timeout=POLL_S, stop_after=1):
                        break
                except OperationalError as error:
                    log.warning("the database went away", extra={"problem": str(error)})
                    connection.invalidate()
                    return

    def _broadcast(self, change: Change) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hand_out, change)

    def _hand_out(self, change: Change) -> None:
        for queue in list(self._subscribers):
            self._put(queue, change)

    @staticmethod
    def _put(queue: asyncio.Queue[Change | None], change: Change | None) -> None:
        if queue.full():  # a page that reads so slowly is told once that everything changed
            while not queue.empty():
                queue.get_nowait()
            if change is not None:
                change = Change(last_id=change.last_id, topics=frozenset({"*"}))
        queue.put_nowait(change)


def _message(change: Change, topic: str) -> str:
    kind = "changed" if change.topics & {topic, "*"} else "hello"
    return f"id: {change.last_id}\nevent: {kind}\ndata: {topic}\n\n"
