"""Routes of tables of runs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from cryodaq.elogbook.api.bodies import Fields, RequiredJson
from cryodaq.elogbook.api.gate import Answer, Entry, Gate, get_or_post, streamed, success, value
from cryodaq.elogbook.api.shapes import CELL, RUN_TABLE, TABLE_NAMES, entry_form, json_body
from cryodaq.elogbook.book import run_tables
from cryodaq.elogbook.book.work import require_text
from cryodaq.elogbook.refusals import NotFoundError, RuleError

router = APIRouter(tags=["run tables"])


@router.get("/lgbk/{experiment}/ws/run_tables")
def list_tables(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(run_tables.listing(work, experiment))


@router.get("/lgbk/{experiment}/ws/run_table_sources")
def list_sources(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(run_tables.sources(work, experiment))


def _table(gate: Gate, experiment: str, name: str) -> dict[str, Any]:  # Any: JSON values
    with gate.experiment(experiment, needs="read") as (work, _):
        return run_tables.document(run_tables.find(work, experiment, name))


@router.get("/lgbk/{experiment}/ws/run_table_data")
def read_table(
    gate: Entry,
    experiment: str,
    tableName: str,  # noqa: N803  # contract
    sampleName: str | None = None,  # noqa: N803  # contract
) -> Response:
    table = _table(gate, experiment, tableName)
    return streamed(run_tables.pages(gate.open_unasked, experiment, table, sample_name=sampleName))


@router.get("/lgbk/{experiment}/ws/runtables/export_as_csv", response_class=Response)
def export_csv(gate: Entry, experiment: str, runtable: str, sampleName: str | None = None) -> Response:  # noqa: N803
    table = _table(gate, experiment, runtable)
    rows = run_tables.pages(gate.open_unasked, experiment, table, sample_name=sampleName)
    headers = {"Content-Disposition": "attachment; filename=run_table.csv", "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(run_tables.as_csv(table, rows), media_type="text/csv", headers=headers)


@router.post("/lgbk/{experiment}/ws/create_update_user_run_table_def", openapi_extra=json_body(RUN_TABLE))
def define_table(gate: Entry, experiment: str, body: RequiredJson) -> Answer:
    with gate.experiment(experiment, needs="post") as (work, _):
        return value(run_tables.define(work, experiment, body))


@router.post("/lgbk/{experiment}/ws/run_table_editable_update", openapi_extra=entry_form(CELL))
def edit_cell(gate: Entry, experiment: str, fields: Fields) -> Answer:
    """Write a cell; ours takes runs with names too."""
    given = [require_text(fields.get(name), what=name) for name in ("runnum", "source", "value")]
    with gate.experiment(experiment, needs="post") as (work, _):
        try:
            run = run_tables.edit_cell(work, experiment, given[0], source=given[1], value=given[2])
        except NotFoundError as refusal:
            raise RuleError(refusal.sentence, key="result") from None
    return success(result=run)


@get_or_post(router, "/lgbk/{experiment}/ws/clone_run_table_def")
def clone_table(gate: Entry, experiment: str, existing_run_table_name: str, new_run_table_name: str) -> Answer:
    with gate.experiment(experiment, needs="post", changes=True) as (work, _):
        return value(run_tables.clone(work, experiment, existing_run_table_name, new=new_run_table_name))


@router.post("/lgbk/{experiment}/ws/replace_system_run_table_def", openapi_extra=json_body(TABLE_NAMES))
def make_system_table(gate: Entry, experiment: str, fields: Fields) -> Answer:
    """Give every experiment a table of this one; this changes what all see, so it needs config_edit."""
    name = require_text(fields.get("existing_run_table_name", fields.get("name")), what="existing_run_table_name")
    as_name = require_text(fields.get("system_run_table_name", name), what="system_run_table_name", max_length=100)
    with gate.site("config_edit") as work:
        run_tables.make_for_all(work, experiment, name, as_name=as_name)
    return success()


@get_or_post(router, "/lgbk/{experiment}/ws/clone_system_template_run_tables")
def copy_system_tables(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="post", changes=True) as (work, _):
        run_tables.copy_system_tables(work, experiment)
    return success()


@router.delete("/lgbk/{experiment}/ws/delete_run_table")
def delete_table(gate: Entry, experiment: str, table_name: str, is_system_run_table: str = "false") -> Answer:
    if is_system_run_table.lower() == "true":
        with gate.site("config_edit") as work:
            run_tables.delete(work, None, table_name)
    else:
        with gate.experiment(experiment, needs="post") as (work, _):
            run_tables.delete(work, experiment, table_name)
    return success()
