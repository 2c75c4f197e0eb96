"""Who somebody is and what they may see, asked of the embedded elogbook with the browser's own session."""

from __future__ import annotations

from collections.abc import Collection
from http.cookies import SimpleCookie

import httpx

from cryodaq.errors import LogbookAccessError, LogbookError
from cryodaq.logbook.reading import Json, text
from cryodaq.logbook.transport import Credential, Transport, check, value_of
from cryodaq.ports import Person

SESSION_COOKIE = "cryodaq_session"
_REFUSED = frozenset({400, 401, 403, 413, 429})
_ENDED = frozenset({200, 401, 403, 404})
_COOKIE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class SessionAccess:
    """`AccessControl` by the sessions of the embedded elogbook; nothing is cached."""

    def __init__(
        self,
        url: str,
        *,
        cookie: str = SESSION_COOKIE,
        web_secret: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client of the elogbook at `url`; `web_secret` shows that the pages' own server asks."""
        self._transport = Transport(url, web_secret=web_secret, transport=transport)
        self._cookie = cookie

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def log_in(self, user: str, password: str) -> str:
        """Begin a browser session and return its secret. Raises `LogbookAccessError` with the elogbook's words."""
        return self._begin({"user": user, "password": password})

    def log_in_with_ticket(self, ticket: str) -> str:
        """Begin a browser session with a one-time ticket; raises `LogbookAccessError` when it is not valid."""
        return self._begin({"ticket": ticket})

    def log_in_trusted(self, user: str) -> str:
        """Begin a browser session for somebody whom the site's single sign-on knows. Raises `LogbookAccessError`."""
        return self._begin({"trusted_user": user})

    def log_out(self, session: str) -> None:
        """End a browser session at once; an unknown one is accepted."""
        if is_session(session):
            headers = {"Cookie": f"{self._cookie}={session}", "Sec-Fetch-Site": "same-origin"}
            reply = self._transport.ask("DELETE", "/session", headers=headers)
            if reply.status not in _ENDED:
                check(reply)

    def _begin(self, body: dict[str, str]) -> str:
        reply = self._transport.ask("POST", "/session", body=body, headers={"Sec-Fetch-Site": "same-origin"})
        if reply.status in _REFUSED:
            raise LogbookAccessError(reply.words)
        check(reply)
        for line in reply.cookies:
            found = SimpleCookie(line).get(self._cookie)
            if found is not None and is_session(found.value):
                return found.value
        raise LogbookError("the elogbook began no session; its cookie has another name")

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

    def readable(self, session: str, experiments: Collection[str]) -> frozenset[str]:
        """Return those of some experiments that the owner of a session may read; the elogbook is asked once."""
        found = self._ask(session, "/session", {}) if experiments else None
        listed = None if found is None else found.get("experiments")
        return frozenset(listed if isinstance(listed, list) else ()).intersection(experiments)

    def _ask(self, session: str, path: str, query: dict[str, str]) -> Json | None:
        if not is_session(session):
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


class TokenAccess:
    """What an account may do, asked of the embedded elogbook with its token."""

    def __init__(self, url: str, credential: Credential, *, transport: httpx.BaseTransport | None = None) -> None:
        """Prepare a client of the elogbook at `url`; nothing is sent."""
        self._transport = Transport(url, credential=credential, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def account(self) -> str:
        """Return the account's name. Raises `LogbookAccessError` for a token that is not valid."""
        return text(self._ask("/session", {}), "user")

    def privileges(self, experiment: str) -> frozenset[str]:
        """Return what the account may do with an experiment; nothing with one that is not there."""
        return _privileges(self._ask("/session/rights", {"experiment": experiment}))

    def _ask(self, path: str, query: dict[str, str]) -> Json:
        found = value_of(self._transport.ask("GET", path, query=query))
        if not isinstance(found, dict):
            message = f"the elogbook's answer about an account makes no sense: {found!r:.120}"
            raise LogbookError(message)
        return found


def is_session(text: str) -> bool:
    """Whether a text can be a session's secret, and nothing that ends a header."""
    return bool(text) and _COOKIE_CHARACTERS.issuperset(text)


def _privileges(found: Json) -> frozenset[str]:
    held = found.get("privileges")
    if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
        message = f"the elogbook's privileges make no sense: {held!r:.120}"
        raise LogbookError(message)
    return frozenset(held)
