"""An access control in memory: people with passwords, site privileges and experiments that they may read."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field

from cryodaq.errors import LogbookAccessError, LogbookUnreachableError
from cryodaq.ports import Person


@dataclass(slots=True, kw_only=True)
class Account:
    """One person."""

    full_name: str
    password: str
    privileges: frozenset[str] = frozenset()
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    """Of what is read."""


@dataclass(slots=True)
class FakeAccessControl:
    """Keeps the promises of `ports.AccessControl` without an elogbook."""

    accounts: dict[str, Account] = field(default_factory=dict)
    tickets: dict[str, str] = field(default_factory=dict)
    """One-time ticket to user."""
    sessions: dict[str, str] = field(default_factory=dict)
    reachable: bool = True
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def log_in(self, user: str, password: str) -> str:
        """Begin a session. Raises `LogbookAccessError` for a wrong password."""
        self._ask()
        account = self.accounts.get(user)
        if account is None or account.password != password:
            message = "User name or password is wrong."
            raise LogbookAccessError(message)
        return self._begin(user)

    def log_in_with_ticket(self, ticket: str) -> str:
        """Begin a session and use the ticket up."""
        self._ask()
        user = self.tickets.pop(ticket, None)
        if user is None:
            message = "This link was used before or is too old."
            raise LogbookAccessError(message)
        return self._begin(user)

    def log_in_trusted(self, user: str) -> str:
        """Begin a session without a password. Raises `LogbookAccessError` for somebody unknown."""
        self._ask()
        if user not in self.accounts:
            message = f"{user} is not in the directory."
            raise LogbookAccessError(message)
        return self._begin(user)

    def log_out(self, session: str) -> None:
        """End a session."""
        self._ask()
        self.sessions.pop(session, None)

    def identify(self, session: str) -> Person | None:
        """Return who owns a session."""
        self._ask()
        user = self.sessions.get(session)
        if user is None:
            return None
        account = self.accounts[user]
        return Person(user=user, full_name=account.full_name, privileges=account.privileges)

    def privileges(self, session: str, experiment: str) -> frozenset[str]:
        """Return what the session's owner may do with an experiment."""
        self._ask()
        user = self.sessions.get(session)
        if user is None or experiment not in self.accounts[user].reads:
            return frozenset()
        return frozenset({"read", "post"} if experiment in self.accounts[user].writes else {"read"})

    def readable(self, session: str, experiments: Collection[str]) -> frozenset[str]:
        """Return those of some experiments that the session's owner may read."""
        return frozenset(name for name in experiments if "read" in self.privileges(session, name))

    def _begin(self, user: str) -> str:
        session = f"session-{next(self._numbers)}"
        self.sessions[session] = user
        return session

    def _ask(self) -> None:
        if not self.reachable:
            message = "the elogbook does not answer"
            raise LogbookUnreachableError(message)
