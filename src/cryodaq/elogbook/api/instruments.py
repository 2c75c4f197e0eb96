"""Routes of instruments, switching and standby."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cryodaq.elogbook.api.bodies import RequiredJson
from cryodaq.elogbook.api.gate import Answer, Entry, success, value
from cryodaq.elogbook.api.shapes import INSTRUMENT, INSTRUMENT_CHANGE, STANDBY, SWITCH, json_body
from cryodaq.elogbook.book import instruments, switching

router = APIRouter(tags=["instruments"])
Station = Annotated[int, Query(ge=0, le=999)]


@router.get("/lgbk/ws/instruments")
def list_instruments(gate: Entry) -> Answer:
    with gate.site() as work:
        return value(instruments.listing(work))


@router.post("/lgbk/ws/instruments/", openapi_extra=json_body(INSTRUMENT))
def create_instrument(gate: Entry, body: RequiredJson) -> Answer:
    with gate.site("instrument_create") as work:
        instruments.create(work, body)
    return success()


@router.put("/lgbk/ws/instruments/{instrument}", openapi_extra=json_body(INSTRUMENT_CHANGE))
def update_instrument(gate: Entry, instrument: str, body: RequiredJson) -> Answer:
    with gate.site("instrument_create") as work:
        instruments.update(work, instrument, body)
    return success()


@router.get("/lgbk/ws/instrument_station_list")
def list_stations(gate: Entry) -> Answer:
    with gate.site() as work:
        return value(instruments.stations(work))


def _instrument_in(body: object) -> object:
    return body.get("instrument") if isinstance(body, dict) else None


@router.post("/lgbk/ws/switch_experiment", openapi_extra=json_body(SWITCH))
def switch_experiment(gate: Entry, body: RequiredJson) -> Answer:
    with gate.instrument(_instrument_in(body), needs="switch") as work:
        switching.switch(work, body)
    return success()


@router.post("/lgbk/ws/instrument_standby", openapi_extra=json_body(STANDBY))
def instrument_standby(gate: Entry, body: RequiredJson) -> Answer:
    with gate.instrument(_instrument_in(body), needs="switch") as work:
        switching.standby(work, body)
    return success()


@router.get("/lgbk/ws/activeexperiments")
def active_experiments(gate: Entry) -> Answer:
    with gate.site() as work:
        return value(switching.active(work))


@router.get("/lgbk/ws/activeexperiment_for_instrument_station")
def active_experiment(gate: Entry, instrument_name: str, station: Station = 0) -> Answer:
    with gate.open_site() as work:
        return value(switching.active_on(work, instrument_name, station=station))


@router.get("/lgbk/ws/instrument_switch_history")
def switch_history(gate: Entry, instrument: str, station: Station = 0) -> Answer:
    with gate.instrument(instrument, needs="read") as work:
        return value(switching.history(work, instrument, station=station))
