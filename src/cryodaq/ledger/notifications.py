"""Incidents, silences, and the outbox of messages to people: each message once a channel, kept until it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.notifications import Incident, Message, MessageKind, StandingAlarm
from cryodaq.ledger.message_tables import incident, outgoing, silence
from cryodaq.ledger.observations import UNREACHABLE
from cryodaq.ledger.tables import alarm, current_state, file, movie, share_state

LONGEST_PAUSE = timedelta(minutes=10)
"""Between two attempts at the same message."""
_LOCK = 0x6E6F_7469_6679
"""Key of the advisory lock under which incidents change: two watchers tell nothing twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that waits for its channel."""

    id: int
    channel: str
    message: Message
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alarms of which nobody is told for a while."""

    key: str
    """The beginning of their keys."""
    until: datetime
    asked_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRoom:
    """How much room a microscope's share has, and how fast it fills."""

    microscope: str
    share: str
    free_bytes: int
    total_bytes: int
    new_bytes: int
    """Of the movies that appeared within the time asked for."""


def take_turn(connection: Connection) -> bool:
    """Become the only one who changes incidents until the transaction ends; False when another one does."""
    return bool(connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK))).scalar_one())


def standing_alarms(connection: Connection) -> list[StandingAlarm]:
    """Return what is wrong now."""
    names = StandingAlarm.__dataclass_fields__
    query = select(*(alarm.c[name] for name in names)).where(alarm.c.cleared_at.is_(None))
    return [StandingAlarm(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # public name


def experiment_concerned(connection: Connection, key: str | None, *, microscope: str | None) -> str | None:
    """Return the experiment that an alarm names, else the one that was last seen active on its microscope."""
    if key is not None:
        named = select(alarm.c.experiment).where(alarm.c.key == key, alarm.c.experiment.is_not(None))
        found: str | None = connection.scalar(named.order_by(alarm.c.id.desc()).limit(1))
        if found is not None:
            return found
    if microscope is None:
        return None
    seen = select(current_state.c.experiment).where(
        current_state.c.microscope == microscope, current_state.c.assignment != UNREACHABLE
    )
    return connection.scalar(seen.order_by(current_state.c.id.desc()).limit(1))


def cleared_at(connection: Connection, keys: list[str]) -> dict[str, datetime]:
    """Return when alarms were cleared last."""
    query = select(alarm.c.key, func.max(alarm.c.cleared_at)).where(alarm.c.key == func.any(keys))
    return {row[0]: row[1] for row in connection.execute(query.group_by(alarm.c.key)) if row[1] is not None}


def open_incidents(connection: Connection) -> list[Incident]:
    """Return the incidents that are not over."""
    query = select(incident).where(incident.c.closed_at.is_(None)).order_by(incident.c.id)
    return [
        Incident(
            id=row.id,
            key=row.key,
            severity=row.severity,
            text=row.text,
            microscope=row.microscope,
            told=row.told_at is not None,
        )
        for row in connection.execute(query)
    ]


def open_incident(connection: Connection, begun: StandingAlarm, *, at: datetime) -> None:
    """Record that something is wrong for long enough."""
    values = {"key": begun.key, "severity": begun.severity, "text": begun.text, "microscope": begun.microscope}
    connection.execute(insert(incident).values(**values, opened_at=at).on_conflict_do_nothing())


def mark_told(connection: Connection, told: Incident, *, at: datetime) -> None:
    """Record that people are told of an incident."""
    connection.execute(update(incident).where(incident.c.id == told.id).values(told_at=at))


def close_incident(connection: Connection, over: Incident, *, at: datetime) -> None:
    """Record that something is right again."""
    connection.execute(update(incident).where(incident.c.id == over.id).values(closed_at=at))


def add_silence(connection: Connection, key: str, *, until: datetime, asked_by: str, at: datetime) -> None:
    """Let nobody be told of alarms whose key begins so."""
    connection.execute(silence.insert().values(key=key, until=until, asked_by=asked_by, asked_at=at))


def silences(connection: Connection, *, at: datetime) -> list[Silence]:
    """Return the silences that hold at a moment."""
    query = select(silence.c.key, silence.c.until, silence.c.asked_by).where(silence.c.until > at)
    found = connection.execute(query.order_by(silence.c.until))
    return [Silence(**row._mapping) for row in found]  # noqa: SLF001  # public name


def enqueue(connection: Connection, channel: str, message: Message, *, at: datetime) -> bool:
    """Put a message into the outbox of a channel; the same again changes nothing. Return whether it is new."""
    plain = {**asdict(message), "at": message.at.isoformat(), "kind": message.kind.value}
    statement = (
        insert(outgoing)
        .values(channel=channel, message_id=message.id, message=plain, created_at=at, next_attempt_at=at)
        .on_conflict_do_nothing(constraint="uq_outgoing_message")
        .returning(outgoing.c.id)
    )
    return connection.execute(statement).first() is not None


def newest(connection: Connection, channel: str) -> datetime | None:
    """Return the time of the newest message that a channel was given; None before the first."""
    query = select(outgoing.c.message["at"].astext).where(outgoing.c.channel == channel)
    found = connection.scalar(query.order_by(outgoing.c.id.desc()).limit(1))
    return None if found is None else datetime.fromisoformat(found)


@contextmanager
def next_due(connection: Connection, channels: list[str], *, at: datetime) -> Iterator[Outgoing | None]:
    """Lock the oldest message that is due; who crashes before the transaction ends leaves it to be sent again."""
    query = (
        select(outgoing)
        .where(outgoing.c.sent_at.is_(None), outgoing.c.next_attempt_at <= at, outgoing.c.channel == func.any(channels))
        .order_by(outgoing.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).first()
    if row is None:
        yield None
        return
    yield Outgoing(id=row.id, channel=row.channel, message=_message(row.message), attempts=row.attempts)


def _message(plain: Mapping[str, Any]) -> Message:  # Any: JSON that `enqueue` wrote
    return Message(
        **{
            **plain,
            "at": datetime.fromisoformat(plain["at"]),
            "kind": MessageKind(plain["kind"]),
            "recipients": tuple(plain.get("recipients", ())),
        },
    )


def mark_sent(connection: Connection, sent: Outgoing, *, at: datetime) -> None:
    """Record that the channel took a message."""
    connection.execute(
        update(outgoing).where(outgoing.c.id == sent.id).values(sent_at=at, attempts=sent.attempts + 1, problem=None)
    )


def mark_unsent(connection: Connection, waiting: Outgoing, *, problem: str, at: datetime) -> None:
    """Record why a message was not taken; it is tried again, the pause doubling up to ten minutes."""
    pause = min(LONGEST_PAUSE, timedelta(seconds=5.0 * 2.0 ** min(waiting.attempts, 10)))
    connection.execute(
        update(outgoing)
        .where(outgoing.c.id == waiting.id)
        .values(attempts=waiting.attempts + 1, next_attempt_at=at + pause, problem=problem)
    )


def unsent(connection: Connection) -> dict[str, int]:
    """Return how many messages wait for each channel."""
    query = select(outgoing.c.channel, func.count()).where(outgoing.c.sent_at.is_(None)).group_by(outgoing.c.channel)
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def database_time(connection: Connection) -> datetime:
    """Return the database server's clock."""
    found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return found


def rooms_of_shares(connection: Connection, *, since: datetime) -> list[ShareRoom]:
    """Return how much room the shares have, and what appeared on them since a time."""
    new = func.coalesce(func.sum(file.c.size_bytes), 0).label("new_bytes")
    seen = (file.c.microscope == share_state.c.microscope) & (file.c.share == share_state.c.share)
    seen &= file.c.role == "movie"  # nearly all bytes are movies', and their times have an index
    query = (
        select(share_state.c.microscope, share_state.c.share, share_state.c.free_bytes, share_state.c.total_bytes, new)
        .outerjoin(file, seen & (file.c.seen_at >= since))
        .where(share_state.c.total_bytes > 0, share_state.c.free_bytes.is_not(None))
        .group_by(share_state.c.microscope, share_state.c.share, share_state.c.free_bytes, share_state.c.total_bytes)
    )
    return [
        ShareRoom(**{**row._mapping, "new_bytes": int(row.new_bytes)})  # noqa: SLF001  # public name
        for row in connection.execute(query)
    ]


def movies_since(connection: Connection, since: datetime) -> int:
    """Return how many movies were copied since a time."""
    query = select(func.count()).select_from(movie).where(movie.c.registered_at >= since)
    return int(connection.execute(query).scalar_one())
