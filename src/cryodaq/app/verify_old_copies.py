"""Read some old copies again, by chance, so that a storage that forgets is noticed before the data is needed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryodaq.app.prove_copies import reread
from cryodaq.ledger import custody, events
from cryodaq.ledger.events import Subject

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)


def verify_old_copies(
    engine: Engine, *, after: timedelta, up_to_bytes: int, now: Callable[[], datetime]
) -> Mapping[str, int]:
    """Read some copies again that were verified longer than `after` ago; return how many were equal, damaged and so on.

    A damaged or unreadable copy is an alarm. Where its source is still on the microscope it is copied again, else the
    alarm stays until a person clears it: it may have been the only one.
    """
    with engine.connect() as connection:
        drawn = custody.old_copies(connection, verified_before=now() - after, up_to_bytes=up_to_bytes)
    microscopes = {one.id: microscope for microscope, one in drawn}
    outcomes: Counter[str] = Counter()
    for finding in reread(one for _, one in drawn):
        outcomes[finding.outcome] += 1
        if finding.outcome not in {"damaged", "unreadable"}:
            continue
        found, at, microscope = finding.file, now(), microscopes[finding.file.id]
        advice = "it is copied again" if found.state == "verified" else "its source is gone: restore it from a backup"
        with engine.begin() as connection:
            if found.state == "verified":
                damaged = replace(found, problem=finding.problem)
                custody.withdraw_proof(connection, [damaged], microscope=microscope, at=at)
            events.raise_alarm(
                connection,
                f"old-copy:{found.id}",
                severity="error",
                message=f"{found.target} no longer reads back as it was copied; {advice}",
                at=at,
                subject=Subject(microscope=microscope),
            )
        log.error("an old copy is damaged", extra={"path": found.target, "problem": finding.problem})
    return dict(outcomes)
