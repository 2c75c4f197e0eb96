"""Tell people outside what is wrong and when it is right again, through an outbox in the ledger."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cryodaq.domain.notifications import Incident, Message, MessageKind, developments, reaches
from cryodaq.errors import NotificationError
from cryodaq.ledger import notifications
from cryodaq.ledger.events import Subject, clear_alarm, raise_alarm
from cryodaq.ports import Notifier

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger(__name__)
AT_ONCE = 50
"""Messages sent in one turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One way to reach some people."""

    name: str
    notifier: Notifier
    least_severity: str
    microscopes: frozenset[str]
    """Whose alarms these people take; alarms of no microscope reach every channel."""
    says_alive: bool
    takes_alarms: bool = True

    def takes(self, microscope: str | None, severity: str) -> bool:
        """Whether something is for these people."""
        concerned = microscope is None or microscope in self.microscopes
        return self.takes_alarms and concerned and reaches(severity, self.least_severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifying:
    """What telling people needs."""

    engine: Engine
    channels: Sequence[Channel]
    site: str
    zone: ZoneInfo
    hold: timedelta
    """How long an alarm must have stood, or been gone."""
    alive_at: time | None
    """When the daily word comes, the site's time; None: never."""
    now: Callable[[], datetime]
    digest: Callable[[Connection], int] | None = None
    """Puts what collaborators are to be told into the outbox; None: they are told nothing."""
    log_entries: Callable[[], int] | None = None
    """Puts entries of logs that people get into the outbox; None: nobody gets any."""


def notify(notifying: Notifying) -> int:
    """Look at the alarms, fill the outbox, send what is due; return how many messages went out."""
    with notifying.engine.begin() as connection:
        if notifications.take_turn(connection):
            _follow_alarms(notifying, connection)
            _say_alive(notifying, connection)
            if notifying.digest is not None:
                notifying.digest(connection)
    if notifying.log_entries is not None:
        notifying.log_entries()
    return _send_due(notifying)


def _follow_alarms(notifying: Notifying, connection: Connection) -> None:
    at = notifying.now()
    standing, known = notifications.standing_alarms(connection), notifications.open_incidents(connection)
    silenced = [one.key for one in notifications.silences(connection, at=at)]
    found = developments(
        standing,
        known,
        cleared_at=notifications.cleared_at(connection, [one.key for one in known]),
        is_silenced=lambda key: any(key.startswith(beginning) for beginning in silenced),
        hold=notifying.hold,
        now=at,
    )
    for alarm in found.begun:
        notifications.open_incident(connection, alarm, at=at)
    begun = {alarm.key for alarm in found.begun}
    fresh = [
        one
        for one in notifications.open_incidents(connection)
        if one.key in begun and not any(one.key.startswith(beginning) for beginning in silenced)
    ]
    for incident in (*found.to_tell, *fresh):
        notifications.mark_told(connection, incident, at=at)
        _queue(notifying, connection, incident, MessageKind.RAISED)
    for incident in found.over:
        notifications.close_incident(connection, incident, at=at)
        if incident.told:
            _queue(notifying, connection, incident, MessageKind.CLEARED)


def _queue(notifying: Notifying, connection: Connection, incident: Incident, kind: MessageKind) -> None:
    at = notifying.now()
    message = Message(
        id=f"incident-{incident.id}-{kind.value}",
        kind=kind,
        severity=incident.severity,
        text=incident.text,
        at=at,
        site=notifying.site,
        microscope=incident.microscope,
        key=incident.key,
    )
    for channel in notifying.channels:
        if channel.takes(incident.microscope, incident.severity):
            notifications.enqueue(connection, channel.name, message, at=at)


def _say_alive(notifying: Notifying, connection: Connection) -> None:
    """Once a day: who hears nothing knows that nobody watches."""
    at = notifying.now()
    here = at.astimezone(notifying.zone)
    if notifying.alive_at is None or here.time() < notifying.alive_at:
        return
    movies = notifications.movies_since(connection, at - timedelta(days=1))
    wrong = [one for one in notifications.standing_alarms(connection) if one.severity != "notice"]
    text = f"cryodaq is watching; {movies} movies were copied in the last 24 h"
    text += f"; {len(wrong)} alarms stand: " + "; ".join(one.text for one in wrong) if wrong else "; nothing is wrong"
    message = Message(
        id=f"alive-{here.date().isoformat()}",
        kind=MessageKind.ALIVE,
        severity="notice",
        text=text,
        at=at,
        site=notifying.site,
    )
    for channel in notifying.channels:
        if channel.says_alive:
            notifications.enqueue(connection, channel.name, message, at=at)


def _send_due(notifying: Notifying) -> int:
    by_name = {channel.name: channel for channel in notifying.channels}
    sent = 0
    for _ in range(AT_ONCE):
        with (
            notifying.engine.begin() as connection,
            notifications.next_due(connection, list(by_name), at=notifying.now()) as due,
        ):
            if due is None:
                break
            key = f"notify:{due.channel}"
            try:
                by_name[due.channel].notifier.send(due.message)
            except NotificationError as error:
                log.warning("a message was not taken", extra={"channel": due.channel, "problem": str(error)})
                at = notifying.now()
                notifications.mark_unsent(connection, due, problem=str(error), at=at)
                message = f"nobody is told through {due.channel}: {error}"
                raise_alarm(connection, key, severity="warning", message=message, at=at, subject=Subject())
            else:
                sent += 1
                notifications.mark_sent(connection, due, at=notifying.now())
                clear_alarm(connection, key, at=notifying.now())
    return sent


def send_at_once(notifying: Notifying, channel: Channel, text: str, *, kind: MessageKind, severity: str) -> None:
    """Send a message past the outbox: a test, or when there is no ledger. Raises `NotificationError`."""
    channel.notifier.send(
        Message(
            id=f"{kind.value}-{uuid.uuid4().hex}",
            kind=kind,
            severity=severity,
            text=text,
            at=notifying.now(),
            site=notifying.site,
        )
    )
