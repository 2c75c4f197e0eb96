"""People and groups of an LDAP server, as RFC 2307 has them: uid, uidNumber, cn, gidNumber, memberUid."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryodaq.errors import DirectoryError
from cryodaq.ports import DirectoryGroup, DirectoryPerson

TIMEOUT_S = 20.0
PAGE_SIZE = 500
MAX_ENTRIES = 100_000
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
Entry = Mapping[str, Any]  # Any: values as the library decodes them


@dataclass(frozen=True, slots=True, kw_only=True)
class LdapServer:
    """Where the directory is."""

    url: str
    """`ldaps://host`, or `ldap://host`, which is then protected by StartTLS."""
    people_base: str
    groups_base: str
    people_filter: str = "(uidNumber=*)"
    groups_filter: str = "(gidNumber=*)"
    user: str | None = None
    """Distinguished name to bind as; None: anonymous."""
    password: str | None = None

    def connect(self) -> Any:  # Any: the library has no types
        """Return a bound connection, its server's certificate checked."""
        from ldap3 import AUTO_BIND_NO_TLS, AUTO_BIND_TLS_BEFORE_BIND, Connection, Server, Tls

        encrypted = self.url.startswith("ldaps://")
        server = Server(self.url, tls=Tls(validate=ssl.CERT_REQUIRED), connect_timeout=TIMEOUT_S)
        return Connection(
            server,
            user=self.user,
            password=self.password,
            auto_bind=AUTO_BIND_NO_TLS if encrypted else AUTO_BIND_TLS_BEFORE_BIND,
            receive_timeout=TIMEOUT_S,
            read_only=True,
            raise_exceptions=True,
        )


@dataclass(frozen=True, slots=True)
class LdapDirectory:
    """A `Directory` on an LDAP server; each question has a connection of its own."""

    server: LdapServer
    connect: Callable[[], Any]  # Any: the library has no types

    def people(self) -> list[DirectoryPerson]:
        """Return everybody with an account name and a numeric id; others can have no access to files."""
        found = []
        attributes = ["uid", "cn", "gecos", "uidNumber"]
        for entry in self._search(self.server.people_base, self.server.people_filter, attributes):
            uid, number = _first(entry, "uid"), _number(entry, "uidNumber")
            if _ACCOUNT.fullmatch(uid) is not None and number is not None:
                name = _first(entry, "cn") or _first(entry, "gecos") or uid
                found.append(DirectoryPerson(uid=uid, full_name=name[:200], uid_number=number))
        return found

    def groups(self) -> list[DirectoryGroup]:
        """Return all groups with a name and a numeric id."""
        found = []
        attributes = ["cn", "gidNumber", "memberUid"]
        for entry in self._search(self.server.groups_base, self.server.groups_filter, attributes):
            name, number = _first(entry, "cn"), _number(entry, "gidNumber")
            if name and number is not None:
                members = frozenset(_all(entry, "memberUid"))
                found.append(DirectoryGroup(name=name, gid_number=number, members=members))
        return found

    def _search(self, base: str, wanted: str, attributes: list[str]) -> Iterator[Entry]:
        from ldap3.core.exceptions import LDAPException

        try:
            with self.connect() as connection:
                answers = connection.extend.standard.paged_search(
                    base, wanted, attributes=attributes, paged_size=PAGE_SIZE, generator=True
                )
                for count, answer in enumerate(answers):
                    if count >= MAX_ENTRIES:
                        message = f"more than {MAX_ENTRIES} entries below {base}; narrow the filter"
                        raise DirectoryError(message)
                    if "attributes" in answer:  # else it refers to another server
                        yield answer["attributes"]
        except (LDAPException, OSError) as error:
            message = f"the directory {self.server.url} does not answer as it should: {type(error).__name__}: {error}"
            raise DirectoryError(message) from error


def _all(entry: Entry, name: str) -> list[str]:
    values = entry.get(name) or []
    return [str(value) for value in (values if isinstance(values, list | tuple) else [values])]


def _first(entry: Entry, name: str) -> str:
    return next(iter(_all(entry, name)), "").strip()


def _number(entry: Entry, name: str) -> int | None:
    text = _first(entry, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
