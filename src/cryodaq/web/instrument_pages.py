"""The microscopes: what the elogbook says of them, and what the facility file does."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.domain.experiment import Instrument, ParameterValue
from cryodaq.errors import LogbookError, LogbookUnreachableError
from cryodaq.web.operators import RefusedError
from cryodaq.web.rendering import ELOGBOOK, render
from cryodaq.web.sample_fields import read_number
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, web_settings

router = APIRouter()
PREFIX = "k:"
"""Begins the names of a form's fields with parameters."""
MOST_FIELDS, LONGEST = 200, 400
MEANINGS: Mapping[str, str] = {
    "num_stations": "stations",
    "operator_uid": "operator's account",
    "elog": "site-wide elogbook",
    "tags": "tags",
    "cs": "spherical aberration, mm",
    "keV": "voltage, kV",
}


@router.get("/instruments", response_class=HTMLResponse)
def show_instruments(request: Request, who: LoggedIn) -> HTMLResponse:
    """Show every microscope of the elogbook beside what the facility file says of it."""
    settings = web_settings(request)
    if settings.desk is None or not who.sees_all_names:
        raise NotThereError("page")
    known = settings.desk.instruments(who.session)
    stands = [(one, [stand for stand in settings.stands.values() if _is(stand.instrument, one)]) for one in known]
    values: dict[str, object] = {
        "instruments": stands,
        "missing": [
            stand for stand in settings.stands.values() if not any(_is(stand.instrument, one) for one in known)
        ],
        "meanings": MEANINGS,
        "may_change": "instrument_create" in who.person.privileges,
        "prefix": PREFIX,
    }
    return render(request, "instruments.html", visitor=who, topic=ELOGBOOK, values=values)


def _is(name: str, instrument: Instrument) -> bool:
    return name.casefold() == instrument.id.casefold()


@router.post("/instruments/{name}")
async def change_instrument(request: Request, name: str, who: LoggedIn) -> Response:
    """Change a microscope's description and parameters; the elogbook says whether this person may."""
    async with request.form(max_fields=MOST_FIELDS) as form:
        return await run_in_threadpool(_change, request, name, form, who)


def _change(request: Request, name: str, form: FormData, who: Visitor) -> Response:
    desk = web_settings(request).desk
    before = None
    if desk is not None:
        before = next((one for one in desk.instruments(who.session) if one.id == name), None)
    if desk is None or before is None:
        raise NotThereError("instrument")
    sent = {key: value.strip()[:LONGEST] for key, value in form.multi_items() if isinstance(value, str)}
    changed = Instrument(
        id=before.id, description=sent.get("description", before.description), params=read_params(sent, before.params)
    )
    try:
        desk.update_instrument(who.session, changed)
    except LogbookUnreachableError:
        raise
    except LogbookError as error:
        message = f"Nothing was changed: {error}."
        raise RefusedError(message) from error
    return RedirectResponse("/instruments", status_code=303)


def read_params(sent: Mapping[str, str], before: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """Return the parameters that a form leaves: what it does not have stays, what it empties goes.

    What was a number stays one, where it can be read as one.
    """
    found: dict[str, ParameterValue] = {}
    for key, old in before.items():
        text = sent.get(PREFIX + key)
        if text is None:
            found[key] = old
        elif text:
            is_number = isinstance(old, int | float) and not isinstance(old, bool)
            number = read_number(text) if is_number else None
            found[key] = text if number is None else number
    added, value = sent.get("new_key", ""), sent.get("new_value", "")
    if added and value:
        found[added[:60]] = value
    return found
