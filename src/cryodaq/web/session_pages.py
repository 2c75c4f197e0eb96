"""The guided page that begins a session: experiment, people, sample, parameters, checks, and go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from cryodaq.domain.parameters import read_operator_settings
from cryodaq.domain.session_checks import Check, Verdict
from cryodaq.errors import LogbookError, LogbookUnreachableError, ParameterError
from cryodaq.ledger.board import board, recent_samples
from cryodaq.ledger.readiness import gain_use, last_used_gain_bytes, latest_exposure, newest_gain
from cryodaq.ledger.samples import find_sample
from cryodaq.web.new_session import NEW, Reading, SessionStepError, begin_session, read_form
from cryodaq.web.operators import Stand, stand
from cryodaq.web.preflight import Found, Intended, StorageProbe, preflight
from cryodaq.web.rendering import render
from cryodaq.web.sample_fields import FieldGroup, as_sent, defaults, field_groups, usual
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, ledger_of, samples_searched, web_settings

router = APIRouter()
OFFERED = 60
"""So many earlier samples and experiments are offered."""
MOST_FIELDS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The form before or after somebody wrote into it."""

    place: Stand
    groups: list[FieldGroup]
    sent: Mapping[str, str]
    people: tuple[str, ...] = ()
    reading: Reading | None = None
    problem: str | None = None


@router.get("/microscopes/{name}/new", response_class=HTMLResponse)
def show_new(
    request: Request,
    name: str,
    who: LoggedIn,
    copy: Annotated[str, Query(max_length=40)] = "",
) -> HTMLResponse:
    """Show the form, with an earlier sample's parameters if one is named."""
    place = stand(request, name, who)
    groups = field_groups(place.desk.sample_definitions(who.session))
    now = web_settings(request).clock().astimezone(web_settings(request).zone)
    first: dict[str, str] = {
        **defaults(groups),
        "experiment": place.active.experiment or NEW,
        "begins": f"{now:%Y-%m-%d}",
        "days": "7",
        "copy": copy,
    }
    if copy:
        first |= as_sent(groups, _params_of(request, copy, who))
    return _page(request, Sheet(place=place, groups=groups, sent=first), who)


def _params_of(request: Request, sample_id: str, who: Visitor) -> Mapping[str, object]:
    engine = ledger_of(request)
    with engine.connect() as connection:
        found = find_sample(connection, sample_id)
    if found is None or not who.may_read(found.experiment):
        raise NotThereError("sample")
    return found.params


@router.post("/microscopes/{name}/new")
async def begin(request: Request, name: str, who: LoggedIn) -> Response:
    """Begin the session, or show the form again with what is wrong."""
    async with request.form(max_fields=MOST_FIELDS) as form:
        return await run_in_threadpool(_begin, request, name, form, who)


def _begin(request: Request, name: str, form: FormData, who: Visitor) -> Response:
    place = stand(request, name, who)
    sheet = _read(request, place, form)
    reading = sheet.reading
    assert reading is not None  # noqa: S101  # `_read` made it
    doubts = [check for check in (*reading.checks, *_ready(request, sheet)) if check.verdict is not Verdict.GOOD]
    wrong = any(check.verdict is Verdict.WRONG for check in doubts)
    problem = None
    if reading.problems or wrong:
        problem = "Something is missing or wrong; it is marked below. Nothing was changed."
    elif doubts and sheet.sent.get("accept") != "yes":
        problem = "Please read what is marked “look” under Checks; correct it, or tick that it is meant so."
    elif sheet.sent.get("seen") != place.mark:
        problem = f"Meanwhile something else was switched on {place.title}. Look again, then send the form."
    if problem is None:
        try:
            begin_session(place, reading.wanted)
        except SessionStepError as error:
            problem = str(error)
        except LogbookUnreachableError:
            raise
        except LogbookError as error:
            problem = f"Nothing was changed: {error}."
    if problem is None:
        return RedirectResponse(f"/microscopes/{name}", status_code=303)
    again = Sheet(
        place=place, groups=sheet.groups, sent=sheet.sent, people=sheet.people, reading=reading, problem=problem
    )
    return _page(request, again, who, status=422)


@router.post("/microscopes/{name}/new/checks", response_class=HTMLResponse)
async def check(request: Request, name: str, who: LoggedIn) -> Response:
    """Check what is written so far; the page's script asks while somebody writes."""
    async with request.form(max_fields=MOST_FIELDS) as form:
        return await run_in_threadpool(_check, request, name, form, who)


def _check(request: Request, name: str, form: FormData, who: Visitor) -> Response:
    place = stand(request, name, who)
    sheet = _read(request, place, form)
    values: dict[str, object] = {"checks": sheet.reading.checks if sheet.reading else ()}
    return render(request, "checks.html", visitor=who, values={**values, "ready": _ready(request, sheet)})


@router.get("/people")
def find_people(request: Request, who: LoggedIn, q: Annotated[str, Query(max_length=64)] = "") -> JSONResponse:
    """Return people of the directory whose account contains a text."""
    desk = web_settings(request).desk
    if desk is None:
        raise NotThereError("directory")
    wanted = q.strip().replace("*", "")
    found = desk.people(who.session, wanted)[:20] if len(wanted) >= 2 else []
    return JSONResponse([{"uid": person.uid, "full_name": person.full_name} for person in found])


def _read(request: Request, place: Stand, form: FormData) -> Sheet:
    sent = {key: value for key, value in form.multi_items() if isinstance(value, str)}
    people = tuple(value for value in form.getlist("person") if isinstance(value, str) and value.strip())
    groups = field_groups(place.desk.sample_definitions(place.session))
    zone = web_settings(request).zone
    reading = read_form(sent, people, groups=groups, microscope=place.microscope, zone=zone)
    return Sheet(place=place, groups=groups, sent=sent, people=people, reading=reading)


def _ready(request: Request, sheet: Sheet) -> list[Check]:
    engine, place = ledger_of(request), sheet.place
    probe: StorageProbe = request.app.state.storage
    name, now = place.microscope.name, web_settings(request).clock()
    with engine.connect() as connection:
        found = Found(
            state=board(connection, [name], now=now)[0],
            gain=newest_gain(connection, name),
            last_gain_bytes=last_used_gain_bytes(connection, name),
            gain_use=gain_use(connection, name),
            latest=latest_exposure(connection, name),
        )
    return preflight(place.microscope, found, storage=probe.check(), now=now, intended=_intended(request, sheet))


def _intended(request: Request, sheet: Sheet) -> Intended | None:
    """Return the parameters that are written so far; None where there are none, or a text that cannot be read."""
    if sheet.reading is None:
        return None
    try:
        settings = read_operator_settings(sheet.reading.wanted.params)
    except ParameterError:
        return None  # the form says so beside the field
    reprocessing = web_settings(request).reprocessing
    return Intended(
        settings=settings,
        calibrated_pixel_size_ang=reprocessing.calibrated_pixel_size_ang if reprocessing else lambda *_: None,
    )


def _page(request: Request, sheet: Sheet, who: Visitor, *, status: int = 200) -> HTMLResponse:
    engine = ledger_of(request)
    with engine.connect() as connection:
        earlier = recent_samples(connection, limit=samples_searched(request))
    readable = who.readable(entry.experiment for entry in earlier)
    offered = sheet.place.desk.experiments(who.session, instrument=sheet.place.microscope.instrument)
    values: dict[str, object] = {
        "place": sheet.place,
        "groups": sheet.groups,
        "sent": sheet.sent,
        "people": sheet.people,
        "problem": sheet.problem,
        "usual": usual(sheet.place.microscope.defaults),
        "problems": sheet.reading.problems if sheet.reading else {},
        "checks": sheet.reading.checks if sheet.reading else (),
        "ready": _ready(request, sheet),
        "earlier": [entry for entry in earlier if entry.experiment in readable][:OFFERED],
        "experiments": [one for one in offered if not one.locked][:OFFERED],
        "may_register": "experiment_create" in who.person.privileges,
        "longest": timedelta(days=366).days,
    }
    return render(request, "new_session.html", visitor=who, status=status, values=values)
