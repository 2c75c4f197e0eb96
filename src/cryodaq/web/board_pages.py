"""The board of all microscopes, the list of samples, and the alarms."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cryodaq.ledger.board import MicroscopeState, board, recent_samples, sample_progress
from cryodaq.ledger.events import Alarm, last_event_id, open_alarms, record_event
from cryodaq.ledger.notifications import add_silence, silences
from cryodaq.web.operators import NotAllowedError
from cryodaq.web.rendering import render
from cryodaq.web.settings import WebSettings
from cryodaq.web.visitors import LoggedIn, NotThereError, Visitor, ledger_of, samples_searched, web_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

router = APIRouter()

SAMPLES_PAGE_SIZE = 100
SHARED_S = 0.2
"""So long a snapshot of the board is shared: less than a page waits after it has heard of a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One microscope as one person sees it."""

    state: MicroscopeState
    names: bool
    """Whether experiment and sample may be named."""
    details: bool
    """Whether shares and alarms that name no experiment may be shown."""
    alarms: tuple[Alarm, ...]
    hidden_alarms: int


def cards(states: Sequence[MicroscopeState], who: Visitor, *, readable: frozenset[str]) -> list[Card]:
    """Return the microscopes as one person may see them; `readable` are the experiments that person may read."""
    made = []
    for state in states:
        names = who.sees_all_names or (state.experiment in readable)
        shown = tuple(
            alarm
            for alarm in state.alarms
            if (names if alarm.subject.experiment is None else _may_know(alarm, who, readable))
        )
        made.append(
            Card(state=state, names=names, details=names, alarms=shown, hidden_alarms=len(state.alarms) - len(shown))
        )
    return made


def _may_know(alarm: Alarm, who: Visitor, readable: frozenset[str]) -> bool:
    return who.sees_all_names or alarm.subject.experiment in readable


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Microscopes for which the elogbook does not answer the data acquisition."""

    names: tuple[str, ...]
    since: datetime | None
    """When it answered last for one of them."""


def silence(states: Sequence[MicroscopeState]) -> Silence | None:
    """Return for which microscopes the elogbook is silent, or None."""
    mute = [state for state in states if state.assignment == "unreachable"]
    if not mute:
        return None
    since = min((state.since for state in mute if state.since), default=None)
    return Silence(names=tuple(state.name for state in mute), since=since)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSnapshot:
    """The board before anybody's rights are considered."""

    since: int
    states: tuple[MicroscopeState, ...]
    general_alarms: tuple[Alarm, ...]


class BoardSnapshots:
    """Counts the board once for everybody who looks at the same moment: the counting costs, the looking does not."""

    def __init__(self, engine: Engine, settings: WebSettings) -> None:
        self._engine, self._settings = engine, settings
        self._lock = threading.Lock()
        self._kept: tuple[float, BoardSnapshot] | None = None

    def newest(self) -> BoardSnapshot:
        """Return a snapshot that is at most `SHARED_S` old."""
        with self._lock:
            if self._kept is not None and time.monotonic() - self._kept[0] < SHARED_S:
                return self._kept[1]
            begun = time.monotonic()
            found = self._count()
            self._kept = (begun, found)
            return found

    def _count(self) -> BoardSnapshot:
        with self._engine.connect() as connection:
            return BoardSnapshot(
                since=last_event_id(connection),
                states=tuple(board(connection, self._settings.microscopes, now=self._settings.clock())),
                general_alarms=tuple(alarm for alarm in open_alarms(connection) if _is_general(alarm)),
            )


@router.get("/", response_class=HTMLResponse)
def show_board(request: Request, who: LoggedIn) -> HTMLResponse:
    """Show every microscope."""
    snapshots: BoardSnapshots = request.app.state.board
    now = snapshots.newest()
    since, states, general = now.since, now.states, now.general_alarms
    readable = who.readable(name for state in states for name in state.subject_experiments)
    values: dict[str, object] = {
        "cards": cards(states, who, readable=readable),
        "readable": readable,
        "general_alarms": general if who.sees_all_names else (),
        "silent": silence(states),
        "may_begin": _switched_here(request, who),
    }
    return render(request, "board.html", visitor=who, topic="board", since=since, values=values)


def _switched_here(request: Request, who: Visitor) -> frozenset[str]:
    """Return the microscopes that these pages switch, for whoever may switch them all; their own pages ask for one."""
    settings = web_settings(request)
    return frozenset(settings.stands if settings.desk is not None and "switch" in who.person.privileges else ())


@router.get("/samples", response_class=HTMLResponse)
def show_samples(
    request: Request,
    who: LoggedIn,
    q: Annotated[str, Query(max_length=100)] = "",
    page: Annotated[int, Query(ge=1, le=1000)] = 1,
) -> HTMLResponse:
    """Show the samples that were current last, as far as this person may read them."""
    first = (page - 1) * SAMPLES_PAGE_SIZE
    with ledger_of(request).connect() as connection:
        since = last_event_id(connection)
        found = recent_samples(connection, words=q.split(), limit=samples_searched(request))
        readable = who.readable(entry.experiment for entry in found)
        known = [entry for entry in found if entry.experiment in readable]
        shown = known[first : first + SAMPLES_PAGE_SIZE]
        progress = sample_progress(connection, [entry.id for entry in shown])
    values: dict[str, object] = {
        "samples": shown,
        "progress": progress,
        "known": len(known),
        "q": q.strip(),
        "page": page,
        "more": len(known) > first + SAMPLES_PAGE_SIZE,
    }
    return render(request, "samples.html", visitor=who, topic="board", since=since, values=values)


@router.get("/alarms", response_class=HTMLResponse)
def show_alarms(request: Request, who: LoggedIn) -> HTMLResponse:
    """Show what is wrong now."""
    with ledger_of(request).connect() as connection:
        since = last_event_id(connection)
        alarms = open_alarms(connection)
        quiet = silences(connection, at=web_settings(request).clock())
    readable = who.readable(alarm.subject.experiment for alarm in alarms if alarm.subject.experiment)
    shown = [alarm for alarm in alarms if _may_know(alarm, who, readable)]
    values: dict[str, object] = {
        "alarms": shown,
        "readable": readable,
        "hidden": len(alarms) - len(shown),
        "silent": {alarm.key: one for alarm in shown for one in quiet if alarm.key.startswith(one.key)},
    }
    return render(request, "alarms.html", visitor=who, topic="alarms", since=since, values=values)


@router.post("/alarms/silence")
def silence_alarm(
    request: Request,
    key: Annotated[str, Form(max_length=500)],
    hours: Annotated[int, Form(ge=1, le=168)],
    who: LoggedIn,
) -> Response:
    """Let nobody be notified of an open alarm for some hours; pages show it all the same."""
    if not who.sees_all_names:
        raise NotAllowedError("Alarms are silenced by those who run the microscopes.")
    at = web_settings(request).clock()
    with ledger_of(request).begin() as connection:
        alarm = next((one for one in open_alarms(connection) if one.key == key), None)
        if alarm is None:
            raise NotThereError("alarm")
        add_silence(connection, key, until=at + timedelta(hours=hours), asked_by=who.person.user, at=at)
        facts = {"key": key, "hours": hours, "by": who.person.user}
        record_event(connection, "alarm_silenced", at=at, subject=alarm.subject, facts=facts)
    return RedirectResponse("/alarms", status_code=303)


def _is_general(alarm: Alarm) -> bool:
    return alarm.subject.microscope is None and alarm.subject.experiment is None
