"""Exposures that nobody owns, given to a sample by one click; and what was filed with the wrong sample."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.app.assign_exposures import assign_exposures, quarantined
from cryodaq.app.reassign_exposures import Wish, preview_reassignment, reassign_exposures
from cryodaq.domain.names import check_sample_id
from cryodaq.errors import LedgerError, StoreError, TransferError, UnsafeNameError
from cryodaq.ledger.board import RecentSample, recent_samples
from cryodaq.ledger.events import last_event_id
from cryodaq.ledger.reassignments import session_folders
from cryodaq.ledger.samples import SampleRecord, find_sample
from cryodaq.web.operators import NotAllowedError, RefusedError
from cryodaq.web.rendering import render
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, ledger_of, web_settings

router = APIRouter()
OFFERED = 200
Text = Annotated[str, Form(max_length=1000)]


@router.get("/quarantine", response_class=HTMLResponse)
def show_quarantine(request: Request, who: LoggedIn) -> HTMLResponse:
    """Show what waits for a person."""
    _require_staff(who)
    engine = ledger_of(request)
    with engine.connect() as connection:
        since = last_event_id(connection)
        offered = recent_samples(connection, limit=OFFERED)
    values: dict[str, object] = {
        "folders": quarantined(engine),
        "offered": offered,
        "may_assign": web_settings(request).refiling is not None,
    }
    return render(request, "quarantine.html", visitor=who, topic="board", since=since, values=values)


@router.post("/quarantine/{microscope}")
def assign(request: Request, microscope: str, folder: Text, sample: Text, who: LoggedIn) -> Response:
    """Give one acquisition folder's exposures to a sample."""
    _require_staff(who)
    settings = web_settings(request)
    if settings.refiling is None or microscope not in settings.microscopes:
        raise NotThereError("microscope")
    chosen = _sample(request, sample)
    try:
        assign_exposures(
            settings.refiling(microscope), sample_id=chosen.id, by=who.person.user, acquisition_folder=folder
        )
    except (LedgerError, TransferError, StoreError) as error:
        message = f"Not everything was assigned: {error}."
        raise RefusedError(message) from error
    return RedirectResponse(f"/samples/{chosen.id}", status_code=303)


@router.get("/samples/{sample_id}/reassign", response_class=HTMLResponse)
def ask_to_reassign(
    request: Request,
    sample_id: str,
    who: LoggedIn,
    to: Annotated[str, Query(max_length=40)] = "",
    folder: Annotated[str, Query(max_length=1000)] = "",
    since: Annotated[str, Query(max_length=40)] = "",
) -> HTMLResponse:
    """Ask what shall go to which other sample, and say what that means before it is done."""
    _require_staff(who)
    giver = _sample(request, sample_id)
    engine = ledger_of(request)
    with engine.connect() as connection:
        everyone = recent_samples(connection, limit=OFFERED)
        folders = session_folders(connection, giver.id)
    offered: list[RecentSample] = [one for one in everyone if one.id != giver.id and one.microscope == giver.microscope]
    values: dict[str, object] = {
        "sample": giver,
        "offered": offered,
        "folders": folders,
        "to": to,
        "folder": folder,
        "from_when": since,
        "preview": None,
        "problem": None,
    }
    making = web_settings(request).refiling
    if to and making is not None:
        try:
            wish = _wish(request, giver, to=to, folder=folder, since=since, who=who)
            values["preview"] = preview_reassignment(making(giver.microscope), wish)
        except LedgerError as error:
            values["problem"] = f"{error}."
    return render(request, "reassign.html", visitor=who, values=values)


@router.post("/samples/{sample_id}/reassign")
def reassign(
    request: Request,
    sample_id: str,
    to: Text,
    who: LoggedIn,
    folder: Text = "",
    since: Text = "",
) -> Response:
    """Give it to the other sample."""
    _require_staff(who)
    giver, making = _sample(request, sample_id), web_settings(request).refiling
    if making is None:
        raise NotThereError("page")
    try:
        wish = _wish(request, giver, to=to, folder=folder, since=since, who=who)
        done = reassign_exposures(making(giver.microscope), wish)
    except (LedgerError, TransferError, StoreError) as error:
        message = f"It is not done, or not wholly: {error}. What was begun is carried on by the next pass."
        raise RefusedError(message) from error
    return RedirectResponse(f"/samples/{done.to_sample.id}", status_code=303)


def _wish(request: Request, giver: SampleRecord, *, to: str, folder: str, since: str, who: Visitor) -> Wish:
    taker = _sample(request, to)
    if not folder and not since:
        raise LedgerError("name a folder, or a time since when")
    return Wish(
        to_sample=taker.id,
        asked_by=who.person.user,
        folder=folder or None,
        since=_moment(since, web_settings(request).zone) if since else None,
        from_sample=giver.id,
    )


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text[:40]!r} is not a time; write it as 2026-11-22T14:00"
        raise LedgerError(message) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _require_staff(who: Visitor) -> None:
    if not who.sees_all_names:
        raise NotAllowedError("Quarantine is for those who run the microscopes.")


def _sample(request: Request, sample_id: str) -> SampleRecord:
    engine = ledger_of(request)
    try:
        with engine.connect() as connection:
            found = find_sample(connection, check_sample_id(sample_id))
    except UnsafeNameError:
        found = None
    if found is None:
        raise NotThereError("sample")
    return found
