"""One microscope: what is current on it, what its data waits for and why, and what was current before."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from cryodaq.ledger.board import board
from cryodaq.ledger.events import last_event_id
from cryodaq.ledger.reasons import Reasons, reasons
from cryodaq.web.board_pages import cards
from cryodaq.web.operators import may_switch
from cryodaq.web.rendering import render
from cryodaq.web.visitors import LoggedIn, NotThereError, ledger_of, web_settings

router = APIRouter()


@router.get("/microscopes/{name}", response_class=HTMLResponse)
def show_microscope(request: Request, name: str, who: LoggedIn) -> HTMLResponse:
    """Show why a microscope's data is where it is."""
    settings = web_settings(request)
    if name not in settings.microscopes:
        raise NotThereError("microscope")
    engine = ledger_of(request)
    with engine.connect() as connection:
        since = last_event_id(connection)
        states = board(connection, [name], now=settings.clock())
        found = reasons(connection, name)
    readable = who.readable(states[0].subject_experiments | _named(found))
    stand = settings.stands.get(name)
    values: dict[str, object] = {
        "card": cards(states, who, readable=readable)[0],
        "found": found,
        "computers": stand.computers if stand else (),
        "readable": readable,
        "known": lambda experiment: who.sees_all_names or experiment in readable,
        "now": settings.clock(),
        "may_switch": may_switch(request, name, who),
    }
    return render(request, "microscope.html", visitor=who, topic="board", since=since, values=values)


def _named(found: Reasons) -> frozenset[str]:
    """Return every experiment that reasons and periods name."""
    named = [entry.experiment for entry in (*found.held, *found.waiting, *found.failed)]
    return frozenset(named) | {period.experiment for period in found.periods if period.experiment}
