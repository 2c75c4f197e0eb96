"""One unit of work: a transaction with everything that a change needs to know."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection

from cryodaq.domain.names import safe_component
from cryodaq.elogbook.book.ids import IdMaker
from cryodaq.elogbook.refusals import BadRequestError
from cryodaq.elogbook.rights import Principal
from cryodaq.elogbook.settings import ElogbookSettings
from cryodaq.errors import UnsafeNameError

Document = dict[str, Any]  # a JSON object of the contract, whose values can be anything
Definitions = Mapping[str, Document]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How much an experiment holds."""

    runs: int
    files: int
    size_bytes: int
    counted_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A transaction that somebody's request runs in."""

    connection: Connection
    settings: ElogbookSettings
    definitions: Definitions
    ids: IdMaker
    now: datetime
    """UTC, in milliseconds."""
    tallies: MutableMapping[str, Tally]
    """Counts that took long, kept by the server for a while."""
    principal: Principal | None
    """None only in calls that are open to anyone."""

    @property
    def uid(self) -> str:
        """Who asks, for signatures under changes."""
        return "" if self.principal is None else self.principal.uid

    def new_id(self) -> str:
        """Return the id of something that is made now."""
        return self.ids.make(self.now)


def contains(field: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Return the condition that a field contains a text, whatever its case."""
    escaped = text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return field.ilike(f"%{escaped}%", escape="!")


def require_object(body: object, *, what: str) -> Document:
    """Return the body if it is a JSON object. Raises `BadRequestError`."""
    if not isinstance(body, dict):
        message = f"{what} must be a JSON object"
        raise BadRequestError(message)
    return body


def require_text(value: object, *, what: str, max_length: int = 10_000) -> str:
    """Return a value if it is text of a sensible length. Raises `BadRequestError`."""
    if not isinstance(value, str):
        message = f"{what} must be text, not {value!r:.80}"
        raise BadRequestError(message)
    if len(value) > max_length:
        message = f"{what} is longer than {max_length} characters"
        raise BadRequestError(message)
    return value


def require_name(value: object, *, what: str, max_length: int) -> str:
    """Return a name that can be one component of a path. Raises `BadRequestError`."""
    name = require_text(value, what=what, max_length=max_length)
    try:
        safe_component(name)
    except UnsafeNameError as error:
        message = f"{what} {error}; it becomes part of a path"
        raise BadRequestError(message) from error
    if name != name.strip():
        message = f"{what} {name!r} begins or ends with a blank"
        raise BadRequestError(message)
    return name


def require_keys(document: Document, keys: Sequence[str], *, what: str) -> None:
    """Refuse a document without some keys, in the contract's words. Raises `BadRequestError`."""
    missing = [key for key in keys if key not in document]
    if missing:
        message = f"{what} missing keys {{{', '.join(map(repr, missing))}}}"
        raise BadRequestError(message)
