"""A sample's movies: gallery, table, plots, limits that say which are in, groups, exports, and what to type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response, StreamingResponse

from cryodaq.app.export_selection import Kind, export_selection
from cryodaq.domain.layout import BranchLayout, SampleLayout
from cryodaq.domain.names import check_sample_id
from cryodaq.errors import UnsafeNameError
from cryodaq.ledger import gallery
from cryodaq.ledger.board import sample_progress
from cryodaq.ledger.branches import branch_states
from cryodaq.ledger.events import last_event_id, open_alarms
from cryodaq.ledger.limits import find_limits, keep_limits
from cryodaq.ledger.measurements import QUANTITIES
from cryodaq.ledger.samples import SampleRecord, find_branch, find_sample
from cryodaq.ledger.selection import count_selection, distributions, groups, selected_ids, selected_movies
from cryodaq.web.operators import require_post
from cryodaq.web.plots import panels
from cryodaq.web.rendering import render
from cryodaq.web.selection_form import Asked, read_limits, read_query, said_limits
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, ledger_of, web_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

router = APIRouter()
MOST_FIELDS = 60
_TYPES = {"star": "text/plain; charset=utf-8", "csv": "text/csv; charset=utf-8"}


@router.get("/samples/{sample_id}", response_class=HTMLResponse)
def show_sample(request: Request, sample_id: str, who: LoggedIn) -> HTMLResponse:
    """Show a sample's movies."""
    engine = ledger_of(request)
    with engine.connect() as connection:
        since = last_event_id(connection)
        sample = readable_sample(connection, sample_id, who)
        asked = asked_of(connection, request, sample)
        values: dict[str, object] = {
            "sample": sample,
            "asked": asked,
            "counts": count_selection(connection, asked.selection),
            "progress": sample_progress(connection, [sample.id])[sample.id],
            "arriving": gallery.arriving_files(connection, sample.id) if asked.page == 1 else (),
            "alarms": [alarm for alarm in open_alarms(connection) if alarm.subject.sample_id == sample.id],
            "states": tuple(gallery.MOVIE_STATES),
            "quantities": QUANTITIES,
            "kept": find_limits(connection, sample.id),
            "said_limits": said_limits(asked.selection.limits),
            "may_keep": "post" in who.access.privileges(who.session, sample.experiment),
            **_listing(connection, asked),
            **_sheet(connection, sample, branch=asked.selection.branch_name),
            "branches": branch_states(connection, sample.id),
            "has_log": web_settings(request).desk is not None,
        }
    return render(request, "sample.html", visitor=who, topic=f"sample:{sample.id}", since=since, values=values)


def _listing(connection: Connection, asked: Asked) -> dict[str, object]:
    if asked.view in {"squares", "holes"}:
        by = "square" if asked.view == "squares" else "hole"
        found, more = groups(connection, asked.selection, by=by, page=asked.page)
        return {"groups": found, "movies": [], "more": more}
    movies, more = selected_movies(connection, asked.selection, page=asked.page)
    return {"groups": [], "movies": movies, "more": more}


def asked_of(connection: Connection, request: Request, sample: SampleRecord) -> Asked:
    """Read what a page of a sample was asked for, in which of its branches."""
    wanted = request.query_params.get("branch", "")
    known = wanted and find_branch(connection, sample.id, wanted[:100]) is not None
    branch = wanted if known else sample.current_branch
    kept = find_limits(connection, sample.id)
    return read_query(
        request.query_params,
        sample_id=sample.id,
        branch_name=branch,
        current_branch=sample.current_branch,
        kept=None if kept is None else kept.limits,
        zone=web_settings(request).zone,
    )


def _sheet(connection: Connection, sample: SampleRecord, *, branch: str) -> dict[str, object]:
    """Return what a person types into other programs, from the newest movie with results."""
    newest = gallery.newest_published(connection, sample.id)
    history = None if newest is None else gallery.movie_history(connection, newest, branch_name=branch)
    return {"newest": history}


@router.get("/samples/{sample_id}/plots", response_class=HTMLResponse)
def show_plots(request: Request, sample_id: str, who: LoggedIn) -> HTMLResponse:
    """Show how the numbers are spread; the sample's page fetches this after itself."""
    engine = ledger_of(request)
    with engine.connect() as connection:
        sample = readable_sample(connection, sample_id, who)
        asked = asked_of(connection, request, sample)
        found = distributions(connection, asked.selection)
    values: dict[str, object] = {
        "sample": sample,
        "asked": asked,
        "panels": panels(found, limits=dict(asked.selection.limits)),
    }
    return render(request, "plots.html", visitor=who, values=values)


@router.get("/samples/{sample_id}/selection.{kind}")
def export(request: Request, sample_id: str, kind: Kind, who: LoggedIn) -> Response:
    """Send the movies that are in (or out, where the address says so) as a table."""
    engine = ledger_of(request)
    with engine.connect() as connection:
        sample = readable_sample(connection, sample_id, who)
        asked = asked_of(connection, request, sample)
        branch = find_branch(connection, sample.id, asked.selection.branch_name)
    if branch is None:
        raise NotThereError("table")
    selection = asked.meant()

    def lines() -> Iterator[str]:
        with engine.connect() as connection:
            numbers = selected_ids(connection, selection)
            yield from export_selection(connection, sample, branch, movie_ids=numbers, kind=kind)

    name = quote(f"{sample.experiment}_{sample.id}_{selection.which}.{kind}", safe="")
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
    return StreamingResponse(lines(), media_type=_TYPES[kind], headers=headers)


@router.get("/samples/{sample_id}/gain_check.png", response_class=FileResponse)
def show_gain_check(request: Request, sample_id: str, who: LoggedIn) -> FileResponse:
    """Send the picture of an alarm about the sample's gain reference: what it leaves in the latest movies."""
    return _gain_picture(_layout(request, sample_id, who).gain_check)


@router.get("/samples/{sample_id}/gain_contradiction.png", response_class=FileResponse)
def show_gain_contradiction(request: Request, sample_id: str, who: LoggedIn) -> FileResponse:
    """Send the picture of the alarm that a gain reference is not the movies': what they show, and what it explains."""
    return _gain_picture(_layout(request, sample_id, who).gain_contradiction)


def _layout(request: Request, sample_id: str, who: Visitor) -> BranchLayout:
    with ledger_of(request).connect() as connection:
        sample = readable_sample(connection, sample_id, who)
    return SampleLayout(root=PurePosixPath(sample.folder)).branch(sample.current_branch)


def _gain_picture(place: PurePosixPath) -> FileResponse:
    path = Path(place)
    if not path.is_file() or path.is_symlink():
        raise NotThereError("picture")
    return FileResponse(path, media_type="image/png", headers={"cache-control": "private, no-cache"})


@router.post("/samples/{sample_id}/limits")
async def change_limits(request: Request, sample_id: str, who: LoggedIn) -> Response:
    """Keep limits for a sample, for everybody and for the exports; none forgets those that were kept."""
    async with request.form(max_fields=MOST_FIELDS) as form:
        sent = {key: value for key, value in form.multi_items() if isinstance(value, str)}
    return await run_in_threadpool(_keep, request, sample_id, sent, who)


def _keep(request: Request, sample_id: str, sent: dict[str, str], who: Visitor) -> Response:
    engine = ledger_of(request)
    with engine.begin() as connection:
        sample = readable_sample(connection, sample_id, who)
        require_post(who, sample.experiment)
        at = web_settings(request).clock()
        keep_limits(connection, sample, read_limits(sent), kept_by=who.person.user, at=at)
    return RedirectResponse(f"/samples/{sample.id}#movies", status_code=303)


def readable_sample(connection: Connection, sample_id: str, who: Visitor) -> SampleRecord:
    """Return a sample. Raises `NotThereError` when there is none, or not for this person."""
    try:
        sample = find_sample(connection, check_sample_id(sample_id))
    except UnsafeNameError:
        sample = None
    if sample is None or not who.may_read(sample.experiment):
        raise NotThereError("sample")
    return sample
