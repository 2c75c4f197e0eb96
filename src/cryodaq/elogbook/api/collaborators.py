"""Routes of an experiment's collaborators."""

from __future__ import annotations

from fastapi import APIRouter

from cryodaq.elogbook.api.gate import Answer, Entry, get_or_post, success, value
from cryodaq.elogbook.book import people
from cryodaq.elogbook.rights import APPLICATION, experiment_role_is_held

router = APIRouter(tags=["collaborators"])
READER = f"{APPLICATION}/Reader"


@router.get("/lgbk/{experiment}/ws/collaborators")
def list_collaborators(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(people.collaborators(work, experiment))


@get_or_post(router, "/lgbk/{experiment}/ws/add_collaborator")
def add_collaborator(gate: Entry, experiment: str, uid: str, role_fq_name: str = READER) -> Answer:
    with gate.experiment(experiment, needs="manage_groups", changes=True) as (work, _):
        people.add_collaborator(work, experiment, uid, role=people.role_name(work, role_fq_name))
    return success(message="")


@get_or_post(router, "/lgbk/{experiment}/ws/toggle_role")
def toggle_role(gate: Entry, experiment: str, uid: str, role_fq_name: str) -> Answer:
    with gate.experiment(experiment, needs="manage_groups", changes=True) as (work, _):
        people.toggle_role(work, experiment, uid, role=people.role_name(work, role_fq_name))
    return success(message="")


@get_or_post(router, "/lgbk/{experiment}/ws/remove_collaborator")
def remove_collaborator(gate: Entry, experiment: str, uid: str) -> Answer:
    with gate.experiment(experiment, needs="manage_groups", changes=True) as (work, _):
        people.remove_collaborator(work, experiment, uid)
    return success(message="Removed collaborator")


@router.get("/lgbk/{experiment}/ws/has_role")
def has_role(gate: Entry, experiment: str, role_fq_name: str) -> Answer:
    with gate.experiment(experiment, needs=None) as (work, _):
        role = people.role_name(work, role_fq_name)
        held = work.principal is not None and experiment_role_is_held(
            work.connection, work.principal, experiment=experiment, role=role
        )
    answer = {"role_fq_name": role_fq_name, "application_name": APPLICATION, "role_name": role}
    return value({**answer, "hasRole": held})
