"""Who may decide what about a microscope, as the elogbook says, and what such a page needs to begin with."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from cryodaq.domain.microscope import Microscope
from cryodaq.ledger.board import MicroscopeState, board
from cryodaq.logbook.desk import Active, Desk
from cryodaq.web.visitors import NotThereError, Visitor, ledger_of, web_settings


class NotAllowedError(Exception):
    """The page is there, but not for this person; the sentence says what is lacking."""


class RefusedError(Exception):
    """What was asked for was not done; the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A microscope before an operator."""

    microscope: Microscope
    desk: Desk
    session: str
    active: Active
    privileges: frozenset[str]
    """On this microscope."""

    @property
    def title(self) -> str:
        """What people call it."""
        return self.microscope.name.upper()

    @property
    def mark(self) -> str:
        """What is active, as a form carries it along: whoever sends the form saw this."""
        return f"{self.active.experiment or ''} {self.active.sample or ''} {self.active.switched_at or ''}"


def stand(request: Request, name: str, who: Visitor) -> Stand:
    """Return a microscope for somebody who may switch it.

    Raises
    ------
    NotThereError, NotAllowedError
    """
    settings = web_settings(request)
    microscope = settings.stands.get(name)
    if microscope is None or settings.desk is None:
        raise NotThereError("page")
    held = settings.desk.instrument_privileges(who.session, microscope.instrument)
    if "switch" not in held:
        message = f"You may not switch {name.upper()}; people of the facility can."
        raise NotAllowedError(message)
    active = settings.desk.active(who.session, microscope.instrument, station=microscope.station)
    return Stand(microscope=microscope, desk=settings.desk, session=who.session, active=active, privileges=held)


def may_switch(request: Request, name: str, who: Visitor) -> bool:
    """Whether the pages that decide about a microscope are for this person."""
    settings = web_settings(request)
    microscope = settings.stands.get(name)
    if microscope is None or settings.desk is None:
        return False
    return "switch" in settings.desk.instrument_privileges(who.session, microscope.instrument)


def state_of(request: Request, name: str) -> MicroscopeState:
    """Return what the ledger knows of a microscope."""
    engine = ledger_of(request)
    with engine.connect() as connection:
        return board(connection, [name], now=web_settings(request).clock())[0]


def require_post(who: Visitor, experiment: str) -> None:
    """Refuse whoever may read an experiment, but not write in it. Raises `NotAllowedError`."""
    if "post" not in who.access.privileges(who.session, experiment):
        message = f"You may read {experiment}, but not write in it."
        raise NotAllowedError(message)
