"""Routes of the site: definitions, the directory, roles."""

from __future__ import annotations

from fastapi import APIRouter

from cryodaq.elogbook.accounts import (
    grant_instrument_role,
    grant_site_role,
    revoke_instrument_role,
    revoke_site_role,
)
from cryodaq.elogbook.api.gate import Answer, Entry, success, value
from cryodaq.elogbook.book import instruments, people
from cryodaq.elogbook.definitions import definition
from cryodaq.elogbook.refusals import BadRequestError, NotFoundError

router = APIRouter(tags=["site"])


@router.get("/lgbk/naming_conventions")
def naming_conventions(gate: Entry) -> Answer:
    with gate.site() as work:
        rule = {
            "placeholder": work.settings.experiment_name_placeholder,
            "tooltip": work.settings.experiment_name_hint,
            "validation_regex": work.settings.experiment_name_pattern,
        }
        return value({"experiment": {"name": rule}})


@router.get("/lgbk/get_modal_param_definitions")
def modal_param_definitions(gate: Entry, modal_type: str | None = None) -> Answer:
    with gate.site() as work:
        if modal_type is None:
            raise BadRequestError("Please specify a modal_type")
        return value(definition(work.definitions, modal_type))


@router.get("/lgbk/{experiment}/ws/get_modal_param_definitions")
def modal_param_definitions_of_experiment(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read"):
        return value({})


@router.get("/lgbk/ws/usergroups")
def usergroups(gate: Entry) -> Answer:
    with gate.site() as work:
        groups = () if work.principal is None else work.principal.groups
        return value({"groups": list(groups), "userid": work.uid})


@router.get("/lgbk/ws/get_matching_uids")
def matching_uids(gate: Entry, uid: str) -> Answer:
    with gate.site() as work:
        return value(people.matching_people(work, uid))


@router.get("/lgbk/ws/get_matching_groups")
def matching_groups(gate: Entry, group_name: str) -> Answer:
    with gate.site() as work:
        return value(people.matching_groups(work, group_name))


@router.get("/lgbk/ws/global_roles")
def global_roles(gate: Entry) -> Answer:
    with gate.site("manage_groups") as work:
        return value(people.global_roles(work))


@router.post("/lgbk/ws/add_player_to_global_role")
def add_player_to_global_role(gate: Entry, player: str, role: str) -> Answer:
    with gate.site("config_edit") as work:
        grant_site_role(work.connection, people.check_player(player), role=people.role_name(work, role))
    return success()


@router.post("/lgbk/ws/remove_player_from_global_role")
def remove_player_from_global_role(gate: Entry, player: str, role: str) -> Answer:
    with gate.site("config_edit") as work:
        revoke_site_role(work.connection, people.check_player(player), role=people.role_name(work, role))
    return success()


@router.post("/lgbk/ws/add_player_to_instrument_role")
def add_player_to_instrument_role(gate: Entry, instrument: str, player: str, role: str) -> Answer:
    with gate.site("config_edit") as work:
        found = instruments.find(work, instrument)
        if found is None:
            message = f"Instrument {instrument} does not exist"
            raise NotFoundError(message)
        name = people.role_name(work, role)
        grant_instrument_role(work.connection, people.check_player(player), role=name, instrument=found["id"])
    return success()


@router.post("/lgbk/ws/remove_player_from_instrument_role")
def remove_player_from_instrument_role(gate: Entry, instrument: str, player: str, role: str) -> Answer:
    with gate.site("config_edit") as work:
        found = instruments.find(work, instrument)
        if found is None:
            message = f"Instrument {instrument} does not exist"
            raise NotFoundError(message)
        name = people.role_name(work, role)
        revoke_instrument_role(work.connection, people.check_player(player), role=name, instrument=found["id"])
    return success()
