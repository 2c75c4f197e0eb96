"""A sample's parameters: changed from now on, or for all its movies; and the branches that this makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.app import reprocess_sample
from cryodaq.app.reprocess_sample import Reprocessing
from cryodaq.domain.experiment import ParameterValue, Sample
from cryodaq.domain.parameters import InstrumentDefaults, read_operator_settings
from cryodaq.domain.session_checks import Check, check_parameters
from cryodaq.errors import LedgerError, LogbookError, LogbookUnreachableError, ParameterError
from cryodaq.ledger.branches import branch_states, compare
from cryodaq.ledger.events import last_event_id
from cryodaq.ledger.measurements import QUANTITIES
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ledger.selection import Selection, distributions
from cryodaq.web.operators import NotAllowedError, RefusedError
from cryodaq.web.plots import panels
from cryodaq.web.rendering import render
from cryodaq.web.sample_fields import PREFIX, FieldGroup, as_sent, field_groups, read_params, usual
from cryodaq.web.sample_pages import readable_sample
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, ledger_of, web_settings

router = APIRouter()
MOST_FIELDS = 200


@router.get("/samples/{sample_id}/parameters", response_class=HTMLResponse)
def show_parameters(request: Request, sample_id: str, who: LoggedIn) -> HTMLResponse:
    """Show a sample's parameters and its branches."""
    sample = _sample(request, sample_id, who)
    groups = _groups(request, who)
    return _page(request, sample, who, sent=as_sent(groups, _said(request, sample, who).params), groups=groups)


@router.post("/samples/{sample_id}/parameters")
async def change_parameters(request: Request, sample_id: str, who: LoggedIn) -> Response:
    """Change the parameters, in the elogbook too, as the person says: from now on, or for all movies."""
    async with request.form(max_fields=MOST_FIELDS) as form:
        return await run_in_threadpool(_change, request, sample_id, form, who)


def _change(request: Request, sample_id: str, form: FormData, who: Visitor) -> Response:
    sample = _sample(request, sample_id, who)
    parts = _parts(request, sample, who)
    groups = _groups(request, who)
    sent = {key: value for key, value in form.multi_items() if isinstance(value, str)}
    changed, problems = read_params(groups, sent)
    before = _said(request, sample, who)
    params = _merged(before.params, changed, groups)
    problem = "Something is missing or wrong; it is marked below." if problems else None
    if problem is None:
        act = (
            reprocess_sample.begin_reprocessing if sent.get("reach") == "all" else reprocess_sample.process_from_now_on
        )
        try:
            read_operator_settings(params)
            _tell_elogbook(request, sample, who, replace(before, params=params))
            act(parts, sample.id, params=params, asked_by=who.person.user)
        except LogbookUnreachableError:
            raise
        except (LogbookError, LedgerError, ParameterError) as error:
            problem = f"{str(error)[:1].upper()}{str(error)[1:]}."
    if problem is None:
        return RedirectResponse(f"/samples/{sample.id}/parameters", status_code=303)
    return _page(request, sample, who, sent=sent, groups=groups, problem=problem, problems=problems, status=422)


def _tell_elogbook(request: Request, sample: SampleRecord, who: Visitor, changed: Sample) -> None:
    desk = web_settings(request).desk
    if desk is not None:
        desk.update_sample(who.session, sample.experiment, changed)


def _merged(
    before: Mapping[str, ParameterValue], changed: Mapping[str, ParameterValue], groups: list[FieldGroup]
) -> dict[str, ParameterValue]:
    """Return the parameters with what the form says; keys that it does not have stay."""
    asked = {field.key for group in groups for field in group.fields}
    return {**{key: value for key, value in before.items() if key not in asked}, **changed}


@router.post("/samples/{sample_id}/branches/{name}/current")
def make_branch_current(request: Request, sample_id: str, name: str, who: LoggedIn) -> Response:
    """Let pages show a branch and new movies be processed in it."""
    return _decide(
        request,
        sample_id,
        who,
        lambda parts, found: reprocess_sample.make_current(parts, found, name, asked_by=who.person.user),
    )


@router.post("/samples/{sample_id}/branches/{name}/delete")
def delete_branch(request: Request, sample_id: str, name: str, who: LoggedIn) -> Response:
    """Delete a branch with its products."""
    return _decide(
        request,
        sample_id,
        who,
        lambda parts, found: reprocess_sample.delete_branch(parts, found, name, asked_by=who.person.user),
    )


def _decide(request: Request, sample_id: str, who: Visitor, act: Callable[[Reprocessing, str], object]) -> Response:
    sample = _sample(request, sample_id, who)
    try:
        act(_parts(request, sample, who), sample.id)
    except LedgerError as error:
        message = f"Nothing was changed: {error}."
        raise RefusedError(message) from error
    return RedirectResponse(f"/samples/{sample.id}/parameters", status_code=303)


@router.get("/samples/{sample_id}/compare", response_class=HTMLResponse)
def compare_branches(
    request: Request,
    sample_id: str,
    who: LoggedIn,
    first: str = "",
    second: str = "",
) -> HTMLResponse:
    """Show two branches side by side."""
    sample = _sample(request, sample_id, who)
    engine = ledger_of(request)
    with engine.connect() as connection:
        since = last_event_id(connection)
        known = {state.name: state for state in branch_states(connection, sample.id)}
        if first not in known or second not in known:
            raise NotThereError("branch")
        shown = {
            name: panels(distributions(connection, Selection(sample_id=sample.id, branch_name=name)), limits={})
            for name in (first, second)
        }
        rows = compare(connection, known[first].id, known[second].id)
    values: dict[str, object] = {
        "sample": sample,
        "first": known[first],
        "second": known[second],
        "panels": shown,
        "rows": rows,
        "quantities": QUANTITIES,
    }
    return render(request, "compare.html", visitor=who, topic=f"sample:{sample.id}", since=since, values=values)


def _sample(request: Request, sample_id: str, who: Visitor) -> SampleRecord:
    engine = ledger_of(request)
    with engine.connect() as connection:
        return readable_sample(connection, sample_id, who)


def _parts(request: Request, sample: SampleRecord, who: Visitor) -> Reprocessing:
    parts = web_settings(request).reprocessing
    if parts is None:
        raise NotThereError("page")
    if "post" not in who.access.privileges(who.session, sample.experiment):
        message = f"You may read {sample.experiment}, but not change its parameters."
        raise NotAllowedError(message)
    return parts


def _said(request: Request, sample: SampleRecord, who: Visitor) -> Sample:
    """Return the sample as the elogbook has it now; without our own elogbook as it was last seen."""
    desk = web_settings(request).desk
    if desk is not None:
        for found in desk.samples(who.session, sample.experiment):
            if found.id == sample.id:
                return found
    known = {
        key: value if isinstance(value, str | int | float | bool) else None for key, value in sample.params.items()
    }
    return Sample(id=sample.id, name=sample.name, params=known)


def _groups(request: Request, who: Visitor) -> list[FieldGroup]:
    desk = web_settings(request).desk
    return field_groups([] if desk is None else desk.sample_definitions(who.session))


def _page(
    request: Request,
    sample: SampleRecord,
    who: Visitor,
    *,
    sent: Mapping[str, str],
    groups: list[FieldGroup],
    problem: str | None = None,
    problems: Mapping[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    engine = ledger_of(request)
    with engine.connect() as connection:
        since = last_event_id(connection)
        states = branch_states(connection, sample.id)
    values: dict[str, object] = {
        "sample": sample,
        "groups": groups,
        "sent": sent,
        "problem": problem,
        "problems": problems or {},
        "branches": states,
        "current": next((state for state in states if state.is_current), None),
        "checks": _checks(sent, groups, request, sample),
        "may_change": web_settings(request).reprocessing is not None
        and "post" in who.access.privileges(who.session, sample.experiment),
        "prefix": PREFIX,
        "usual": usual(_defaults(request, sample)),
    }
    topic = f"sample:{sample.id}"
    return render(request, "parameters.html", visitor=who, topic=topic, since=since, status=status, values=values)


def _checks(sent: Mapping[str, str], groups: list[FieldGroup], request: Request, sample: SampleRecord) -> list[Check]:
    params, _ = read_params(groups, sent)
    try:
        return check_parameters(read_operator_settings(params), params, _defaults(request, sample))
    except ParameterError:
        return []


def _defaults(request: Request, sample: SampleRecord) -> InstrumentDefaults:
    stand = web_settings(request).stands.get(sample.microscope)
    return stand.defaults if stand else InstrumentDefaults(voltage_kv=None, cs_mm=None, amplitude_contrast=0.1)
