"""Events and alarms: what people are told, written in the transaction of the fact itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.tables import alarm, event

CHANNEL = "cryodaq_event"
"""NOTIFY only wakes the pages; the table is the truth."""
PROCESSING_PAUSED = "target-low-processing"
"""The alarm of a microscope, `<this>:<name>`, while which no movie is handed over for processing."""
Severity = Literal["notice", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an event or alarm is about; unknown parts are None."""

    microscope: str | None = None
    experiment: str | None = None
    sample_id: str | None = None
    movie_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """One thing that happens in a transaction."""

    kind: str
    at: datetime
    subject: Subject
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    id: int
    at: datetime
    kind: str
    subject: Subject
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing that is wrong now."""

    key: str
    severity: str
    text: str
    subject: Subject
    raised_at: datetime


def record_event(
    connection: Connection,
    kind: str,
    *,
    at: datetime,
    subject: Subject,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write an event and wake whoever listens once the transaction ends."""
    record_events(connection, [NewEvent(kind=kind, at=at, subject=subject, facts=facts or {})])


def record_events(connection: Connection, happened: Sequence[NewEvent]) -> None:
    """Write events and wake whoever listens once the transaction ends, in one statement."""
    if happened:
        rows = [{"at": one.at, "kind": one.kind, "facts": dict(one.facts), **asdict(one.subject)} for one in happened]
        connection.execute(insert(event).returning(func.pg_notify(CHANNEL, "")), rows)


def raise_alarm(
    connection: Connection, key: str, *, severity: Severity, message: str, at: datetime, subject: Subject
) -> bool:
    """Raise an alarm, or refresh the open one of that key. Return whether it is new."""
    values = {
        "key": key,
        "microscope": subject.microscope,
        "experiment": subject.experiment,
        "sample_id": subject.sample_id,
        "severity": severity,
        "text": message,
    }
    statement = (
        insert(alarm)
        .values(**values, raised_at=at, seen_at=at)
        .on_conflict_do_update(
            index_elements=[alarm.c.key],
            index_where=alarm.c.cleared_at.is_(None),
            set_={"seen_at": at, "text": message, "severity": severity},
        )
        .returning(alarm.c.raised_at == at)
    )
    new = bool(connection.execute(statement).scalar_one())
    if new:
        record_event(connection, "alarm_raised", at=at, subject=subject, facts={"key": key, "text": message})
    return new


def clear_alarm(connection: Connection, key: str, *, at: datetime) -> bool:
    """Clear the open alarm of a key. Return whether there was one."""
    return clear_alarms(connection, [key], at=at) > 0


def clear_alarms(connection: Connection, keys: Collection[str], *, at: datetime) -> int:
    """Clear the open alarms of some keys. Return how many there were."""
    if not keys:
        return 0
    open_ones = alarm.c.key == func.any(list(keys)), alarm.c.cleared_at.is_(None)
    rows = connection.execute(update(alarm).where(*open_ones).values(cleared_at=at).returning(alarm)).all()
    for row in rows:
        subject = Subject(microscope=row.microscope, experiment=row.experiment, sample_id=row.sample_id)
        record_event(connection, "alarm_cleared", at=at, subject=subject, facts={"key": row.key, "text": row.text})
    return len(rows)


def clear_alarms_except(connection: Connection, prefix: str, *, keep: Sequence[str], at: datetime) -> None:
    """Clear all open alarms whose key begins with `prefix`, except those in `keep`."""
    keys = connection.execute(
        select(alarm.c.key).where(alarm.c.cleared_at.is_(None), alarm.c.key.startswith(prefix, autoescape=True))
    ).scalars()
    clear_alarms(connection, [key for key in keys if key not in keep], at=at)


def open_alarms(connection: Connection, *, microscope: str | None = None) -> list[Alarm]:
    """Return what is wrong now, newest first."""
    query = select(alarm).where(alarm.c.cleared_at.is_(None)).order_by(alarm.c.raised_at.desc())
    if microscope is not None:
        query = query.where(alarm.c.microscope == microscope)
    return [
        Alarm(
            key=row.key,
            severity=row.severity,
            text=row.text,
            subject=Subject(microscope=row.microscope, experiment=row.experiment, sample_id=row.sample_id),
            raised_at=row.raised_at,
        )
        for row in connection.execute(query)
    ]


def is_raised(connection: Connection, key: str) -> bool:
    """Whether an alarm is open."""
    found = connection.execute(select(alarm.c.id).where(alarm.c.key == key, alarm.c.cleared_at.is_(None))).first()
    return found is not None


def events_after(connection: Connection, last_id: int, *, limit: int = 500) -> list[Event]:
    """Return the events after one id, oldest first."""
    query = select(event).where(event.c.id > last_id).order_by(event.c.id).limit(limit)
    return [
        Event(
            id=row.id,
            at=row.at,
            kind=row.kind,
            subject=Subject(
                microscope=row.microscope,
                experiment=row.experiment,
                sample_id=row.sample_id,
                movie_id=row.movie_id,
            ),
            facts=row.facts,
        )
        for row in connection.execute(query)
    ]


def last_event_id(connection: Connection) -> int:
    """Return the newest event's id, 0 when there is none."""
    return int(connection.execute(select(func.coalesce(func.max(event.c.id), 0))).scalar_one())
