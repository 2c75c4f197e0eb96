"""Puts the pages together and serves them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from cryodaq.errors import LogbookError, LogbookUnreachableError
from cryodaq.web import (
    audit_pages,
    board_pages,
    experiment_pages,
    instrument_pages,
    live_stream,
    log_pages,
    login_pages,
    microscope_pages,
    monitoring,
    movie_pages,
    parameter_pages,
    quarantine_pages,
    sample_pages,
    session_pages,
    switch_pages,
)
from cryodaq.web.live import LiveFeed
from cryodaq.web.operators import NotAllowedError, RefusedError
from cryodaq.web.origin import NoteOrigin
from cryodaq.web.preflight import StorageProbe
from cryodaq.web.presentation import environment
from cryodaq.web.protection import Protection
from cryodaq.web.rendering import render, wants_fragment
from cryodaq.web.settings import WebSettings
from cryodaq.web.visitors import NotLoggedInError, NotThereError

if TYPE_CHECKING:
    import uvicorn

_STATIC = Path(__file__).with_name("static")


def create_app(settings: WebSettings) -> FastAPI:
    """Return the pages as an ASGI application; the database is first asked when a page is."""
    from cryodaq.database import open_engine

    engine = open_engine(settings.database_url, pool_size=10)
    live = LiveFeed(engine)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        live.start()
        yield
        live.stop()
        engine.dispose()

    app = FastAPI(title="cryodaq", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.settings, app.state.engine, app.state.live = settings, engine, live
    app.state.templates = environment(settings)
    app.state.storage = StorageProbe(settings.storage_root)
    app.state.board = board_pages.BoardSnapshots(engine, settings)
    app.state.monitor = monitoring.Monitor(engine, settings)
    app.add_middleware(Protection, public_origin=settings.public_origin)
    app.add_middleware(NoteOrigin, settings=settings)
    for room in (
        board_pages,
        microscope_pages,
        switch_pages,
        experiment_pages,
        audit_pages,
        instrument_pages,
        session_pages,
        sample_pages,
        quarantine_pages,
        parameter_pages,
        movie_pages,
        log_pages,
        login_pages,
        live_stream,
        monitoring,
    ):
        app.include_router(room.router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.add_exception_handler(NotLoggedInError, _to_login)
    app.add_exception_handler(NotThereError, _not_there)
    app.add_exception_handler(NotAllowedError, _not_allowed)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _not_there)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(LogbookError, _logbook_problem)
    return app


def make_server(settings: WebSettings, *, host: str, port: int) -> uvicorn.Server:
    """Return a server of the pages that has not begun yet; port 0 takes a free one."""
    import uvicorn

    app = create_app(settings)
    live: LiveFeed = app.state.live

    class Server(uvicorn.Server):
        """Ends the streams of changes first, which would otherwise hold the end up."""

        async def shutdown(self, sockets: list[socket] | None = None) -> None:
            live.stop()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # `origin` decides whose word counts
            timeout_graceful_shutdown=5,
        )
    )


def serve(settings: WebSettings, host: str, port: int) -> None:
    """Serve the pages until the process is told to end."""
    make_server(settings, host=host, port=port).run()


def _to_login(request: Request, _error: Exception) -> Response:
    if wants_fragment(request) or not _is_page(request):
        return Response(status_code=401)
    return Response(status_code=303, headers={"location": login_pages.login_address(request)})


def _is_page(request: Request) -> bool:
    return request.method == "GET" and not request.url.path.endswith((".jpg", ".png"))


def _not_there(request: Request, error: Exception) -> Response:
    sentence = str(error) if isinstance(error, NotThereError) else "This address leads nowhere."
    return _message(request, "Not found", sentence=sentence, status=404)


def _not_allowed(request: Request, error: Exception) -> Response:
    return _message(request, "Not for you", sentence=str(error), status=403)


def _refused(request: Request, error: Exception) -> Response:
    return _message(request, "Not done", sentence=str(error), status=409)


def _http_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _message(request, "Not found", sentence="This address leads nowhere.", status=status)


def _logbook_problem(request: Request, error: Exception) -> Response:
    if isinstance(error, LogbookUnreachableError):
        title, again = "The elogbook does not answer", request.method == "GET"
        sentence = f"We cannot tell who you are, so nobody can log in. {login_pages.GOES_ON}"
    else:
        title, again, sentence = "The elogbook refused", False, f"{str(error)[:1].upper()}{str(error)[1:]}"
    return _message(request, title, sentence=sentence, status=503, again=again)


def _message(request: Request, title: str, *, sentence: str, status: int, again: bool = False) -> Response:
    values: dict[str, object] = {"title": title, "sentence": sentence, "retry": again}
    return render(request, "message.html", visitor=None, status=status, values=values)
