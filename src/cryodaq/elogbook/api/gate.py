"""The way into the elogbook: each route opens one transaction here, for somebody who may do what it does."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial, wraps
from itertools import chain
from threading import BoundedSemaphore
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends
from sqlalchemy import Connection, Engine, RowMapping
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from cryodaq.elogbook.authentication import SAFE_METHODS, find_principal, refuse_forgery
from cryodaq.elogbook.book import experiments, instruments
from cryodaq.elogbook.book.ids import IdMaker
from cryodaq.elogbook.book.times import to_milliseconds
from cryodaq.elogbook.book.work import Definitions, Tally, Work
from cryodaq.elogbook.refusals import ForbiddenError, LockedError, NotFoundError
from cryodaq.elogbook.rights import (
    Principal,
    experiment_and_privileges,
    instrument_privileges,
    site_privileges,
)
from cryodaq.elogbook.settings import ElogbookSettings

Clock = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class Elogbook:
    """What lives as long as the server."""

    settings: ElogbookSettings
    engine: Engine
    clock: Clock
    definitions: Definitions
    ids: IdMaker = field(default_factory=IdMaker)
    tallies: dict[str, Tally] = field(default_factory=dict)
    turns: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2 * (os.cpu_count() or 1)))
    """So many of the calls that come with every movie are answered at once: more only take time from each other."""
    password_checks: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(2))
    """A check takes 64 MiB for a moment, so only a few run at once."""


class Gate:
    """Opens transactions for one request."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.elogbook: Elogbook = request.app.state.elogbook
        self.form_token: str | None = None
        """What a page's form sent against forgery."""

    @contextmanager
    def open(self, *, changes: bool = False) -> Iterator[Work]:
        """Open a transaction for anyone, known or not; a forged request is refused."""
        elogbook = self.elogbook
        now = to_milliseconds(elogbook.clock())
        with elogbook.engine.begin() as connection:
            principal = find_principal(connection, self.request, now=now, settings=elogbook.settings)
            if principal is not None and (changes or self.request.method not in SAFE_METHODS):
                refuse_forgery(self.request, principal, sent_token=self.form_token)
            yield self._work(connection, now, principal)

    @contextmanager
    def open_unasked(self) -> Iterator[Work]:
        """Open a transaction without asking who it is for."""
        with self.elogbook.engine.begin() as connection:
            yield self._work(connection, to_milliseconds(self.elogbook.clock()), None)

    def _work(self, connection: Connection, now: datetime, principal: Principal | None) -> Work:
        return Work(
            connection=connection,
            settings=self.elogbook.settings,
            definitions=self.elogbook.definitions,
            ids=self.elogbook.ids,
            now=now,
            tallies=self.elogbook.tallies,
            principal=principal,
        )

    @contextmanager
    def site(self, needs: str | None = None) -> Iterator[Work]:
        """Open a transaction for somebody with an account, and with a privilege everywhere."""
        with self.open() as work:
            principal = _known(work)
            if needs is not None and needs not in site_privileges(work.connection, principal):
                raise _lacks(principal, needs)
            yield work

    @contextmanager
    def instrument(self, name: object, *, needs: str) -> Iterator[Work]:
        """Open a transaction for somebody with a privilege on one microscope, or everywhere."""
        with self.open() as work:
            principal = _known(work)
            found = instruments.find(work, name) if isinstance(name, str) else None
            held = (
                site_privileges(work.connection, principal)
                if found is None
                else instrument_privileges(work.connection, principal, found["id"])
            )
            if needs not in held:
                raise _lacks(principal, needs)
            yield work

    @contextmanager
    def experiment(
        self, name: str, *, needs: str | None, changes: bool = False, unlocked: bool = False
    ) -> Iterator[tuple[Work, RowMapping]]:
        """Open a transaction for somebody with a privilege in one experiment.

        Parameters
        ----------
        changes
            The call changes something even by GET, so browsers' sessions may not use GET.
        unlocked
            Refuse a locked experiment.

        Raises
        ------
        NotFoundError, ForbiddenError, LockedError
        """
        with self.open(changes=changes) as work:
            principal = _known(work)
            found, held = experiment_and_privileges(work.connection, principal, name)
            if found is None:
                raise _no_experiment(name)
            if needs is not None and needs not in held:
                raise _lacks(principal, needs)
            if unlocked and found["is_locked"]:
                message = f"Experiment {name} is locked"
                raise LockedError(message)
            yield work, found

    @contextmanager
    def experiment_or_none(self, name: str) -> Iterator[tuple[RowMapping | None, frozenset[str]]]:
        """Open a transaction that says what somebody with an account may do with an experiment, if there is one."""
        with self.site() as work:
            yield experiment_and_privileges(work.connection, _known(work), name)

    @contextmanager
    def open_experiment(self, name: str) -> Iterator[tuple[Work, RowMapping]]:
        """Open a transaction that reads what an explgbk shows to anyone; ours asks for `read`."""
        if not self.elogbook.settings.dialect.open_reads:
            with self.experiment(name, needs="read") as opened:
                yield opened
        else:
            with self.open_unasked() as work:
                found = experiments.find(work, name)
                if found is None:
                    raise _no_experiment(name)
                yield work, found

    @contextmanager
    def open_site(self) -> Iterator[Work]:
        """Open a transaction that reads what an explgbk shows to anyone; ours asks for an account."""
        with self.open_unasked() if self.elogbook.settings.dialect.open_reads else self.site() as work:
            yield work


def _known(work: Work) -> Principal:
    if work.principal is None:
        raise ForbiddenError("Log in, or send a token.")
    return work.principal


def _lacks(principal: Principal, privilege: str) -> ForbiddenError:
    return ForbiddenError(f"{principal.uid} lacks the privilege {privilege!r} here.")


def _no_experiment(name: str) -> NotFoundError:
    return NotFoundError(f"Experiment {name} does not exist")


async def _enter(request: Request) -> Gate:
    """Return the gate; a coroutine, because FastAPI sends plain functions to another thread."""
    return Gate(request)


Entry = Annotated[Gate, Depends(_enter)]
Route = TypeVar("Route", bound=Callable[..., object])


def get_or_post(
    router: APIRouter,
    path: str,
    *,
    openapi_extra: dict[str, Any] | None = None,  # Any: a JSON schema
) -> Callable[[Route], Route]:
    """Register a route for both methods, as the contract has it; only what is posted has a body."""

    def register(route: Route) -> Route:
        router.get(path)(route)
        router.post(path, openapi_extra=openapi_extra)(route)
        return route

    return register


def in_turn(route: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
    """Answer a short call of programs when its turn comes, the first that came first.

    All at once would share the processors, so that each took as long as all; those that people wait for, and those that
    take long, have other threads.
    """

    @wraps(route)
    async def wait_and_answer(*, gate: Gate, **given: object) -> Response:
        return await to_thread.run_sync(partial(route, gate=gate, **given), limiter=gate.elogbook.turns)

    return wait_and_answer


class Answer(JSONResponse):
    """An answer in the contract's shape; as a whole response, so that nothing takes it apart and checks it again."""


def success(**more: object) -> Answer:
    """Return the contract's answer to a change."""
    return Answer({"success": True, **more})


def streamed(pages: Iterator[list[dict[str, Any]]]) -> StreamingResponse:  # Any: JSON values
    """Return the contract's answer to a question for a long list, sent while it is read.

    The first page is read at once, so that what goes wrong with it is still an answer of its own.
    """
    return StreamingResponse(_written(next(pages, []), pages), media_type="application/json")


def _written(first: list[dict[str, Any]], rest: Iterator[list[dict[str, Any]]]) -> Iterator[str]:  # Any: as above
    yield '{"success":true,"value":['
    separator = ""
    for page in chain([first], rest):
        if page:
            yield separator + json.dumps(page, ensure_ascii=False, separators=(",", ":"))[1:-1]
            separator = ","
    yield "]}"


def value(found: object, **more: object) -> Answer:
    """Return the contract's answer to a question."""
    return Answer({"success": True, "value": found, **more})
