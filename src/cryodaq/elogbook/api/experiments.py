"""Routes of experiments."""

from __future__ import annotations

import json

from fastapi import APIRouter

from cryodaq.elogbook.api.bodies import RequiredJson
from cryodaq.elogbook.api.gate import Answer, Entry, success, value
from cryodaq.elogbook.api.shapes import CLONE, EXPERIMENT, EXPERIMENT_CHANGE, NAMES, OPEN, json_body
from cryodaq.elogbook.book import experiments, people, whole_experiments
from cryodaq.elogbook.book.work import Work
from cryodaq.elogbook.refusals import BadRequestError
from cryodaq.elogbook.rights import readable_experiments

router = APIRouter(tags=["experiments"])


def _readable(work: Work) -> list[str]:
    return [] if work.principal is None else readable_experiments(work.connection, work.principal)


@router.post("/lgbk/ws/register_new_experiment", openapi_extra=json_body(EXPERIMENT))
def register_new_experiment(
    gate: Entry,
    body: RequiredJson,
    experiment_name: str | None = None,
    override_name_rule: bool = False,  # noqa: FBT001, FBT002  # a query parameter
) -> Answer:
    with gate.site("experiment_create") as work:
        if not experiment_name:
            raise BadRequestError("Experiment registration missing experiment_name in query parameters")
        free = override_name_rule or not work.settings.dialect.names_bind_programs
        experiments.register(work, experiment_name, body, override=free)
    return success()


@router.post("/lgbk/ws/experiment_edit_info", openapi_extra=json_body(EXPERIMENT_CHANGE))
def edit_info(gate: Entry, body: RequiredJson, experiment_name: str) -> Answer:
    with gate.experiment(experiment_name, needs="experiment_edit") as (work, experiment):
        experiments.edit(work, experiment, body)
    return success()


@router.post("/lgbk/ws/clone_experiment", openapi_extra=json_body(CLONE))
def clone_experiment(
    gate: Entry,
    body: RequiredJson,
    experiment_name: str,
    src_experiment_name: str,
    override_name_rule: bool = False,  # noqa: FBT001, FBT002  # a query parameter
) -> Answer:
    """Register an experiment like another one; its samples get ids of their own."""
    with gate.experiment(src_experiment_name, needs="read") as (_, source):
        pass
    with gate.site("experiment_create") as work:
        free = override_name_rule or not work.settings.dialect.names_bind_programs
        whole_experiments.clone(work, source, experiment_name, body, override=free)
    return success()


@router.post("/lgbk/ws/rename_experiment")
def rename_experiment(
    gate: Entry,
    experiment_name: str,
    new_experiment_name: str,
    override_name_rule: bool = False,  # noqa: FBT001, FBT002  # a query parameter
) -> Answer:
    with gate.experiment(experiment_name, needs="experiment_edit") as (work, _):
        free = override_name_rule or not work.settings.dialect.names_bind_programs
        found = experiments.hold(work, experiment_name)
        whole_experiments.rename(work, found, new_experiment_name, override=free)
    return success()


@router.delete("/lgbk/{experiment}/")
def delete_experiment(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="experiment_delete") as (work, _):
        whole_experiments.delete(work, experiments.hold(work, experiment))
    return success()


@router.post("/lgbk/ws/lock_unlock_experiment")
def lock_unlock(gate: Entry, experiment_name: str) -> Answer:
    with gate.experiment(experiment_name, needs="experiment_edit") as (work, experiment):
        experiments.toggle_lock(work, experiment)
    return success()


@router.post("/lgbk/{experiment}/ws/add_update_experiment_params", openapi_extra=json_body(OPEN))
def add_params(gate: Entry, experiment: str, body: RequiredJson) -> Answer:
    with gate.experiment(experiment, needs="manage_groups", unlocked=True) as (work, found):
        experiments.add_params(work, found, body)
    return success(errormsg="")


@router.get("/lgbk/{experiment}/ws/info")
def info(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (_, found):
        return value(experiments.document(found))


@router.get("/lgbk/{experiment}/ws/internalinfo")
def internal_info(gate: Entry, experiment: str) -> Answer:
    with gate.open_experiment(experiment) as (_, found):
        return value(experiments.internal_info(found))


@router.get("/lgbk/ws/experiments")
def list_experiments(gate: Entry, categorize: str | None = None) -> Answer:
    with gate.site() as work:
        found = experiments.overviews(work, _readable(work))
    return value(found if categorize is None else experiments.categorize(found))


@router.get("/lgbk/ws/sorted_experiment_ids")
def sorted_ids(gate: Entry, sort: str = '[["start_time", -1]]') -> Answer:
    keys = _read_sort(sort)
    with gate.site() as work:
        return value(experiments.sorted_names(work, _readable(work), keys=keys))


def _read_sort(text: str) -> list[tuple[str, int]]:
    try:
        return [(str(key), -1 if int(way) < 0 else 1) for key, way in json.loads(text)]
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise BadRequestError('sort must be like [["start_time", -1]]') from None


@router.post("/lgbk/ws/get_experiment_infos", openapi_extra=json_body(NAMES))
def experiment_infos(gate: Entry, body: RequiredJson) -> Answer:
    with gate.site("experiment_create") as work:
        if not isinstance(body, list) or not all(isinstance(name, str) for name in body):
            raise BadRequestError("The body must be a list of experiments' names")
        return value(experiments.overviews(work, body))


@router.get("/lgbk/ws/ops_search_exp_infos")
def search(gate: Entry, search_text: str = "") -> Answer:
    with gate.site("experiment_create") as work:
        return value(experiments.search(work, search_text))


@router.get("/lgbk/{experiment}/ws/exp_posix_group_members")
def posix_group_members(gate: Entry, experiment: str) -> Answer:
    """List who is in the directory's group that bears the experiment's name."""
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(people.posix_group_members(work, experiment))
