"""Who somebody is and what they may see, where the site runs an explgbk: its password check, its roles.

An explgbk has no sessions of ours, so they live here, in the memory of the pages' server, and end when it does. What
somebody may do is asked of the explgbk with this program's own account, and believed for a few seconds.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import httpx

from cryodaq.errors import LogbookAccessError, LogbookError, LogbookUnreachableError
from cryodaq.logbook import reading
from cryodaq.logbook.access import is_session
from cryodaq.logbook.client import experiment_path
from cryodaq.logbook.transport import Credential, Transport, value_of
from cryodaq.ports import Person

log = logging.getLogger(__name__)
BELIEVED_S = 3.0
"""How long an answer about roles is used again: a revoked role ends that soon."""
SESSION_LIFETIME_S = 12 * 3600.0
MAX_SESSIONS = 10_000
FAILURE_WINDOW_S = 900.0
MAX_FAILURES = 10
"""Wrong passwords of one user within the window, before no more are tried."""
ROLE_PRIVILEGES: dict[str, frozenset[str]] = {
    "Reader": frozenset({"read"}),
    "Writer": frozenset({"post", "read"}),
    "Editor": frozenset({"read", "post", "edit", "delete"}),
    "Manager": frozenset({"manage_groups", "read", "post", "edit", "delete"}),
    "PowerUsers": frozenset({"switch", "experiment_create", "experiment_edit"}),
    "DAQOperators": frozenset({"switch", "ops_page"}),
}
"""What an explgbk's usual roles allow, where it does not let this program's account ask."""
WRONG = "The name or the password is wrong."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A session."""

    uid: str
    groups: frozenset[str]
    ends_at_s: float

    @property
    def players(self) -> frozenset[str]:
        return self.groups | {f"uid:{self.uid}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Role:
    """A role with what it allows and who has it."""

    name: str
    privileges: frozenset[str]
    players: frozenset[str]


@dataclass
class ForeignAccess:
    """`AccessControl` by the accounts and roles of an explgbk."""

    url: str
    credential: Credential
    """Of this program."""
    transport: httpx.BaseTransport | None = None
    """Replaces the network in tests."""
    clock: Callable[[], float] = time.monotonic
    _sessions: dict[str, _Held] = field(default_factory=dict)
    _failures: dict[str, list[float]] = field(default_factory=dict)
    _believed: dict[str, tuple[float, object]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._asking = Transport(
            self.url, credential=self.credential, server_error_is_outage=False, transport=self.transport
        )

    def close(self) -> None:
        """Close the connections."""
        self._asking.close()

    def log_in(self, user: str, password: str) -> str:
        """Begin a session for somebody whose password the explgbk accepts. Raises `LogbookAccessError`."""
        uid = user.partition("@")[0]
        self._refuse_guessing(uid)
        theirs = Transport(
            self.url,
            credential=Credential(user=uid, secret=password),
            server_error_is_outage=False,
            transport=self.transport,
        )
        try:
            found = value_of(theirs.ask("GET", "/lgbk/ws/usergroups"))
        except LogbookAccessError:
            with self._lock:
                self._failures.setdefault(uid, []).append(self.clock())
            raise LogbookAccessError(WRONG) from None
        finally:
            theirs.close()
        if not isinstance(found, dict) or found.get("userid") != uid or not isinstance(found.get("groups"), list):
            message = f"the elogbook's answer about {uid!r:.60} makes no sense"
            raise LogbookError(message)
        return self._begin(uid, (str(group) for group in found["groups"]))

    def _refuse_guessing(self, uid: str) -> None:
        since = self.clock() - FAILURE_WINDOW_S
        with self._lock:
            recent = {name: [at for at in failed if at > since] for name, failed in self._failures.items()}
            self._failures = {name: failed for name, failed in recent.items() if failed}
            if len(self._failures.get(uid, [])) >= MAX_FAILURES:
                raise LogbookAccessError("Too many failed log-ins; wait 15 minutes.")

    def log_in_trusted(self, user: str) -> str:
        """Begin a session for somebody whom the site's single sign-on knows; groups' roles do not count then."""
        return self._begin(user.partition("@")[0], ())

    def log_in_with_ticket(self, ticket: str) -> str:
        """Refuse: an explgbk gives no one-time links."""
        del ticket
        raise LogbookAccessError("This site's elogbook gives no log-in links; use your name and password.")

    def _begin(self, uid: str, groups: Iterable[str]) -> str:
        secret = secrets.token_urlsafe(32)
        now = self.clock()
        held = _Held(uid=uid, groups=frozenset(groups), ends_at_s=now + SESSION_LIFETIME_S)
        with self._lock:
            self._sessions = {key: one for key, one in self._sessions.items() if one.ends_at_s > now}
            while len(self._sessions) >= MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[_key(secret)] = held
        return secret

    def log_out(self, session: str) -> None:
        """End a session at once."""
        with self._lock:
            self._sessions.pop(_key(session), None)

    def _held(self, session: str) -> _Held | None:
        if not is_session(session):
            return None
        with self._lock:
            held = self._sessions.get(_key(session))
        return None if held is None or held.ends_at_s <= self.clock() else held

    def identify(self, session: str) -> Person | None:
        """Return who owns a session, with the privileges of their site-wide roles."""
        held = self._held(session)
        if held is None:
            return None
        return Person(
            user=held.uid, full_name=self._full_name(held.uid), privileges=_allowed(self._site_roles(), held.players)
        )

    def privileges(self, session: str, experiment: str) -> frozenset[str]:
        """Return what a session's owner may do with an experiment; a restricted one knows only its own roles."""
        held = self._held(session)
        if held is None:
            return frozenset()
        try:
            info = self._ask(experiment_path(experiment, "info"))
            collaborators = self._ask(experiment_path(experiment, "collaborators"))
        except LogbookUnreachableError:
            raise
        except LogbookError as error:
            log.warning(
                "the elogbook does not show an experiment to this program",
                extra={"experiment": experiment, "why": str(error)},
            )
            return frozenset()
        roles = list(self._own_roles(collaborators))
        if not isinstance(info, dict):
            raise LogbookError("the elogbook's answer about an experiment is not an object")
        if reading.params(info).get("is_restricted") not in {"true", True}:
            roles += [*self._site_roles(), *self._instrument_roles(reading.text(info, "instrument"))]
        return _allowed(roles, held.players)

    def readable(self, session: str, experiments: Collection[str]) -> frozenset[str]:
        """Return those of some experiments that the owner of a session may read."""
        return frozenset(name for name in experiments if "read" in self.privileges(session, name))

    def _own_roles(self, collaborators: object) -> Iterable[_Role]:
        known = self._privileges_of_roles()
        for entry in reading.objects(collaborators, what="the collaborators"):
            person = reading.collaborator(entry)
            for role in person.roles:
                name = role.rpartition("/")[2]
                yield _Role(name=name, privileges=known.get(name, frozenset()), players=frozenset({person.uid}))

    def _instrument_roles(self, instrument: str) -> Iterable[_Role]:
        known = self._privileges_of_roles()
        for entry in reading.objects(self._ask("/lgbk/ws/instruments"), what="the instruments"):
            if reading.text(entry, "_id") != instrument:
                continue
            for role in reading.objects(entry.get("roles", []), what="an instrument's roles"):
                name = reading.text(role, "name")
                yield _Role(name=name, privileges=known.get(name, frozenset()), players=_texts(role.get("players")))

    def _site_roles(self) -> list[_Role]:
        """Return the site-wide roles; none where this program's account may not see them."""
        try:
            found = reading.objects(self._ask("/lgbk/ws/global_roles"), what="the site's roles")
        except LogbookAccessError:
            log.warning("the elogbook does not show its site-wide roles to this program; give it manage_groups")
            return []
        return [
            _Role(
                name=reading.text(role, "name"),
                privileges=_texts(role.get("privileges")),
                players=_texts(role.get("players")),
            )
            for role in found
        ]

    def _privileges_of_roles(self) -> dict[str, frozenset[str]]:
        return ROLE_PRIVILEGES | {role.name: role.privileges for role in self._site_roles()}

    def _full_name(self, uid: str) -> str:
        try:
            found = reading.objects(self._ask("/lgbk/ws/get_matching_uids", uid=uid), what="the directory's people")
        except LogbookAccessError:
            return uid
        return next((reading.text(one, "gecos", default=uid) for one in found if one.get("uid") == uid), uid)

    def _ask(self, path: str, **query: str) -> object:
        """Ask with this program's account, or use the answer of a moment ago. Raises `LogbookError`s."""
        key, now = f"{path}?{query}", self.clock()
        with self._lock:
            known = self._believed.get(key)
        if known is not None and now - known[0] < BELIEVED_S:
            return known[1]
        found: object = value_of(self._asking.ask("GET", path, query=query))
        with self._lock:
            self._believed = {name: one for name, one in self._believed.items() if now - one[0] < BELIEVED_S}
            self._believed[key] = (now, found)
        return found


def _key(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()


def _texts(found: object) -> frozenset[str]:
    return frozenset(str(one) for one in found) if isinstance(found, list) else frozenset()


def _allowed(roles: Iterable[_Role], players: frozenset[str]) -> frozenset[str]:
    return frozenset(privilege for role in roles if role.players & players for privilege in role.privileges)
