"""What was current on a microscope when: every poll of the elogbook, the unanswered ones too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, func, or_, select, update

from cryodaq.domain.experiment import Assignment
from cryodaq.domain.ownership import Poll
from cryodaq.ledger.events import Subject, record_event
from cryodaq.ledger.tables import current_state, exposure, share_state

UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One answer of the elogbook, or that there was none."""

    microscope: str
    asked_at: datetime
    """When the question was sent."""
    answered_at: datetime
    """When the answer had arrived; a new answer is known to hold from here on only."""
    assignment: Assignment | None
    """None: no answer."""
    experiment: str | None = None
    sample_id: str | None = None
    """None too when the answer cannot be used (a bad name); `problem` says why."""
    sample_name: str | None = None
    switched_at: datetime | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedState:
    """What was the same from `first_asked_at` to `last_asked_at`."""

    answered: bool
    assignment: str
    experiment: str | None
    sample_id: str | None
    sample_name: str | None
    first_asked_at: datetime
    last_asked_at: datetime
    problem: str | None


_SAME = ("assignment", "experiment", "sample_id", "sample_name", "switched_at", "problem")


def record_observation(connection: Connection, seen: Observation) -> bool:
    """Record a poll: the last row grows while answers stay the same. Return whether something changed."""
    values = {
        "assignment": seen.assignment.value if seen.assignment is not None else UNREACHABLE,
        "experiment": seen.experiment,
        "sample_id": seen.sample_id,
        "sample_name": seen.sample_name,
        "switched_at": seen.switched_at,
        "problem": seen.problem,
    }
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"current_state {seen.microscope}"))))
    last = _last(connection, seen.microscope, answered_only=False)
    if last is not None and all(getattr(last, name) == values[name] for name in _SAME):
        connection.execute(
            update(current_state)
            .where(current_state.c.id == last.id, current_state.c.last_asked_at < seen.asked_at)
            .values(last_asked_at=seen.asked_at)
        )
        return False
    connection.execute(
        current_state.insert().values(
            microscope=seen.microscope,
            first_asked_at=seen.answered_at,
            last_asked_at=seen.answered_at,
            **values,
        )
    )
    subject = Subject(microscope=seen.microscope, experiment=seen.experiment, sample_id=seen.sample_id)
    facts = {"assignment": values["assignment"], "sample": seen.sample_name, "problem": seen.problem}
    record_event(connection, "current_changed", at=seen.asked_at, subject=subject, facts=facts)
    return True


def _last(connection: Connection, microscope: str, *, answered_only: bool) -> Row[tuple[object, ...]] | None:
    query = select(current_state).where(current_state.c.microscope == microscope)
    if answered_only:
        query = query.where(current_state.c.assignment != UNREACHABLE)
    return connection.execute(
        query.order_by(current_state.c.last_asked_at.desc(), current_state.c.id.desc()).limit(1)
    ).first()


def last_answer(connection: Connection, microscope: str) -> ObservedState | None:
    """Return what the elogbook said last, or None before its first answer."""
    row = _last(connection, microscope, answered_only=True)
    return None if row is None else _observed(row)


def last_asked_at(connection: Connection, microscope: str) -> datetime | None:
    """Return when the elogbook was asked last, whether it answered or not."""
    row = _last(connection, microscope, answered_only=False)
    return None if row is None else _observed(row).last_asked_at


def first_asked_at(connection: Connection, microscope: str) -> datetime | None:
    """Return when the elogbook was asked for the first time."""
    query = select(func.min(current_state.c.first_asked_at)).where(current_state.c.microscope == microscope)
    found: datetime | None = connection.execute(query).scalar_one()
    return found


def latest_moment(connection: Connection, microscope: str) -> datetime | None:
    """Return the latest time of a poll or a scan that is on record, or None before the first."""
    moments = connection.execute(
        select(
            select(func.max(current_state.c.last_asked_at))
            .where(current_state.c.microscope == microscope)
            .scalar_subquery(),
            select(func.max(share_state.c.scanned_at)).where(share_state.c.microscope == microscope).scalar_subquery(),
            select(func.max(exposure.c.seen_until))
            .where(exposure.c.microscope == microscope, exposure.c.decision.is_(None))
            .scalar_subquery(),
        )
    ).one()
    return max((moment for moment in moments if moment is not None), default=None)


def _observed(row: Row[tuple[object, ...]]) -> ObservedState:
    values = row._mapping  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping
    names = [name for name in ObservedState.__dataclass_fields__ if name != "answered"]
    return ObservedState(answered=row.assignment != UNREACHABLE, **{name: values[name] for name in names})


def polls_since(connection: Connection, microscope: str, since: datetime) -> list[Poll]:
    """Return the polls from the last answered one at or before `since` on, in the order of asking.

    Each interval of equal answers gives its first and its last poll: what was asked in between said the same.
    Where the elogbook was switched while nobody asked, and back again, a poll that answers "no sample" stands in
    between, because what was current then is not known.
    """
    last_before = (
        select(func.max(current_state.c.first_asked_at))
        .where(
            current_state.c.microscope == microscope,
            current_state.c.assignment != UNREACHABLE,
            current_state.c.first_asked_at <= since,
        )
        .scalar_subquery()
    )
    rows = connection.execute(
        select(current_state)
        .where(
            current_state.c.microscope == microscope,
            or_(current_state.c.first_asked_at >= last_before, current_state.c.last_asked_at >= since),
        )
        .order_by(current_state.c.first_asked_at, current_state.c.id)
    ).all()
    polls: list[Poll] = []
    previous: Row[tuple[object, ...]] | None = None
    for row in rows:
        answered = row.assignment != UNREACHABLE
        if answered:
            if previous is not None and _switched_unseen(previous, row):
                between = previous.last_asked_at + (row.first_asked_at - previous.last_asked_at) / 2
                polls.append(Poll(asked_at=between, answered=True, sample_id=None))
            previous = row
        polls += [
            Poll(asked_at=asked_at, answered=answered, sample_id=row.sample_id if answered else None)
            for asked_at in dict.fromkeys((row.first_asked_at, row.last_asked_at))
        ]
    return sorted(polls, key=lambda poll: poll.asked_at)


def _switched_unseen(before: Row[tuple[object, ...]], after: Row[tuple[object, ...]]) -> bool:
    return (
        before.sample_id is not None and before.sample_id == after.sample_id and before.switched_at != after.switched_at
    )
