"""The elogbook's own pages: logging in, what is current on which microscope, and the API.

They change nothing and need no script; whoever steers does it on the board, or by the API.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.elogbook.api.bodies import Fields
from cryodaq.elogbook.api.gate import Elogbook, Entry, Gate
from cryodaq.elogbook.api.sessions import delete_cookie, end_session, log_in, set_cookie
from cryodaq.elogbook.pages.api_page import calls_by_topic
from cryodaq.elogbook.pages.overview import overview
from cryodaq.elogbook.refusals import RefusalError
from cryodaq.elogbook.settings import ElogbookSettings

router = APIRouter(include_in_schema=False)
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff"}


def _policy(after_login_url: str) -> str:
    """Return the pages' content policy: no scripts, forms to this site, and on to where a log-in leads."""
    parts = urlsplit(after_login_url)
    onward = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'{onward}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def make_templates(settings: ElogbookSettings) -> Environment:
    """Return the pages' templates; times are shown in the site's zone."""
    zone = ZoneInfo(settings.site_zone)

    def local_time(text: str | None) -> str:
        return "" if text is None else datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M")

    templates = Environment(
        loader=PackageLoader("cryodaq.elogbook.pages", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["local_time"] = local_time
    templates.globals |= {"zone": settings.site_zone, "board": settings.after_login_url}
    return templates


def _page(gate: Gate, name: str, *, status: int = 200, **facts: Any) -> HTMLResponse:  # Any: templates take all
    templates: Environment = gate.request.app.state.templates
    policy = _policy(gate.elogbook.settings.after_login_url)
    headers = {**HEADERS, "Content-Security-Policy": policy}
    return HTMLResponse(templates.get_template(name).render(**facts), status, headers=headers)


def _target(elogbook: Elogbook, wanted: object) -> str:
    """Return where to go after logging in: a path here, or the site's own page; never another site."""
    after = elogbook.settings.after_login_url
    if not isinstance(wanted, str) or not wanted:
        return after
    parts = urlsplit(wanted)
    if wanted == after or (urlsplit(after).netloc and parts[:2] == urlsplit(after)[:2]):
        return wanted
    is_path = wanted.startswith("/") and not parts.netloc and not wanted.startswith(("//", "/\\"))
    return wanted if is_path and wanted.isprintable() else after


@router.get("/login")
def show_login(gate: Entry, ticket: str = "", next: str = "") -> HTMLResponse:  # noqa: A002  # query's name
    return _page(gate, "login.html", problem=None, ticket=ticket, next=next, user="")


@router.post("/login")
def submit_login(gate: Entry, fields: Fields) -> Response:
    try:
        secret, _, _ = log_in(gate, fields)
    except RefusalError as refusal:
        return _page(
            gate,
            "login.html",
            status=refusal.status,
            problem=refusal.sentence,
            ticket="",
            next=fields.get("next", ""),
            user=fields.get("user", ""),
        )
    response = RedirectResponse(_target(gate.elogbook, fields.get("next")), 303)
    set_cookie(response, gate.elogbook, secret=secret)
    return response


@router.post("/logout")
def submit_logout(gate: Entry, fields: Fields) -> Response:
    gate.form_token = fields.get("csrf_token")
    end_session(gate)
    response = RedirectResponse("/login", 303)
    delete_cookie(response, gate.elogbook)
    return response


@router.get("/")
def show_overview(gate: Entry) -> Response:
    with gate.open() as work:
        if work.principal is None:
            return RedirectResponse("/login", 303)
        facts = overview(work, work.principal)
    return _page(gate, "overview.html", **facts)


@router.get("/docs")
def show_api(gate: Entry) -> HTMLResponse:
    return _page(gate, "api.html", topics=calls_by_topic(gate.request.app))
