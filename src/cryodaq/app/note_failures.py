"""Write into an experiment's log why movies of it could not be processed: once for each reason, not for each movie."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryodaq.ledger import deliveries
from cryodaq.ledger.reasons import Reason, failures

if TYPE_CHECKING:
    from sqlalchemy import Engine

TAGS = ("cryodaq", "failure")
RECENT = timedelta(days=3)
"""Samples that were not in use for longer are left alone: nobody reads a log for news of them."""
_NUMBER = re.compile(r"\d+")


def note_failures(engine: Engine, microscope: str, *, at: datetime) -> int:
    """Put an entry into the outbox for each new reason for which movies failed; return how many are new."""
    with engine.begin() as connection:
        found = failures(connection, microscope, used_since=at - RECENT)
        return sum(
            deliveries.enqueue(
                connection,
                one.experiment,
                run_name=deliveries.LOG,
                call="add_note",
                payload={"text": _entry(one), "tags": list(TAGS), "once": _key(one)},
                key=_key(one),
                at=at,
            )
            for one in found
        )


def _entry(reason: Reason) -> str:
    said = reason.problem or "no reason is recorded"
    return (
        f"Movies of {reason.sample_name} cannot be processed: {said}\n"
        f"{reason.count} so far, for example {reason.example}. Others with this reason are not written here; "
        "the sample's page counts them, and each movie's page has its log and “Run again”."
    )


def _key(reason: Reason) -> str:
    """Return what is one reason: numbers in it, such as those of names and sizes, make no other one."""
    same = f"{reason.sample_id}\n{_NUMBER.sub('#', reason.problem)}"
    return f"failed-{hashlib.sha256(same.encode()).hexdigest()[:32]}"
