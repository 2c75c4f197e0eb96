"""What every answer and every request must satisfy: headers that bind the browser, and no forged posts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

Scope = MutableMapping[str, Any]  # Any: ASGI's own open mappings
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 65_536
MAX_UPLOAD_BYTES = 25_000_000
"""Of a form with files; the elogbook limits each file."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Protection:
    """ASGI layer: refuses state-changing requests of other sites and large bodies, sets the headers."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], *, public_origin: str | None) -> None:
        self._app = app
        self._public_origin = public_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                message["headers"] = headers.raw
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:  # no database holds it
            return PlainTextResponse("The address holds a NUL character.", 400)
        if scope["method"] in _SAFE_METHODS:
            return None
        headers = Headers(scope=scope)
        if not is_same_origin(headers, scheme=scope["scheme"], public_origin=self._public_origin):
            return PlainTextResponse("This request did not come from our own pages; nothing was changed.", 403)
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return PlainTextResponse("The request must say its length.", 411)
        if int(length) > (MAX_UPLOAD_BYTES if _takes_files(scope["path"]) else MAX_BODY_BYTES):
            return PlainTextResponse("The request is too large.", 413)
        return None


def _takes_files(path: str) -> bool:
    """Whether a form at an address may carry files: only those for entries of a log."""
    return path.startswith("/experiments/") and path.endswith("/log")


def is_same_origin(headers: Headers, *, scheme: str, public_origin: str | None) -> bool:
    """Whether a browser says that a request comes from our own pages; silence counts as no."""
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    if origin is None:
        return site == "same-origin"
    expected = public_origin or f"{scheme}://{headers.get('host', '')}"
    return origin.rstrip("/").lower() == expected.rstrip("/").lower()


def safe_next(path: str | None) -> str:
    """Return a path of these pages to go to after the log-in; anything else becomes the board."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\", "/login", "/logout")):
        return "/"
    parts = urlsplit(path)
    if parts.scheme or parts.netloc or any(ord(character) < 0x20 for character in path):
        return "/"
    return path
