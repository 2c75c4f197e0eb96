"""Whose each exposure is: decided with the recorded polls around its first sight, once for all."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from cryodaq.app.transfer_window.session import Session
from cryodaq.domain.ownership import Decision, Ownership, decide_owner
from cryodaq.ledger import exposures, observations
from cryodaq.ledger.events import Subject, record_event

log = logging.getLogger(__name__)


def decide_owners(session: Session) -> bool:
    """Decide about every exposure that was found; return whether some still wait for the next poll."""
    if not session.undecided:
        return False
    waiting = list(session.undecided.values())
    since = min(one.seen_from for one in waiting)
    with session.transition() as connection:
        polls = observations.polls_since(connection, session.microscope, since)
        folders = {one.acquisition_folder for one in waiting}
        owners = exposures.folder_owners(connection, session.microscope, folders)
        decided: dict[int, Ownership] = {}
        for one in waiting:
            found = decide_owner(
                one.seen_from,
                first_seen_until=one.seen_until,
                polls=polls,
                folder_owners=owners[one.acquisition_folder],
            )
            if found is not None:
                decided[one.id] = found
        exposures.decide(connection, decided, at=session.now())
        quarantined = sum(found.decision is Decision.QUARANTINE for found in decided.values())
        if quarantined:
            record_event(
                connection,
                "exposures_quarantined",
                at=session.now(),
                subject=Subject(microscope=session.microscope),
                facts={"exposures": quarantined},
            )
    for number, found in decided.items():
        known = session.undecided.pop(number)
        session.exposures[number] = replace(known, sample_id=found.sample_id, decision=found.decision)
    return bool(session.undecided)


def needs_poll(session: Session, asked_at: datetime | None) -> bool:
    """Whether an exposure waits for a poll that is later than the scan that found it."""
    if asked_at is None:
        return False
    return any(one.seen_until > asked_at for one in session.undecided.values())
