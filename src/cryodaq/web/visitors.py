"""Who asks for a page, and what they may see of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import Request

from cryodaq.ports import AccessControl, Person
from cryodaq.web.origin import signed_on_user
from cryodaq.web.settings import SESSION_COOKIE, WebSettings

if TYPE_CHECKING:
    from sqlalchemy import Engine

_SEES_ALL_NAMES = frozenset({"ops_page", "switch"})
"""Site-wide privileges of those who run the microscopes."""


class NotLoggedInError(Exception):
    """The page is for people who are logged in."""


class NotThereError(Exception):
    """There is no such thing, or this person may not know of it: the answer is the same."""

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what}, or you may not see it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A person with a session."""

    person: Person
    session: str
    access: AccessControl

    @property
    def sees_all_names(self) -> bool:
        """Whether the board names every experiment."""
        return bool(self.person.privileges & _SEES_ALL_NAMES)

    def may_read(self, experiment: str) -> bool:
        """Whether the elogbook lets this person read an experiment."""
        return "read" in self.access.privileges(self.session, experiment)

    def readable(self, experiments: Iterable[str]) -> frozenset[str]:
        """Return those experiments that this person may read."""
        return self.access.readable(self.session, frozenset(experiments))


def samples_searched(request: Request) -> int:
    """Return so many of the newest samples are looked through for those that a person may read.

    The embedded elogbook says at once which of all experiments that are; a foreign one is asked for each.
    """
    return 2000 if web_settings(request).desk is not None else 100


def web_settings(request: Request) -> WebSettings:
    """Return the settings of the application that answers."""
    settings = request.app.state.settings
    assert isinstance(settings, WebSettings)  # noqa: S101  # `create_app` put it there
    return settings


def ledger_of(request: Request) -> Engine:
    """Return the ledger's database of the application that answers."""
    engine: Engine = request.app.state.engine
    return engine


def visitor(request: Request) -> Visitor:
    """Return who asks. Raises `NotLoggedInError`."""
    found = find_visitor(request)
    if found is None:
        raise NotLoggedInError
    return found


LoggedIn = Annotated[Visitor, Depends(visitor)]
"""A page's parameter: who asks; nobody who is not logged in gets as far as the page."""


def find_visitor(request: Request) -> Visitor | None:
    """Return who asks, or None when nobody is logged in."""
    session = request.cookies.get(SESSION_COOKIE)
    if not session:
        return None
    access = web_settings(request).access
    person = access.identify(session)
    signed_on = signed_on_user(request)
    if person is not None and signed_on not in {None, person.user}:
        return None  # somebody else's session
    return None if person is None else Visitor(person=person, session=session, access=access)


def ask_elogbook(request: Request) -> None:
    """Find out whether the elogbook answers, by a session that nobody has. Raises `LogbookUnreachableError`."""
    web_settings(request).access.identify("nobody")
