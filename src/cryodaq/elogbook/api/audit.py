"""Routes of the audit log, which are ours."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cryodaq.elogbook import audit
from cryodaq.elogbook.api.gate import Answer, Entry, value

router = APIRouter(tags=["audit"])
Limit = Annotated[int, Query(ge=1, le=audit.MAX_ROWS)]
Before = Annotated[int | None, Query(ge=0, lt=2**63, description="_id of the last change of the page before")]


Without = Annotated[tuple[str, ...], Query(max_length=20, description="Tables that are left out")]


@router.get("/lgbk/ws/audit")
def list_changes(
    gate: Entry,
    user: str | None = None,
    table: str | None = None,
    without: Without = (),
    before: Before = None,
    limit: Limit = 100,
) -> Answer:
    """List what was changed, by whom, from where: the newest first. Needs `config_edit`."""
    with gate.site("config_edit") as work:
        return value(
            audit.changes(
                work.connection,
                experiment=None,
                uid=user,
                table=table,
                without=without,
                older_than=before,
                limit=limit,
            )
        )


@router.get("/lgbk/{experiment}/ws/audit")
def list_changes_of_experiment(
    gate: Entry,
    experiment: str,
    user: str | None = None,
    table: str | None = None,
    without: Without = (),
    before: Before = None,
    limit: Limit = 100,
) -> Answer:
    """List what was changed in one experiment. Needs `manage_groups` there."""
    with gate.experiment(experiment, needs="manage_groups") as (work, _):
        found = audit.changes(
            work.connection,
            experiment=experiment,
            uid=user,
            table=table,
            without=without,
            older_than=before,
            limit=limit,
        )
        return value(found)
