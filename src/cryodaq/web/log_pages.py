"""An experiment's log: entries in threads, tags, search, attached files; the elogbook keeps it and says who may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.errors import LogbookError, LogbookUnreachableError
from cryodaq.logbook.desk import Desk, LogEntry
from cryodaq.logbook.transport import FormFile
from cryodaq.web.rendering import ELOGBOOK, render
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, web_settings

router = APIRouter()
THREADS = 100
"""So many newest threads are shown; search finds the others."""
MOST_FILES, MOST_FIELDS = 10, 20
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_FILE_HEADERS = {"content-security-policy": "default-src 'none'; sandbox", "cache-control": "private, max-age=3600"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """An entry and the answers to it, oldest first."""

    entries: tuple[LogEntry, ...]


def threads(entries: Sequence[LogEntry]) -> list[Thread]:
    """Return the threads, the one with the newest entry first; earlier versions and deleted entries are left out."""
    found: dict[str, list[LogEntry]] = {}
    for entry in entries:
        if not entry.deleted_by:
            found.setdefault(entry.root, []).append(entry)
    newest = sorted(
        found.values(), key=lambda said: (said[-1].written_at is not None, said[-1].written_at, said[-1].id)
    )
    return [Thread(entries=tuple(said)) for said in reversed(newest)]


@router.get("/experiments/{experiment}/log", response_class=HTMLResponse)
def show_log(
    request: Request,
    experiment: str,
    who: LoggedIn,
    q: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """Show what was written."""
    return _page(request, experiment, who, search=q.strip())


def _page(
    request: Request,
    experiment: str,
    who: Visitor,
    *,
    search: str = "",
    problem: str | None = None,
    written: str = "",
) -> HTMLResponse:
    desk = _desk(request, experiment, who)
    try:
        found = threads(desk.log(who.session, experiment, search=search))
    except LogbookUnreachableError:
        raise
    except LogbookError as error:
        found, problem = [], f"{error}."
    values: dict[str, object] = {
        "experiment": experiment,
        "threads": found[:THREADS],
        "more": max(0, len(found) - THREADS),
        "q": search,
        "tags": desk.log_tags(who.session, experiment),
        "may_post": "post" in who.access.privileges(who.session, experiment),
        "problem": problem,
        "written": written,
        "pictures": _PICTURES,
        "mail": _mail(request, desk, experiment, who),
    }
    topic, status = (ELOGBOOK, 200) if problem is None else (None, 422)  # what was written must not be fetched away
    return render(request, "log.html", visitor=who, topic=topic, status=status, values=values)


def _mail(request: Request, desk: Desk, experiment: str, who: Visitor) -> bool | None:
    """Return whether the person gets new entries by e-mail; None where the site sends none."""
    return desk.gets_mail(who.session, experiment, who.person.user) if web_settings(request).mails_log else None


@router.post("/experiments/{experiment}/log/mail")
def send_mail(request: Request, experiment: str, who: LoggedIn, wanted: Annotated[bool, Form()]) -> Response:
    """Have new entries sent, or no more."""
    desk = _desk(request, experiment, who)
    try:
        desk.send_mail(who.session, experiment, wanted=wanted)
    except LogbookUnreachableError:
        raise
    except LogbookError as error:
        return _page(request, experiment, who, problem=f"{error}.")
    return RedirectResponse(f"/experiments/{quote(experiment, safe='')}/log", status_code=303)


def _desk(request: Request, experiment: str, who: Visitor) -> Desk:
    desk = web_settings(request).desk
    if desk is None or not who.may_read(experiment):
        raise NotThereError("log")
    return desk


@router.post("/experiments/{experiment}/log")
async def write_entry(request: Request, experiment: str, who: LoggedIn) -> Response:
    """Write an entry, or an answer to one, with files."""
    async with request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS) as form:
        files = [
            FormFile(name=part.filename, type=part.content_type or "", content=await part.read())
            for part in form.getlist("files")
            if isinstance(part, UploadFile) and part.filename
        ]
        return await run_in_threadpool(_write, request, experiment, form, files, who)


def _write(request: Request, experiment: str, form: FormData, files: list[FormFile], who: Visitor) -> Response:
    desk = _desk(request, experiment, who)
    names = ("log_text", "log_title", "log_tags", "parent")
    fields = {name: text for name in names if isinstance(text := form.get(name), str) and text.strip()}
    try:
        desk.write_entry(who.session, experiment, fields=fields, files=files)
    except LogbookUnreachableError:
        raise
    except LogbookError as error:
        return _page(
            request, experiment, who, problem=f"Nothing was written: {error}.", written=fields.get("log_text", "")
        )
    return RedirectResponse(f"/experiments/{quote(experiment, safe='')}/log", status_code=303)


@router.get("/experiments/{experiment}/log/{entry}/{attachment}")
def show_attachment(
    request: Request,
    experiment: str,
    entry: str,
    attachment: str,
    who: LoggedIn,
    small: Annotated[str, Query(max_length=1)] = "",
    name: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """Send an attached file; only pictures are shown, everything else is saved."""
    desk = _desk(request, experiment, who)
    try:
        found = desk.attachment(who.session, experiment, entry=entry, attachment=attachment, small=bool(small))
    except LogbookUnreachableError:
        raise
    except LogbookError as error:
        raise NotThereError("attachment") from error
    kind = found.type if found.type in _PICTURES else "application/octet-stream"
    how = "inline" if found.type in _PICTURES else "attachment"
    headers = {
        **_FILE_HEADERS,
        "content-disposition": f"{how}; filename*=UTF-8''{quote(name[:200] or 'file', safe='')}",
    }
    return Response(found.content, media_type=kind, headers=headers)
