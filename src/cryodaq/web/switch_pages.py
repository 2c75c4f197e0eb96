"""Switch a microscope to another experiment or to standby, make a sample current or stop it; said before, then done.

Every change goes to the elogbook with the person's own session. A form carries what was active when the page was
made: when somebody else was faster, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.errors import LogbookAccessError, LogbookError, LogbookUnreachableError
from cryodaq.ledger.board import MicroscopeState
from cryodaq.logbook.desk import ExperimentEntry
from cryodaq.web.operators import RefusedError, Stand, stand, state_of
from cryodaq.web.presentation import count
from cryodaq.web.rendering import ELOGBOOK, render
from cryodaq.web.visitors import LoggedIn, Visitor

router = APIRouter()
LISTED = 100
Action = Literal["switch", "standby", "current", "stop"]
Text = Annotated[str, Query(max_length=200)]
Field = Annotated[str, Form(max_length=400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an operator asks for."""

    action: Action
    experiment: str
    sample: str

    def title(self, place: Stand) -> str:
        """Return the wish as a sentence without its end."""
        return {
            "switch": f"Switch {place.title} to {self.experiment}",
            "standby": f"Put {place.title} into standby",
            "current": f"Make {self.sample} current on {place.title}",
            "stop": f"Stop {self.sample} on {place.title}",
        }[self.action]


@router.get("/microscopes/{name}/switch", response_class=HTMLResponse)
def show_switch(request: Request, name: str, who: LoggedIn, q: Text = "") -> HTMLResponse:
    """Show what is active, what it can be switched to, and what was active before."""
    place = stand(request, name, who)
    active, desk = place.active, place.desk
    samples = desk.samples(who.session, active.experiment) if active.experiment and _may_read(place, who) else []
    found = desk.experiments(who.session, instrument=place.microscope.instrument)
    offered = [one for one in found if one.name != active.experiment and not one.locked and _matches(one, q)]
    values: dict[str, object] = {
        "place": place,
        "samples": samples,
        "offered": offered[:LISTED],
        "more": max(0, len(offered) - LISTED),
        "q": q,
        "history": desk.history(who.session, place.microscope.instrument, station=place.microscope.station)[:LISTED],
        "finishing": finishing(state_of(request, name)),
    }
    return render(request, "switch.html", visitor=who, topic=ELOGBOOK, values=values)


def _may_read(place: Stand, who: Visitor) -> bool:
    return who.may_read(place.active.experiment or "")


def _matches(entry: ExperimentEntry, text: str) -> bool:
    wanted = text.casefold().split()
    said = f"{entry.name} {entry.description} {entry.contact}".casefold()
    return all(word in said for word in wanted)


@router.get("/microscopes/{name}/switch/confirm", response_class=HTMLResponse)
def ask_first(
    request: Request,
    name: str,
    action: Action,
    who: LoggedIn,
    experiment: Text = "",
    sample: Text = "",
) -> HTMLResponse:
    """Say what will happen, and ask."""
    place = stand(request, name, who)
    wish = Wish(action=action, experiment=experiment, sample=sample)
    values: dict[str, object] = {
        "place": place,
        "wish": wish,
        "title": wish.title(place),
        "sentences": consequences(wish, place, state_of(request, name), who=who),
    }
    return render(request, "confirm.html", visitor=who, values=values)


@router.post("/microscopes/{name}/switch")
def act(
    request: Request,
    name: str,
    action: Annotated[Action, Form()],
    who: LoggedIn,
    seen: Field = "",
    experiment: Field = "",
    sample: Field = "",
) -> Response:
    """Do it, unless something else became active meanwhile."""
    place = stand(request, name, who)
    if seen != place.mark:
        raise RefusedError(_meanwhile(place))
    _do(place, Wish(action=action, experiment=experiment, sample=sample))
    return RedirectResponse(f"/microscopes/{name}/switch", status_code=303)


def _do(place: Stand, wish: Wish) -> None:
    desk, session = place.desk, place.session
    instrument, station = place.microscope.instrument, place.microscope.station
    current = place.active.experiment or ""
    try:
        if wish.action == "switch":
            desk.switch(session, wish.experiment, instrument=instrument, station=station)
        elif wish.action == "standby":
            desk.standby(session, instrument=instrument, station=station)
        elif wish.action == "current":
            desk.make_current(session, current, wish.sample)
        else:
            desk.stop_current(session, current, wish.sample)
    except LogbookUnreachableError:
        raise
    except (LogbookAccessError, LogbookError) as error:
        message = f"Nothing was changed: {error}."
        raise RefusedError(message) from error


def _meanwhile(place: Stand) -> str:
    active = place.active
    now = f"{active.experiment}, sample {active.sample or 'none'}" if active.experiment else "nothing"
    by = f" (by {active.switched_by})" if active.switched_by else ""
    return f"Meanwhile {place.title} was switched{by}: active is {now}. Nothing was changed; look again, then decide."


def finishing(state: MicroscopeState) -> list[str]:
    """Return in sentences what is still to be done for samples that were seen, whatever is switched."""
    parts = []
    if state.progress.to_copy:
        parts.append(f"{count(state.progress.to_copy, 'movie')} to copy")
    if state.progress.to_process:
        parts.append(f"{count(state.progress.to_process, 'movie')} to process")
    said = []
    if parts:
        name = state.sample_name or "the current sample"
        said.append(f"{' and '.join(parts)} of {name} are still to be finished: they will be, in that sample.")
    draining = sum(entry.files for entry in state.draining)
    if draining:
        said.append(f"{count(draining, 'file')} of earlier samples: finished, too.")
    return said or ["Everything that was seen so far is copied and processed."]


def consequences(wish: Wish, place: Stand, state: MicroscopeState, *, who: Visitor) -> Sequence[str]:
    """Return what will happen, in sentences."""
    title = place.title
    if wish.action == "current":
        after = f"New movies of {title} go to {wish.sample} and are processed with its parameters."
    elif wish.action == "switch":
        sample = place.desk.current_sample(who.session, wish.experiment) if who.may_read(wish.experiment) else None
        after = (
            f"New movies of {title} go to {wish.experiment}, sample {sample}, which is current there."
            if sample
            else f"No sample is current in {wish.experiment}: make one current next, else new movies go to quarantine."
        )
    else:
        after = f"No sample is current on {title} then: movies that are collected all the same go to quarantine."
    return [*finishing(state), after]
