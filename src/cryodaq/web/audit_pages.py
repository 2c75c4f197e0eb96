"""Who changed what in the elogbook, from where, before and after: for those whom the elogbook lets see it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from cryodaq.logbook.desk import Change
from cryodaq.web.operators import NotAllowedError
from cryodaq.web.presentation import stamp
from cryodaq.web.rendering import ELOGBOOK, render
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, web_settings

router = APIRouter()
PAGE_SIZE = 100
MOST_TEXT = 300
"""Letters of a value that are shown."""
DECIDED, EVERYTHING = "", "all"
TABLES: Mapping[str, str] = {
    DECIDED: "what people decide",
    "experiment": "experiments",
    "experiment_switch": "switches",
    "sample": "samples and their parameters",
    "sample_activation": "samples made current or stopped",
    "experiment_player": "people of experiments",
    "instrument_player": "people of instruments",
    "site_player": "people of the site",
    "elog_entry": "log entries",
    "log_subscription": "log entries by e-mail",
    "instrument": "instruments",
    "account": "accounts",
    "token": "tokens",
    "run": "runs",
    EVERYTHING: "everything, programs' writing too",
}
WRITTEN_BY_PROGRAMS = ("run", "run_file", "run_param_description", "browser_session", "login_ticket", "failed_login")
Text = Annotated[str, Query(max_length=80)]


NOT_SHOWN = "never shown"
_SECRETS = frozenset({"password_hash", "secret_hash", "forgery_token"})
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:")
_SAID_ELSEWHERE = frozenset({"id", "experiment_name"})
_EMPTY = frozenset({"", "{}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value that a change made another."""

    key: str
    before: str
    """Empty where it was not there."""
    after: str


def differences(change: Change, *, zone: ZoneInfo) -> list[Difference]:
    """Return what differs between before and after, by column; nested parameters each by their own name."""
    before, after = _flat(change.before, zone), _flat(change.after, zone)
    found = [
        Difference(key=key, before=before.get(key, ""), after=after.get(key, ""))
        for key in dict.fromkeys([*before, *after])
        if before.get(key, "") != after.get(key, "")
    ]
    if change.action == "update":
        return found or [Difference(key=key, before=NOT_SHOWN, after=NOT_SHOWN) for key in after if key in _SECRETS]
    return [one for one in found if one.key not in _SAID_ELSEWHERE and (one.before or one.after) not in _EMPTY]


def _flat(document: Mapping[str, object] | None, zone: ZoneInfo) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in (document or {}).items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{inner}": _said(one, zone) for inner, one in value.items()}
        else:
            found[key] = NOT_SHOWN if key in _SECRETS and value else _said(value, zone)
    return found


def _said(value: object, zone: ZoneInfo) -> str:
    if isinstance(value, list):
        return ", ".join(_said(one, zone) for one in value)
    text = "" if value is None else str(value)
    if _TIME.match(text):
        with suppress(ValueError):  # what only looks like a time is shown as it is
            moment = datetime.fromisoformat(text)
            return text if moment.tzinfo is None else stamp(moment, zone)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


@router.get("/audit", response_class=HTMLResponse)
def show_audit(
    request: Request,
    who: LoggedIn,
    user: Text = "",
    table: Text = "",
    before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> HTMLResponse:
    """Show every change, for whoever may configure the site."""
    if "config_edit" not in who.person.privileges:
        raise NotAllowedError("What was changed everywhere is shown to those who may configure the site.")
    return _page(request, who, experiment=None, asked={"user": user.strip(), "table": table}, before=before)


@router.get("/experiments/{experiment}/audit", response_class=HTMLResponse)
def show_audit_of_experiment(
    request: Request,
    experiment: str,
    who: LoggedIn,
    user: Text = "",
    table: Text = "",
    before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> HTMLResponse:
    """Show the changes of one experiment, for whoever may say who has access to it."""
    held = who.access.privileges(who.session, experiment)
    if "read" not in held:
        raise NotThereError("experiment")
    if "manage_groups" not in held:
        message = f"You may read {experiment}; who changed what is shown to those who manage its people."
        raise NotAllowedError(message)
    return _page(request, who, experiment=experiment, asked={"user": user.strip(), "table": table}, before=before)


def _page(
    request: Request, who: Visitor, *, experiment: str | None, asked: Mapping[str, str], before: int | None
) -> HTMLResponse:
    desk = web_settings(request).desk
    if desk is None:
        raise NotThereError("page")
    given = {key: value for key, value in asked.items() if value}
    narrowed = {key: value for key, value in given.items() if value != EVERYTHING}
    without = () if asked["table"] else WRITTEN_BY_PROGRAMS
    found: Sequence[Change] = desk.changes(
        who.session, experiment, narrowed=narrowed, without=without, before=before, limit=PAGE_SIZE
    )
    older = urlencode({**given, "before": str(found[-1].id)}) if len(found) == PAGE_SIZE else None
    values: dict[str, object] = {
        "experiment": experiment,
        "changes": [(one, differences(one, zone=web_settings(request).zone)) for one in found],
        "asked": asked,
        "tables": TABLES,
        "older": older,
        "newest": before is None,
    }
    topic = ELOGBOOK if before is None else None
    return render(request, "audit.html", visitor=who, topic=topic, values=values)
