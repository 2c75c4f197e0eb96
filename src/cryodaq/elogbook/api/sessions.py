"""Routes of logging in, which are ours: sessions of browsers, one-time tickets, and rights for other pages.

POST   /session           {"user", "password"} or {"ticket"}; sets the cookie; answers as GET /session
GET    /session           who I am: user, full_name, groups, privileges (site-wide), experiments (readable)
DELETE /session           ends it at once
GET    /session/rights?experiment=NAME    {experiment, exists, privileges}
GET    /session/rights?instrument=NAME    {instrument, exists, privileges}
POST   /session/tickets   {"user"}: a token of that user, or with `config_edit`, gets {ticket, expires_at}
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from fastapi import APIRouter
from starlette.responses import Response

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.accounts import MAX_PASSWORD_LENGTH, password_is_right
from cryodaq.elogbook.api.bodies import Fields
from cryodaq.elogbook.api.gate import Answer, Elogbook, Entry, Gate, success, value
from cryodaq.elogbook.api.shapes import LOG_IN, TICKET, json_body
from cryodaq.elogbook.audit import name_actor
from cryodaq.elogbook.authentication import refuse_other_sites
from cryodaq.elogbook.book import instruments
from cryodaq.elogbook.book.times import write_time
from cryodaq.elogbook.book.work import Work, require_text
from cryodaq.elogbook.origin import address_of, comes_from_web, describe
from cryodaq.elogbook.refusals import BadRequestError, ForbiddenError, NotFoundError
from cryodaq.elogbook.rights import Credential, instrument_privileges, readable_experiments, site_privileges
from cryodaq.elogbook.sessions import (
    check_login_rate,
    close_session,
    issue_ticket,
    note_failed_login,
    open_session,
    redeem_ticket,
)

router = APIRouter(prefix="/session", tags=["session"])
WRONG = "The name or the password is wrong."
DEAD_TICKET = "The log-in link was used or is too old; ask for a new one."


def log_in(gate: Gate, fields: dict[str, object]) -> tuple[str, datetime, str]:
    """Check a password or a ticket and open a session.

    Returns
    -------
    The session's secret, its end, and whose it is.

    Raises
    ------
    BadRequestError, ForbiddenError, TooManyTriesError
    """
    refuse_other_sites(gate.request)
    if fields.get("trusted_user"):
        return _log_in_trusted(gate, require_text(fields["trusted_user"], what="trusted_user", max_length=64))
    if fields.get("ticket"):
        return _log_in_by_ticket(gate, require_text(fields["ticket"], what="ticket", max_length=200))
    uid = require_text(fields.get("user"), what="user", max_length=64)
    password = require_text(fields.get("password"), what="password", max_length=MAX_PASSWORD_LENGTH)
    return _log_in_by_password(gate, uid, password)


def _log_in_trusted(gate: Gate, uid: str) -> tuple[str, datetime, str]:
    """Open a session for somebody whom the site's single sign-on knows, as the pages' own server says."""
    with gate.open_unasked() as work:
        if work.settings.sso_header is None or not comes_from_web(work.connection, gate.request, work.settings):
            raise ForbiddenError("Only the pages' own server may say who somebody is.")
        if not _password_hash(work, uid)[0]:
            message = f"{uid!r} is not in the elogbook's directory, or is disabled; ask the facility."
            raise ForbiddenError(message)
        return (*_open_session(gate, work, uid), uid)


def _open_session(gate: Gate, work: Work, uid: str) -> tuple[str, datetime]:
    name_actor(work.connection, uid, origin=describe(work.connection, gate.request, work.settings))
    return open_session(work.connection, uid, now=work.now, settings=work.settings)


def _log_in_by_ticket(gate: Gate, ticket: str) -> tuple[str, datetime, str]:
    with gate.open_unasked() as work:
        uid = redeem_ticket(work.connection, ticket, now=work.now)
        if uid is None or not _password_hash(work, uid)[0]:
            raise ForbiddenError(DEAD_TICKET)
        return (*_open_session(gate, work, uid), uid)


def _log_in_by_password(gate: Gate, uid: str, password: str) -> tuple[str, datetime, str]:
    with gate.open_unasked() as work:
        address = address_of(work.connection, gate.request, work.settings)
        check_login_rate(work.connection, uid, address=address, now=work.now, settings=work.settings)
        active, password_hash = _password_hash(work, uid)
    with gate.elogbook.password_checks:
        right = password_is_right(password_hash, password) and active
    with gate.open_unasked() as work:
        if right:
            return (*_open_session(gate, work, uid), uid)
        note_failed_login(work.connection, uid, address=address, now=work.now)
    raise ForbiddenError(WRONG)


def _password_hash(work: Work, uid: str) -> tuple[bool, str | None]:
    """Return whether an account may be used, and its password's hash."""
    a = t.account.c
    row = work.connection.execute(sa.select(a.password_hash, a.disabled_at).where(a.uid == uid)).first()
    return (False, None) if row is None else (row.disabled_at is None, row.password_hash)


def set_cookie(response: Response, elogbook: Elogbook, *, secret: str) -> None:
    """Give the browser its session."""
    cookie = elogbook.settings.cookie
    response.set_cookie(
        cookie.name,
        secret,
        max_age=int(cookie.lifetime_h * 3600),
        path="/",
        httponly=True,
        secure=cookie.secure,
        samesite="lax",
    )


def delete_cookie(response: Response, elogbook: Elogbook) -> None:
    """Take the session from the browser."""
    cookie = elogbook.settings.cookie
    response.delete_cookie(cookie.name, path="/", httponly=True, secure=cookie.secure, samesite="lax")


@router.post("", openapi_extra=json_body(LOG_IN))
def create_session(gate: Entry, fields: Fields) -> Answer:
    secret, expires_at, uid = log_in(gate, fields)
    answer = _private({"user": uid, "expires_at": write_time(expires_at)})
    set_cookie(answer, gate.elogbook, secret=secret)
    return answer


def _private(found: object) -> Answer:
    """Return an answer that no cache keeps."""
    answer = value(found)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.get("")
def read_session(gate: Entry) -> Answer:
    with gate.site() as work:
        principal = work.principal
        if principal is None:
            raise ForbiddenError("Log in, or send a token.")
        person = {
            "user": principal.uid,
            "full_name": principal.full_name,
            "groups": list(principal.groups),
            "privileges": sorted(site_privileges(work.connection, principal)),
            "experiments": readable_experiments(work.connection, principal),
            "csrf_token": principal.forgery_token,
        }
        return _private(person)


@router.delete("")
def delete_session(gate: Entry) -> Answer:
    end_session(gate)
    answer = success()
    delete_cookie(answer, gate.elogbook)
    return answer


def end_session(gate: Gate) -> None:
    """End the session that the request's cookie belongs to."""
    with gate.open() as work:
        secret = gate.request.cookies.get(work.settings.cookie.name)
        if secret:
            close_session(work.connection, secret)


@router.get("/rights")
def read_rights(gate: Entry, experiment: str | None = None, instrument: str | None = None) -> Answer:
    if (experiment is None) == (instrument is None):
        raise BadRequestError("Name an experiment or an instrument")
    if experiment is None:
        with gate.site() as work:
            return _private(_instrument_rights(work, str(instrument)))
    with gate.experiment_or_none(experiment) as (found, held):
        return _private({"experiment": experiment, "exists": found is not None, "privileges": sorted(held)})


def _instrument_rights(work: Work, name: str) -> dict[str, object]:
    found = instruments.find(work, name)
    held: frozenset[str] = frozenset()
    if found is not None and work.principal is not None:
        held = instrument_privileges(work.connection, work.principal, found["id"])
    return {"instrument": name, "exists": found is not None, "privileges": sorted(held)}


@router.post("/tickets", openapi_extra=json_body(TICKET))
def create_ticket(gate: Entry, fields: Fields) -> Answer:
    uid = require_text(fields.get("user"), what="user", max_length=64)
    with gate.site() as work:
        if work.principal is None or work.principal.credential is not Credential.TOKEN:
            raise ForbiddenError("Only a program with a token can ask for a log-in link.")
        if uid != work.uid and "config_edit" not in site_privileges(work.connection, work.principal):
            message = f"{work.uid} lacks the privilege 'config_edit' here."
            raise ForbiddenError(message)
        if not _password_hash(work, uid)[0]:
            message = f"There is no account {uid!r}"
            raise NotFoundError(message)
        ticket, expires_at = issue_ticket(
            work.connection, uid, issued_by=work.uid, now=work.now, settings=work.settings
        )
        return _private({"ticket": ticket, "expires_at": write_time(expires_at)})
