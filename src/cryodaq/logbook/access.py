"""Who somebody is and what they may see, asked of the embedded elogbook with the browser's own session."""

from __future__ import annotations

import httpx

from cryodaq.errors import LogbookAccessError, LogbookError
from cryodaq.logbook.reading import Json, text
from cryodaq.logbook.transport import Transport, value_of
from cryodaq.ports import Person

SESSION_COOKIE = "cryodaq_session"
_COOKIE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class SessionAccess:
    """`AccessControl` by the sessions of the embedded elogbook; nothing is cached."""

    def __init__(self, url: str, *, cookie: str = SESSION_COOKIE, transport: httpx.BaseTransport | None = None) -> None:
        """Prepare a client of the elogbook at `url`; nothing is sent."""
        self._transport = Transport(url, transport=transport)
        self._cookie = cookie

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def identify(self, session: str) -> Person | None:
        """Return who owns a browser session, or None when there is no such session."""
        found = self._ask(session, "/session", {})
        if found is None:
            return None
        return Person(user=text(found, "user"), full_name=text(found, "full_name"), privileges=_privileges(found))

    def privileges(self, session: str, experiment: str) -> frozenset[str]:
        """Return what the owner of a session may do with one experiment."""
        found = self._ask(session, "/session/rights", {"experiment": experiment})
        return frozenset() if found is None else _privileges(found)

    def _ask(self, session: str, path: str, query: dict[str, str]) -> Json | None:
        if not session or not _COOKIE_CHARACTERS.issuperset(session):
            return None
        headers = {"Cookie": f"{self._cookie}={session}"}
        try:
            found = value_of(self._transport.ask("GET", path, query=query, headers=headers))
        except LogbookAccessError:
            return None
        if not isinstance(found, dict):
            message = f"the elogbook's answer about a session makes no sense: {found!r:.120}"
            raise LogbookError(message)
        return found


def _privileges(found: Json) -> frozenset[str]:
    held = found.get("privileges")
    if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
        message = f"the elogbook's privileges make no sense: {held!r:.120}"
        raise LogbookError(message)
    return frozenset(held)
