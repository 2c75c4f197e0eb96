"""Finding out who asks, and refusing what another site made a browser send.

Programs send a token (Bearer, or as the password of Basic); people have a session cookie. No answer ever asks a
browser for Basic credentials.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import datetime
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy import Connection
from starlette.requests import Request

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.accounts import hash_secret
from cryodaq.elogbook.refusals import ForbiddenError
from cryodaq.elogbook.rights import Credential, Principal, groups_of
from cryodaq.elogbook.sessions import find_session
from cryodaq.elogbook.settings import CookieSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORGERY_HEADER = "x-csrf-token"
UNKNOWN_TOKEN = "The token is unknown or was revoked."  # noqa: S105  # a sentence, not a secret


def find_principal(
    connection: Connection, request: Request, *, now: datetime, cookie: CookieSettings
) -> Principal | None:
    """Return who asks, or None when nobody says who they are.

    Raises
    ------
    ForbiddenError
        Credentials that are not valid (any more).
    """
    header = request.headers.get("authorization")
    if header is not None:
        return _by_token(connection, header)
    secret = request.cookies.get(cookie.name)
    if not secret:
        return None
    session = find_session(connection, secret, now=now)
    if session is None:
        return None
    return _principal(connection, session.uid, Credential.SESSION, forgery_token=session.forgery_token)


def _by_token(connection: Connection, header: str) -> Principal | None:
    scheme, _, value = header.partition(" ")
    uid, secret = None, value.strip()
    if scheme.lower() == "basic":
        uid, secret = _basic(value)
    elif scheme.lower() != "bearer":
        raise ForbiddenError("Send a token as Bearer, or as the password of Basic.")
    k = t.token.c
    statement = sa.select(k.uid).where(k.secret_hash == hash_secret(secret), k.revoked_at.is_(None))
    owners = connection.scalars(statement if uid is None else statement.where(k.uid == uid)).all()
    principal = _principal(connection, owners[0], Credential.TOKEN) if len(owners) == 1 else None
    if principal is None:
        raise ForbiddenError(UNKNOWN_TOKEN)
    return principal


def _basic(value: str) -> tuple[str, str]:
    try:
        user, separator, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ForbiddenError("The Basic credentials cannot be read.") from None
    if not separator or "\0" in user:
        raise ForbiddenError("The Basic credentials cannot be read.")
    return user.partition("@")[0], secret


def _principal(
    connection: Connection, uid: str, credential: Credential, *, forgery_token: str | None = None
) -> Principal | None:
    a = t.account.c
    full_name = connection.scalar(sa.select(a.full_name).where(a.uid == uid, a.disabled_at.is_(None)))
    if full_name is None:
        return None
    return Principal(
        uid=uid,
        full_name=full_name,
        groups=groups_of(connection, uid),
        credential=credential,
        forgery_token=forgery_token,
    )


def refuse_other_sites(request: Request) -> None:
    """Refuse a changing request that a page of another origin sent, whatever its credential.

    Raises `ForbiddenError`.
    """
    if _comes_from_elsewhere(request):
        raise ForbiddenError("Another site sent this request; it was not done.")


def _comes_from_elsewhere(request: Request) -> bool:
    fetched = request.headers.get("sec-fetch-site")
    if fetched is not None and fetched not in {"same-origin", "none"}:
        return True
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def refuse_forgery(request: Request, principal: Principal, *, sent_token: str | None = None) -> None:
    """Refuse a change by a browser session that this site's own pages did not make.

    Parameters
    ----------
    sent_token
        The token of a form; programs in a page send it in a header.

    Raises
    ------
    ForbiddenError
    """
    refuse_other_sites(request)
    if principal.credential is Credential.TOKEN:
        return
    if request.method in SAFE_METHODS:
        raise ForbiddenError("Only programs with a token may change something by GET; use POST.")
    if request.headers.get("sec-fetch-site") == "same-origin":
        return
    sent = sent_token or request.headers.get(FORGERY_HEADER, "")
    if request.headers.get("origin") is None and not secrets.compare_digest(
        sent.encode(), (principal.forgery_token or secrets.token_hex()).encode()
    ):
        raise ForbiddenError("The request does not say that it comes from this site's pages.")
