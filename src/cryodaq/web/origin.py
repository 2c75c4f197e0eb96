"""From where a request comes, and whom the site's single sign-on says it is from."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request

from cryodaq.logbook.transport import client_address

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cryodaq.web.settings import WebSettings

_KEY = "cryodaq_sso_user"
_MAX_LENGTH = 64


class NoteOrigin:
    """ASGI layer: notes the browser's address for the elogbook, and whom the proxy names; others' word is dropped."""

    def __init__(self, app: ASGIApp, *, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            address = scope["client"][0] if scope.get("client") else ""
            if self._is_proxy(address):
                headers = Headers(scope=scope)
                address = headers.get("x-forwarded-for", address).rpartition(",")[2].strip() or address
                scope["scheme"] = headers.get("x-forwarded-proto", scope["scheme"])
                if self._settings.sso_header is not None:
                    scope[_KEY] = headers.get(self._settings.sso_header, "").partition("@")[0].strip()
            client_address.set(address[:_MAX_LENGTH] if address.isascii() and address.isprintable() else None)
        await self._app(scope, receive, send)

    def _is_proxy(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._settings.proxies)


def signed_on_user(request: Request) -> str | None:
    """Return whom the site's single sign-on names; None when it names nobody, or there is none."""
    return request.scope.get(_KEY) or None
