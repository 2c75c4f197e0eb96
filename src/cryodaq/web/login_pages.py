"""Log-in with a password or a one-time link, and log-out; the elogbook decides, the cookie carries its session."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.errors import LogbookAccessError, LogbookUnreachableError
from cryodaq.web.origin import signed_on_user
from cryodaq.web.protection import safe_next
from cryodaq.web.rendering import render
from cryodaq.web.settings import SESSION_COOKIE
from cryodaq.web.visitors import ask_elogbook, find_visitor, web_settings

router = APIRouter()
_MAX_TEXT = 1024
GOES_ON = "Copying and processing go on meanwhile."
SILENT = f"The elogbook does not answer, so nobody can log in now. {GOES_ON}"


@router.get("/login", response_class=HTMLResponse)
def show_login(request: Request, ticket: str | None = None, next: str | None = None) -> Response:  # noqa: A002  # the address's word
    """Show the form; a one-time link logs in at once, unless another site led here: then after a click."""
    if ticket is not None and request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return _log_in_with_ticket(request, ticket[:_MAX_TEXT])
    try:
        if ticket is None and find_visitor(request) is not None:
            return RedirectResponse(safe_next(next), status_code=303)
        signed_on = signed_on_user(request)
        if ticket is None and signed_on is not None:
            session = web_settings(request).access.log_in_trusted(signed_on)
            return _with_cookie(request, RedirectResponse(safe_next(next), status_code=303), session)
        ask_elogbook(request)
    except LogbookAccessError as error:
        return _form(request, next_path=safe_next(next), problem=str(error))
    except LogbookUnreachableError:
        return _form(request, next_path=safe_next(next), problem=SILENT, status=503)
    return _form(request, next_path=safe_next(next), ticket=None if ticket is None else ticket[:_MAX_TEXT])


@router.post("/login", response_class=HTMLResponse)
def log_in(
    request: Request,
    user: Annotated[str, Form(max_length=_MAX_TEXT)] = "",
    password: Annotated[str, Form(max_length=_MAX_TEXT)] = "",
    ticket: Annotated[str | None, Form(max_length=_MAX_TEXT)] = None,
    next: Annotated[str | None, Form(max_length=_MAX_TEXT)] = None,  # noqa: A002  # the form's word
) -> Response:
    """Log in and go where the person wanted to go."""
    if ticket is not None:
        return _log_in_with_ticket(request, ticket)
    target = safe_next(next)
    if not user.strip() or not password:
        return _form(request, next_path=target, problem="Write your user name and your password.", user=user)
    try:
        session = web_settings(request).access.log_in(user.strip(), password)
    except LogbookAccessError as error:
        return _form(request, next_path=target, problem=str(error), user=user)
    except LogbookUnreachableError:
        return _form(request, next_path=target, problem=SILENT, user=user, status=503)
    return _with_cookie(request, RedirectResponse(target, status_code=303), session)


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End the session in the elogbook and forget the cookie."""
    session = request.cookies.get(SESSION_COOKIE)
    if session:
        web_settings(request).access.log_out(session)
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax")
    return answer


@router.get("/logout", response_class=HTMLResponse)
def ask_to_log_out(request: Request) -> Response:
    """Ask first: following a link must not change anything."""
    return render(request, "logout.html", visitor=find_visitor(request))


def login_address(request: Request) -> str:
    """Return the log-in page's address that leads back here afterwards."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/login" if wanted == "/" else f"/login?next={quote(safe_next(wanted), safe='/')}"


def _log_in_with_ticket(request: Request, ticket: str) -> Response:
    try:
        session = web_settings(request).access.log_in_with_ticket(ticket)
    except LogbookAccessError as error:
        return _form(request, next_path="/", problem=str(error))
    return _with_cookie(request, RedirectResponse("/", status_code=303), session)


def _with_cookie(request: Request, answer: RedirectResponse, session: str) -> RedirectResponse:
    secure = web_settings(request).secure_cookies
    answer.set_cookie(SESSION_COOKIE, session, path="/", httponly=True, samesite="lax", secure=secure)
    return answer


def _form(
    request: Request,
    *,
    next_path: str,
    problem: str | None = None,
    user: str = "",
    ticket: str | None = None,
    status: int = 403,
) -> HTMLResponse:
    """Show the form; `status` is that of a form with a problem."""
    values: dict[str, object] = {"next_path": next_path, "problem": problem, "user": user, "ticket": ticket}
    return render(request, "login.html", visitor=None, status=200 if problem is None else status, values=values)
