"""The facts of the overview page."""

from __future__ import annotations

import sqlalchemy as sa

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import experiments, instruments, samples, switching
from cryodaq.elogbook.book.work import Document, Work
from cryodaq.elogbook.rights import (
    Principal,
    experiment_and_privileges,
    instrument_privileges,
    readable_experiments,
)

RECENT = 200
"""Experiments that a switch offers, newest first."""


def overview(work: Work, principal: Principal) -> Document:
    """Return each microscope's station with what is current there and what this person may do."""
    active = {(found["instrument"], found["station"]): found for found in switching.active(work)}
    readable = readable_experiments(work.connection, principal)
    microscopes = [
        _station(work, principal, place, active.get((place["instrument"], place["station"])))
        for place in instruments.stations(work)
    ]
    listed = list(reversed(experiments.overviews(work, readable[-RECENT:])))
    return {"principal": principal, "microscopes": microscopes, "experiments": listed}


def _station(work: Work, principal: Principal, place: Document, found: Document | None) -> Document:
    instrument = place["instrument"]
    may_switch = "switch" in instrument_privileges(work.connection, principal, instrument)
    station: Document = {
        **place,
        "experiment": None,
        "state": "never switched" if found is None else "standby",
        "switched_at": None if found is None else found["switch_time"],
        "switched_by": "" if found is None else found["requestor_uid"],
        "may_switch": may_switch,
        "may_post": False,
        "candidates": _candidates(work, instrument, active=(found or {}).get("name")) if may_switch else [],
        "samples": [],
    }
    if found is None or "name" not in found:
        return station
    row, held = experiment_and_privileges(work.connection, principal, found["name"])
    if row is None or "read" not in held:
        return {**station, "state": "in use"}
    return {
        **station,
        "state": "active",
        "experiment": experiments.document(row),
        "may_post": "post" in held and not row["is_locked"],
        "samples": samples.listing(work, row),
    }


def _candidates(work: Work, instrument: str, *, active: str | None) -> list[str]:
    """Return the experiments that a switch can lead to, newest first."""
    e = t.experiment.c
    found = work.connection.scalars(
        sa.select(e.name)
        .where(e.instrument_id == instrument, e.is_locked.is_(False), e.name.is_distinct_from(active))
        .order_by(e.sequence.desc())
        .limit(RECENT)
    )
    return list(found)
