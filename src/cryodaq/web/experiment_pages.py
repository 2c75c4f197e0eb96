"""One experiment: its samples, its people and whether they can read the files already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.app.reconcile_access import reader_standings
from cryodaq.domain.access import Standing
from cryodaq.errors import LogbookError, LogbookUnreachableError
from cryodaq.ledger.board import recent_samples, sample_progress
from cryodaq.ledger.events import open_alarms
from cryodaq.web.operators import RefusedError
from cryodaq.web.rendering import ELOGBOOK, render
from cryodaq.web.visitors import LoggedIn, NotThereError, ledger_of, web_settings

router = APIRouter()
LISTED = 200
ROLES: Mapping[str, str] = {
    "Reader": "read",
    "Writer": "read and write",
    "Editor": "read, write, edit and delete entries",
    "Manager": "all that, and say who may",
}
"""What people of an experiment may do in the elogbook; each of them reads the files."""
STANDINGS: Mapping[Standing, tuple[str, str]] = {
    Standing.EFFECTIVE: ("can read the files", "good"),
    Standing.PENDING: ("soon: set while a sample is prepared", "wait"),
    Standing.UNRESOLVABLE: ("no numeric id is known", "bad"),
    Standing.LEAVING: ("not listed any more; taken away soon", "wait"),
}
Player = Annotated[str, Form(max_length=80, pattern=r"^[A-Za-z0-9._:@-]+$")]


@router.get("/experiments/{experiment}", response_class=HTMLResponse)
def show_experiment(request: Request, experiment: str, who: LoggedIn) -> HTMLResponse:
    """Show an experiment's samples and people."""
    held = who.access.privileges(who.session, experiment)
    if "read" not in held:
        raise NotThereError("experiment")
    engine = ledger_of(request)
    desk = web_settings(request).desk
    with engine.connect() as connection:
        samples = recent_samples(connection, experiment=experiment, limit=LISTED)
        progress = sample_progress(connection, [one.id for one in samples])
        alarms = [one for one in open_alarms(connection) if one.subject.experiment == experiment]
    people = None if desk is None else desk.collaborators(who.session, experiment)
    values: dict[str, object] = {
        "experiment": experiment,
        "facts": None if desk is None else desk.experiment(who.session, experiment),
        "samples": samples,
        "progress": progress,
        "alarms": alarms,
        "readers": reader_standings(engine, experiment, people),
        "is_whole": people is not None,
        "standings": STANDINGS,
        "roles": ROLES,
        "may_manage": desk is not None and "manage_groups" in held,
        "has_log": desk is not None,
    }
    return render(request, "experiment.html", visitor=who, topic=ELOGBOOK, values=values)


@router.post("/experiments/{experiment}/people")
def change_people(
    request: Request,
    experiment: str,
    player: Player,
    action: Annotated[Literal["add", "toggle", "remove"], Form()],
    who: LoggedIn,
    role: Annotated[Literal["Reader", "Writer", "Editor", "Manager"], Form()] = "Reader",
) -> Response:
    """Give somebody a role in an experiment, or take one or all away; the elogbook says whether this person may."""
    desk = web_settings(request).desk
    if desk is None or not who.may_read(experiment):
        raise NotThereError("experiment")
    try:
        if action == "add":
            desk.add_collaborator(who.session, experiment, player.removeprefix("uid:"), role=role)
        elif action == "toggle":
            desk.toggle_role(who.session, experiment, player, role=role)
        else:
            desk.remove_collaborator(who.session, experiment, player)
    except LogbookUnreachableError:
        raise
    except LogbookError as error:
        message = f"Nothing was changed: {error}."
        raise RefusedError(message) from error
    return RedirectResponse(f"/experiments/{quote(experiment, safe='')}#people", status_code=303)
