"""From where a request comes: its sender's address, or the one for which the pages' own server asks."""

from __future__ import annotations

from ipaddress import ip_address

import sqlalchemy as sa
from sqlalchemy import Connection
from starlette.requests import Request

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.accounts import hash_secret
from cryodaq.elogbook.settings import ElogbookSettings

WEB_HEADER = "x-cryodaq-web"
"""Carries the token by which the pages' server is known."""
CLIENT_HEADER = "x-cryodaq-client"
"""Carries the address of the browser that the pages' server answers."""
UNKNOWN = "unknown"
_MAX_LENGTH = 64
_IS_WEB = sa.select(t.token.c.id).where(
    t.token.c.uid == sa.bindparam("uid"),
    t.token.c.secret_hash == sa.bindparam("secret_hash"),
    t.token.c.revoked_at.is_(None),
)


def sender(request: Request) -> str:
    """Return the address that the connection comes from, whatever headers say."""
    return UNKNOWN if request.client is None else request.client.host


def comes_through_proxy(request: Request, settings: ElogbookSettings) -> bool:
    """Whether the connection comes from the site's proxy."""
    try:
        address = ip_address(sender(request))
    except ValueError:
        return False
    return any(address in network for network in settings.sso_proxies)


def comes_from_web(connection: Connection, request: Request, settings: ElogbookSettings) -> bool:
    """Whether the pages' own server sends the request, on behalf of a browser."""
    secret = request.headers.get(WEB_HEADER)
    if secret is None or settings.web_account is None:
        return False
    asked = {"uid": settings.web_account, "secret_hash": hash_secret(secret)}
    return connection.scalar(_IS_WEB, asked) is not None


def address_of(connection: Connection, request: Request, settings: ElogbookSettings) -> str:
    """Return the address of whoever asks; what others say of it counts from the pages' own server and the proxy."""
    stated = request.headers.get(CLIENT_HEADER)
    if stated is not None and comes_from_web(connection, request, settings):
        return stated[:_MAX_LENGTH]
    if comes_through_proxy(request, settings):
        forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        if forwarded.isascii() and forwarded.isprintable() and forwarded:
            return forwarded[:_MAX_LENGTH]
    return sender(request)


def describe(connection: Connection, request: Request, settings: ElogbookSettings) -> dict[str, str]:
    """Return what the audit log keeps of a request's origin."""
    path = request.url.path.replace("\0", "")[:300]
    return {"address": address_of(connection, request, settings), "request": f"{request.method} {path}"}
