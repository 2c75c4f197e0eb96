"""The facts of the overview page."""

from __future__ import annotations

from cryodaq.elogbook.book import experiments, instruments, samples, switching
from cryodaq.elogbook.book.work import Document, Work
from cryodaq.elogbook.rights import Principal, experiment_and_privileges, readable_experiments

RECENT = 200
"""Experiments that are listed, newest first."""


def overview(work: Work, principal: Principal) -> Document:
    """Return each microscope's station with what is current there, as far as this person may read it."""
    active = {(found["instrument"], found["station"]): found for found in switching.active(work)}
    readable = readable_experiments(work.connection, principal)
    microscopes = [
        _station(work, principal, place, active.get((place["instrument"], place["station"])))
        for place in instruments.stations(work)
    ]
    listed = list(reversed(experiments.overviews(work, readable[-RECENT:])))
    return {"principal": principal, "microscopes": microscopes, "experiments": listed}


def _station(work: Work, principal: Principal, place: Document, found: Document | None) -> Document:
    station: Document = {
        **place,
        "experiment": None,
        "state": "never switched" if found is None else "standby",
        "switched_at": None if found is None else found["switch_time"],
        "switched_by": "" if found is None else found["requestor_uid"],
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
        "samples": samples.listing(work, row),
    }
