"""Routes of the log of an experiment."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from sqlalchemy import RowMapping
from starlette.responses import Response

from cryodaq.elogbook.api.forms import Form, SentForm
from cryodaq.elogbook.api.gate import Answer, Entry, get_or_post, success, value
from cryodaq.elogbook.api.shapes import ENTRY_FORM, entry_form
from cryodaq.elogbook.book import attachments, elog, instruments
from cryodaq.elogbook.book.run_numbers import read_run_number
from cryodaq.elogbook.book.times import read_time
from cryodaq.elogbook.book.work import Work
from cryodaq.elogbook.refusals import BadRequestError, RuleError
from cryodaq.elogbook.rights import Credential

router = APIRouter(tags=["elog"])
_ON = frozenset({"on", "true", "1"})


def _draft(work: Work, experiment: str, form: Form) -> elog.Draft:
    fields = form.fields
    run = fields.get("run_num", "")
    return elog.Draft(
        content=fields.get("log_text", ""),
        title=fields.get("log_title"),
        tags=tuple(fields.get("log_tags", "").split()),
        email_to=tuple(fields.get("log_emails", "").split()),
        run=elog.find_run(work, experiment, run) if run else None,
        files=form.files,
    )


def _author(work: Work, fields: dict[str, str]) -> str:
    """Return who signs: a program may sign with its instrument's or a person's name, a person never."""
    stated = fields.get("author", "").strip()
    is_program = work.principal is not None and work.principal.credential is Credential.TOKEN
    return stated[:64] if stated and is_program else work.uid


@router.post("/lgbk/{experiment}/ws/new_elog_entry", openapi_extra=entry_form(ENTRY_FORM))
def new_entry(gate: Entry, experiment: str, form: SentForm) -> Answer:
    """Write an entry; with `parent` an answer, with `once` (ours) only unless one with that key is there."""
    with gate.experiment(experiment, needs="post") as (work, found):
        entry = elog.post(
            work,
            found,
            _draft(work, experiment, form),
            author=_author(work, form.fields),
            parent=form.fields.get("parent"),
            once_key=form.fields.get("once") or None,
        )
        others = _instrument_elogs(work, found)
        for other in others:
            both = form.fields.get("xpost_instrument_elog", ""), form.fields.get(f"post_to_elog_{other}", "")
            if _ON & {text.lower() for text in both}:
                elog.cross_post(work, entry["_id"], source=experiment, target=other)
    return value(entry)


def _instrument_elogs(work: Work, experiment: RowMapping) -> list[str]:
    """Return the experiments that serve as the log of the instrument, except the experiment itself."""
    instrument = instruments.find(work, experiment["instrument_id"])
    names = [] if instrument is None else str(instrument["params"].get("elog", "")).split()
    return [name for name in instruments.existing_experiments(work, names) if name != experiment["name"]]


@router.post("/lgbk/{experiment}/ws/modify_elog_entry", openapi_extra=entry_form(ENTRY_FORM))
def modify_entry(gate: Entry, experiment: str, _id: str, form: SentForm) -> Answer:
    """Write an entry anew; the earlier version stays, as a deleted answer."""
    with gate.experiment(experiment, needs="edit") as (work, _):
        return value(elog.modify(work, experiment, _id, _draft(work, experiment, form)))


@router.delete("/lgbk/{experiment}/ws/delete_elog_entry")
def delete_entry(gate: Entry, experiment: str, _id: str) -> Answer:
    """Mark an entry as deleted; lists still give it, with `deleted_by`."""
    with gate.experiment(experiment, needs="delete") as (work, _):
        elog.delete(work, experiment, _id)
    return success()


@router.get("/lgbk/{experiment}/ws/elog")
def list_entries(gate: Entry, experiment: str, sampleName: str | None = None) -> Answer:  # noqa: N803  # contract
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(elog.listing(work, experiment, sample_name=sampleName))


@router.get("/lgbk/{experiment}/ws/elog/{entry_id}/complete_elog_tree")
def read_thread(gate: Entry, experiment: str, entry_id: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(elog.thread(work, experiment, entry_id))


@router.get("/lgbk/{experiment}/ws/search_elog")
def search(
    gate: Entry,
    experiment: str,
    search_text: str | None = None,
    run_num: str | None = None,
    _id: str | None = None,
    start_date: str | None = None,
    end_date: str | None = None,
) -> Answer:
    """Look for `t:tag`, `x:expression` or words; or by run, by id, or by time."""
    with gate.experiment(experiment, needs="read") as (work, _):
        if run_num is not None:
            return value(elog.search_run(work, experiment, read_run_number(run_num)))
        if _id is not None:
            return value(elog.search_id(work, experiment, _id))
        if start_date is not None and end_date is not None:
            first, last = (read_time(text, what="A date", strict_format=None) for text in (start_date, end_date))
            return value(elog.search_time(work, experiment, first=first, last=last))
        if search_text is None:
            raise BadRequestError("Say what to look for: search_text, run_num, _id, or start_date and end_date")
        return value(elog.search_text(work, experiment, search_text))


@router.get("/lgbk/{experiment}/ws/get_elog_tags")
def list_tags(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(elog.tags(work, experiment))


@router.get("/lgbk/{experiment}/ws/elog_emails")
def list_emails(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(elog.emails(work, experiment))


@router.get("/lgbk/{experiment}/ws/get_instrument_elogs")
def list_instrument_elogs(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, found):
        return value(_instrument_elogs(work, found))


@get_or_post(router, "/lgbk/{experiment}/ws/cross_post_elogs")
def cross_post(gate: Entry, experiment: str, _id: str, post_to_elogs: str) -> Answer:
    """Copy an entry into logs of the instrument, named with commas between them."""
    with gate.experiment(experiment, needs="post", changes=True) as (work, found):
        known = _instrument_elogs(work, found)
        wanted = post_to_elogs.split(",")
        for name in wanted:
            if name not in known:
                message = f"{name:.80} is not a log of this instrument"
                raise RuleError(message)
        return value([elog.cross_post(work, _id, source=experiment, target=name) for name in wanted])


@router.get("/lgbk/{experiment}/ws/attachment", response_class=Response)
def read_attachment(
    gate: Entry, experiment: str, entry_id: str, attachment_id: str, prefer_preview: str = "false"
) -> Response:
    """Give an attached file, or the small picture of it."""
    with gate.experiment(experiment, needs="read") as (work, _):
        found = attachments.find(work, experiment, entry_id=entry_id, attachment_id=attachment_id)
    if prefer_preview.lower() == "true" and found["preview"] is not None:
        return Response(bytes(found["preview"]), media_type="image/png", headers=_headers(found["name"], shown=True))
    shown = attachments.is_shown(found["type"])
    return Response(bytes(found["content"]), media_type=found["type"], headers=_headers(found["name"], shown=shown))


def _headers(name: str, *, shown: bool) -> dict[str, Any]:  # Any: the type that Starlette takes
    """Return headers with which a browser never runs anything that is in a file."""
    return {
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, max-age=3600",
    }
