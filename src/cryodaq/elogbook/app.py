"""The elogbook's server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cryodaq.database import open_engine
from cryodaq.elogbook.api import (
    audit,
    collaborators,
    elog,
    elog_mail,
    experiments,
    files,
    instruments,
    run_tables,
    runs,
    samples,
    sessions,
    site,
)
from cryodaq.elogbook.api.gate import Clock, Elogbook
from cryodaq.elogbook.definitions import load_definitions
from cryodaq.elogbook.pages import make_templates
from cryodaq.elogbook.pages import router as pages
from cryodaq.elogbook.refusals import RefusalError, RuleError
from cryodaq.elogbook.settings import ElogbookSettings

log = logging.getLogger(__name__)
CONTRACT_PREFIXES = ("", "/cryoem-data")
POOL_SIZE = 10


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class RefuseNulCharacters:
    """Refuses addresses with a NUL character, which the database cannot hold, before anything reads them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            response = PlainTextResponse("The address holds a NUL character", 400)
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


def create_app(settings: ElogbookSettings, *, clock: Clock = utc_now) -> FastAPI:
    """Build the server for a migrated database.

    Parameters
    ----------
    clock
        Returns the time with an offset.

    Raises
    ------
    ConfigError
        The site's parameter definitions cannot be read.
    """
    engine = open_engine(settings.database_url, pool_size=POOL_SIZE, trusted_s=1.0)
    elogbook = Elogbook(
        settings=settings,
        engine=engine,
        clock=clock,
        definitions=load_definitions(settings.definitions_folder),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.dispose()

    app = FastAPI(
        title="cryodaq elogbook",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        middleware=[Middleware(RefuseNulCharacters)],
    )
    app.state.elogbook = elogbook
    app.state.templates = make_templates(settings)
    app.include_router(sessions.router)
    app.include_router(pages)
    for prefix in CONTRACT_PREFIXES:
        for routes in (
            runs,
            files,
            site,
            instruments,
            experiments,
            samples,
            elog,
            elog_mail,
            run_tables,
            collaborators,
            audit,
        ):
            app.include_router(routes.router, prefix=prefix, include_in_schema=prefix == "")
    for error, handler in _HANDLERS.items():
        app.add_exception_handler(error, handler)
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)  # noqa: S101  # only registered for it
    return PlainTextResponse(error.sentence, error.status, headers=error.headers)


async def _refuse_by_rule(_: Request, error: Exception) -> Response:
    assert isinstance(error, RuleError)  # noqa: S101  # only registered for it
    return JSONResponse({"success": False, error.key: error.sentence})


async def _refuse_conflict(_: Request, error: Exception) -> Response:
    log.warning("a change lost a race", extra={"constraint": type(error).__name__})
    return PlainTextResponse("Somebody else changed this at the same moment; look and try again", 409)


async def _refuse_value(_: Request, error: Exception) -> Response:
    log.warning("the database refused a value", extra={"error": type(error).__name__})
    return PlainTextResponse("A value in the request is out of range", 400)


async def _refuse_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # only registered for it
    problems = [f"{found['loc'][-1]}: {found['msg']}" for found in error.errors()]
    return PlainTextResponse("; ".join(problems)[:1000], 422)


async def _unavailable(_: Request, error: Exception) -> Response:
    log.error("the database does not answer", extra={"error": type(error).__name__})
    return PlainTextResponse("The elogbook's database does not answer; try again", 503, headers={"Retry-After": "5"})


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    RefusalError: _refuse,
    RuleError: _refuse_by_rule,
    RequestValidationError: _refuse_parameter,
    IntegrityError: _refuse_conflict,
    DataError: _refuse_value,
    OperationalError: _unavailable,
}


def serve(settings: ElogbookSettings, *, host: str, port: int) -> None:
    """Serve until a signal ends it; the caller has migrated the database."""
    import uvicorn

    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whose word about addresses counts is decided in `origin`
    )
