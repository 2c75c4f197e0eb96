"""Which experiment is active on which microscope: the newest switch of an instrument's station counts."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import distinct_on

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import experiments, instruments, runs
from cryodaq.elogbook.book.times import write_time
from cryodaq.elogbook.book.work import Document, Work, require_object, require_text
from cryodaq.elogbook.refusals import BadRequestError, NotFoundError, RuleError

OPERATOR_ROLE = "Writer"


def _station(document: Document) -> int:
    if document.get("station") is None:
        raise RuleError("No station given.")
    value = document["station"]
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isascii():
        message = f"The station must be a number, not {value!r:.80}"
        raise BadRequestError(message)
    if not str(value).isdigit() or len(str(value)) > 3:
        message = f"The station must be a number, not {value!r:.80}"
        raise BadRequestError(message)
    return int(value)


def _lock_station(work: Work, document: Document) -> tuple[RowMapping, int]:
    """Return the instrument, held until the transaction ends, and the station."""
    station = _station(document)
    name = require_text(document.get("instrument"), what="instrument", max_length=1000)
    found = instruments.find(work, name, lock=True)
    if found is None:
        message = f"Instrument {name} does not exist"
        raise NotFoundError(message)
    if station >= instruments.station_count(found["params"]):
        message = f"Instrument {found['id']} has no station {station}"
        raise RuleError(message)
    return found, station


def _newest(work: Work, instrument: str, station: int) -> RowMapping | None:
    s = t.experiment_switch.c
    return (
        work.connection.execute(
            sa.select(t.experiment_switch)
            .where(s.instrument_id == instrument, s.station == station)
            .order_by(s.id.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )


def switch(work: Work, body: object) -> None:
    """Make an experiment active on its microscope, in one step with the operator account's rights.

    Raises
    ------
    RuleError
        No station, another instrument's experiment, or active already.
    BadRequestError, NotFoundError
        Something named does not exist.
    """
    given = require_object(body, what="A switch")
    name = require_text(given.get("experiment_name"), what="experiment_name", max_length=1000)
    _station(given)
    experiment = experiments.find(work, name)
    if experiment is None:
        message = f"Experiment {name} does not exist"
        raise NotFoundError(message)
    instrument, station = _lock_station(work, given)
    if experiment["instrument_id"] != instrument["id"]:
        message = (
            f"Trying to switch experiment on instrument {instrument['id']} "
            f"for experiment on {experiment['instrument_id']}"
        )
        raise RuleError(message)
    before = _newest(work, instrument["id"], station)
    if before is not None and before["experiment_name"] == name:
        message = (
            f"Trying to switch experiment {name} onto instrument {instrument['id']} but it is already currently active"
        )
        raise RuleError(message)
    _append(work, instrument["id"], station=station, experiment=name)
    operator = instrument["params"].get("operator_uid")
    if isinstance(operator, str) and operator:
        if before is not None and before["experiment_name"] is not None:
            _take_operator_away(work, before["experiment_name"], f"uid:{operator}")
        experiments.add_player(work, name, role=OPERATOR_ROLE, player=f"uid:{operator}")


def _take_operator_away(work: Work, experiment: str, player: str) -> None:
    p = t.experiment_player.c
    work.connection.execute(
        sa.delete(t.experiment_player).where(
            p.experiment_name == experiment, p.role_name == OPERATOR_ROLE, p.player == player
        )
    )


def standby(work: Work, body: object) -> None:
    """Make no experiment active on a microscope; the operator account keeps its rights in the old one."""
    instrument, station = _lock_station(work, require_object(body, what="A standby"))
    _append(work, instrument["id"], station=station, experiment=None)


def _append(work: Work, instrument: str, *, station: int, experiment: str | None) -> None:
    work.connection.execute(
        sa.insert(t.experiment_switch).values(
            id=work.new_id(),
            instrument_id=instrument,
            station=station,
            experiment_name=experiment,
            switch_time=work.now,
            requestor_uid=work.uid,
        )
    )


def active(work: Work) -> list[Document]:
    """Return what is active on every station that was ever switched."""
    s = t.experiment_switch.c
    newest = (
        sa.select(t.experiment_switch)
        .ext(distinct_on(s.instrument_id, s.station))
        .order_by(s.instrument_id, s.station, s.id.desc())
        .subquery()
    )
    rows = work.connection.execute(sa.select(newest)).mappings().all()
    names = [row["experiment_name"] for row in rows if row["experiment_name"] is not None]
    spans = runs.spans(work, names)
    return [_active_document(work, row, spans) for row in rows]


def _active_document(work: Work, row: RowMapping, spans: dict[str, Document]) -> Document:
    switched = {
        "instrument": row["instrument_id"],
        "station": row["station"],
        "switch_time": write_time(row["switch_time"]),
        "requestor_uid": row["requestor_uid"],
    }
    name = row["experiment_name"]
    found = None if name is None else experiments.find(work, name)
    if found is None:
        return {**switched, "is_standby": True}
    answer = {**experiments.document(found), **switched}
    current = work.connection.scalar(sa.select(t.sample.c.name).where(t.sample.c.id == found["current_sample_id"]))
    if current is not None:
        answer["current_sample"] = current
    if name in spans:
        span = spans[name]
        answer |= {key: span[key] for key in ("first_run", "last_run")}
        answer["current_run"] = {k: v for k, v in span["last_run"].items() if v is not None}
    return answer


def active_on(work: Work, instrument_name: str, *, station: int) -> Document:
    """Return the info document of the experiment that is active on a station. Raises `NotFoundError`."""
    instrument = instruments.find(work, instrument_name)
    newest = None if instrument is None else _newest(work, instrument["id"], station)
    if newest is not None and newest["experiment_name"] is not None:
        found = experiments.find(work, newest["experiment_name"])
        if found is not None:
            return experiments.document(found)
    message = f"Cannot find a valid active experiment for {instrument_name}/{station}, found None"
    raise NotFoundError(message)


def history(work: Work, instrument_name: str, *, station: int) -> list[Document]:
    """Return the switches of a station, newest first."""
    s, e = t.experiment_switch.c, t.experiment.c
    rows = work.connection.execute(
        sa.select(t.experiment_switch, e.contact_info, e.extra)
        .outerjoin(t.experiment, e.name == s.experiment_name)
        .where(sa.func.lower(s.instrument_id) == instrument_name.lower(), s.station == station)
        .order_by(s.id.desc())
    ).mappings()
    answer = []
    for row in rows:
        found: Document = {
            "experiment_name": row["experiment_name"] or "Standby",
            "instrument": row["instrument_id"],
            "station": row["station"],
            "switch_time": write_time(row["switch_time"]),
            "requestor_uid": row["requestor_uid"],
            "_id": row["id"],
        }
        if row["experiment_name"] is None:
            found["is_standby"] = True
        else:
            found |= {"description": row["extra"].get("description", ""), "PI": row["contact_info"]}
        answer.append(found)
    return answer
