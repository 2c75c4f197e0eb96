"""Routes of runs, for the data acquisition under /run_control and for everybody under /lgbk."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from sqlalchemy import RowMapping
from starlette.responses import Response

from cryodaq.elogbook.api.bodies import OptionalJson, RequiredJson
from cryodaq.elogbook.api.gate import Answer, Entry, Gate, get_or_post, in_turn, streamed, success, value
from cryodaq.elogbook.api.shapes import DESCRIPTIONS, RUN_PARAMS, json_body
from cryodaq.elogbook.book import files, runs
from cryodaq.elogbook.book.run_numbers import read_run_number
from cryodaq.elogbook.book.times import WITH_FRACTION, read_time
from cryodaq.elogbook.book.work import Work, require_object
from cryodaq.elogbook.refusals import NotFoundError

router = APIRouter(tags=["runs"])


def _read_moment(work: Work, text: object, what: str) -> datetime:
    return read_time(text, what=what, strict_format=WITH_FRACTION if work.settings.dialect.strict_times else None)


def _begun_at(work: Work, start_time: str | None, body: Any) -> datetime:  # Any: a JSON value
    """Return when a run began: as the query says, else as the body says, else now."""
    if start_time is not None:
        return _read_moment(work, start_time, "start_time")
    stated = body.get("start_time") if isinstance(body, dict) else None
    if stated is not None and work.settings.dialect.body_begins_run:
        return _read_moment(work, stated, "start_time")
    return work.now


def _close_highest_as_an_explgbk_does(gate: Gate, experiment: str, start_time: str | None) -> None:
    """Close the highest run in a transaction of its own, so that it stays closed when the start then fails."""
    with gate.experiment(experiment, needs="post", changes=True, unlocked=True) as (work, _):
        _begun_at(work, start_time, None)
        runs.close_highest(work, experiment)


@get_or_post(router, "/run_control/{experiment}/ws/start_run", openapi_extra=json_body(RUN_PARAMS, required=False))
@in_turn
def start_run(
    gate: Entry,
    experiment: str,
    body: OptionalJson,
    run_num: str | None = None,
    run_type: str = "DATA",
    start_time: str | None = None,
    sample: str | None = None,
) -> Answer:
    if gate.elogbook.settings.dialect.closes_highest_run:
        _close_highest_as_an_explgbk_does(gate, experiment, start_time)
    with gate.experiment(experiment, needs="post", changes=True, unlocked=True) as (work, found):
        run = runs.start(
            work,
            experiment,
            label=None if run_num is None else read_run_number(run_num),
            run_type=run_type,
            begun_at=_begun_at(work, start_time, body),
            sample_id=runs.sample_id_for_start(work, found, sample),
            params={} if body is None else body,
        )
    return value(run)


@get_or_post(router, "/run_control/{experiment}/ws/end_run")
@in_turn
def end_run(gate: Entry, experiment: str, run_num: str | None = None, end_time: str | None = None) -> Answer:
    with gate.experiment(experiment, needs="post", changes=True, unlocked=True) as (work, _):
        ended_at = work.now if end_time is None else _read_moment(work, end_time, "end_time")
        run = runs.named_or_current(work, experiment, run_num)
        catalogue = files.of_run(work, experiment, run)
        return value(runs.end(work, experiment, run, ended_at=ended_at, files=catalogue))


@router.get("/run_control/{experiment}/ws/current_run")
@router.get("/lgbk/{experiment}/ws/current_run")
def current_run(gate: Entry, experiment: str, skipClosedRuns: str = "false") -> Answer:  # noqa: N803  # contract
    with gate.open_experiment(experiment) as (work, _):
        row = runs.find_current(work, experiment)
    if row is None or (skipClosedRuns.lower() == "true" and row["end_time"] is not None):
        return Answer({"success": False, "value": None})
    return value(runs.document(row, sample=row["sample_id"]))


@router.post("/run_control/{experiment}/ws/add_run_params", openapi_extra=json_body(RUN_PARAMS))
@router.post("/lgbk/{experiment}/ws/add_run_params", openapi_extra=json_body(RUN_PARAMS))
@in_turn
def add_run_params(gate: Entry, experiment: str, body: RequiredJson, run_num: str | None = None) -> Answer:
    with gate.experiment(experiment, needs="post", unlocked=True) as (work, _):
        params = require_object(body, what="The params of a run")
        if not params:
            return success()
        return value(runs.add_params(work, experiment, runs.named_or_current(work, experiment, run_num), params))


@router.get("/lgbk/{experiment}/ws/runs")
def list_runs(
    gate: Entry,
    experiment: str,
    includeParams: str = "true",  # noqa: N803  # contract
    sampleName: str | None = None,  # noqa: N803  # contract
) -> Response:
    with gate.experiment(experiment, needs="read"):
        with_params = includeParams.lower() != "false"
    return streamed(runs.pages(gate.open_unasked, experiment, with_params=with_params, sample_name=sampleName))


def _find(work: Work, experiment: str, run_num: str) -> RowMapping:
    return runs.find(work, experiment, read_run_number(run_num))


@router.get("/lgbk/{experiment}/ws/runs/{run_num:path}")
def get_run(gate: Entry, experiment: str, run_num: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(runs.with_sample_document(work, _find(work, experiment, run_num)))


@get_or_post(router, "/lgbk/{experiment}/ws/change_sample_for_run")
def change_sample_for_run(gate: Entry, experiment: str, run_num: str, sample_name: str) -> Answer:
    with gate.experiment(experiment, needs="edit", changes=True, unlocked=True) as (work, found):
        sample_id = runs.sample_id_for_start(work, found, sample_name)
        if sample_id is None:
            message = f"Sample {sample_name} does not exist"
            raise NotFoundError(message)
        runs.change_sample(work, _find(work, experiment, run_num), sample_id=sample_id)
    return success(errormsg="")


@router.get("/lgbk/{experiment}/ws/run_param_descriptions")
def list_param_descriptions(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(runs.param_descriptions(work, experiment))


@router.post("/run_control/{experiment}/ws/add_update_run_param_descriptions", openapi_extra=json_body(DESCRIPTIONS))
@router.post("/lgbk/{experiment}/ws/add_update_run_param_descriptions", openapi_extra=json_body(DESCRIPTIONS))
def describe_params(gate: Entry, experiment: str, body: RequiredJson) -> Answer:
    with gate.experiment(experiment, needs="post") as (work, _):
        runs.describe_params(work, experiment, body)
    return success()
