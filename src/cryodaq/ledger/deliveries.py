"""The outbox of the elogbook: what it is to be told, kept until it has answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.events import Subject, clear_alarm, raise_alarm
from cryodaq.ledger.tables import delivery

CALLS = ("start_run", "change_sample", "add_run_params", "register_files", "end_run", "add_note")
LOG = ""
"""In the place of a run's name: the call is about the experiment's log."""
LONGEST_PAUSE = timedelta(minutes=5)
"""Between two attempts at the same delivery."""
_SENDER_LOCK = 0x6C6F_6762_6F6F_6B
"""Key of the advisory lock that only one sender holds, so that deliveries of a run keep their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One call to the elogbook that it has not accepted yet."""

    id: int
    experiment: str
    run_name: str
    call: str
    payload: Mapping[str, object]
    attempts: int

    @property
    def run(self) -> tuple[str, str]:
        """What its order is kept within."""
        return (self.experiment, self.run_name)


def enqueue(
    connection: Connection,
    experiment: str,
    *,
    run_name: str,
    call: str,
    payload: Mapping[str, object],
    key: str,
    at: datetime,
) -> bool:
    """Put a call into the outbox; the same key again changes nothing. Return whether it is new."""
    statement = (
        insert(delivery)
        .values(
            experiment=experiment,
            run_name=run_name,
            call=call,
            payload=dict(payload),
            key=key,
            created_at=at,
            next_attempt_at=at,
        )
        .on_conflict_do_nothing(index_elements=[delivery.c.key])
        .returning(delivery.c.id)
    )
    return connection.execute(statement).first() is not None


def take_sender_lock(connection: Connection) -> bool:
    """Become the only sender for as long as this connection lives; False when another one is at work."""
    return bool(connection.execute(select(func.pg_try_advisory_lock(_SENDER_LOCK))).scalar_one())


def give_sender_lock_back(connection: Connection) -> None:
    """Let another sender work."""
    connection.execute(select(func.pg_advisory_unlock(_SENDER_LOCK)))


def due(connection: Connection, now: datetime, *, limit: int = 500) -> list[Delivery]:
    """Return what may be sent now, in the order of its making.

    A delivery waits for every earlier one of its run; other runs do not wait for it.
    """
    earlier = delivery.alias("earlier")
    blocked = (
        select(earlier.c.id)
        .where(
            earlier.c.experiment == delivery.c.experiment,
            earlier.c.run_name == delivery.c.run_name,
            earlier.c.id <= delivery.c.id,
            earlier.c.delivered_at.is_(None),
            earlier.c.next_attempt_at > now,
        )
        .exists()
    )
    query = select(delivery).where(delivery.c.delivered_at.is_(None), ~blocked).order_by(delivery.c.id).limit(limit)
    return [
        Delivery(
            id=row.id,
            experiment=row.experiment,
            run_name=row.run_name,
            call=row.call,
            payload=row.payload,
            attempts=row.attempts,
        )
        for row in connection.execute(query)
    ]


def mark_delivered(connection: Connection, sent: Delivery, *, at: datetime) -> None:
    """Record that the elogbook has it; the alarm of its experiment ends with the last refusal."""
    connection.execute(
        update(delivery)
        .where(delivery.c.id == sent.id)
        .values(delivered_at=at, attempts=delivery.c.attempts + 1, problem=None)
    )
    if sent.attempts and not _refused(connection, sent.experiment):
        clear_alarm(connection, _alarm_key(sent.experiment), at=at)


def mark_waiting(connection: Connection, sent: Delivery, *, at: datetime) -> None:
    """Record that the elogbook did not answer; it is tried again, doubling the pause up to five minutes."""
    connection.execute(
        update(delivery)
        .where(delivery.c.id == sent.id)
        .values(attempts=delivery.c.attempts + 1, next_attempt_at=at + _pause(sent))
    )


def mark_refused(connection: Connection, sent: Delivery, *, problem: str, at: datetime) -> None:
    """Record why the elogbook refused, tell people, and try again later: operators may correct the cause."""
    connection.execute(
        update(delivery)
        .where(delivery.c.id == sent.id)
        .values(attempts=delivery.c.attempts + 1, next_attempt_at=at + _pause(sent), problem=problem)
    )
    count = _refused(connection, sent.experiment)
    others = f" {count} runs wait like this." if count > 1 else ""
    raise_alarm(
        connection,
        _alarm_key(sent.experiment),
        severity="warning",
        message=f"The elogbook refused {sent.call} of run {sent.run_name}: {problem}{others}",
        at=at,
        subject=Subject(experiment=sent.experiment),
    )


def undelivered(connection: Connection, experiment: str | None = None) -> int:
    """Return how many deliveries wait."""
    query = select(func.count()).select_from(delivery).where(delivery.c.delivered_at.is_(None))
    if experiment is not None:
        query = query.where(delivery.c.experiment == experiment)
    return int(connection.execute(query).scalar_one())


def _pause(sent: Delivery) -> timedelta:
    return min(LONGEST_PAUSE, timedelta(seconds=2.0 ** min(sent.attempts, 10)))


def _alarm_key(experiment: str) -> str:
    return f"elogbook-refused:{experiment}"


def _refused(connection: Connection, experiment: str) -> int:
    mine = and_(delivery.c.experiment == experiment, delivery.c.delivered_at.is_(None), delivery.c.problem.is_not(None))
    return int(connection.execute(select(func.count(text("distinct run_name"))).where(mine)).scalar_one())
