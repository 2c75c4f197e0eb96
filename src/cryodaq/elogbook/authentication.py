"""Finding out who asks, and refusing what another site made a browser send.

Programs send a token (Bearer, or as the password of Basic); people have a session cookie, or come through the site's
single sign-on proxy. No answer ever asks a browser for Basic credentials. Whoever it is, the transaction knows it from
then on, for the audit log.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ARRAY
from starlette.requests import Request

from cryodaq.elogbook import audit, origin
from cryodaq.elogbook import tables as t
from cryodaq.elogbook.accounts import hash_secret
from cryodaq.elogbook.refusals import ForbiddenError
from cryodaq.elogbook.rights import Credential, Principal
from cryodaq.elogbook.settings import ElogbookSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORGERY_HEADER = "x-csrf-token"
UNKNOWN_TOKEN = "The token is unknown or was revoked."  # noqa: S105  # a sentence, not a secret


_GROUPS = sa.func.array(
    sa.select(t.posix_group_member.c.group_name)
    .where(t.posix_group_member.c.uid == t.account.c.uid)
    .order_by(t.posix_group_member.c.group_name)
    .correlate(t.account)
    .scalar_subquery(),
    type_=ARRAY(sa.Text),
).label("groups")


def _account(
    holder: sa.Column[Any], *conditions: sa.ColumnElement[bool]
) -> sa.Select[Any, Any, Any]:  # Any: mixed columns
    """Return the question which usable account holds a credential, with its groups."""
    a = t.account.c
    asked = sa.select(
        a.uid,
        a.full_name,
        _GROUPS,
        audit.setting(audit.UID_SETTING, a.uid),
        audit.setting(audit.ORIGIN_SETTING, sa.bindparam("origin", type_=sa.Text)),
    )
    source = asked if holder.table is t.account else asked.join(holder.table, holder == a.uid)
    return source.where(a.disabled_at.is_(None), *conditions)


_HASH: sa.BindParameter[str] = sa.bindparam("secret_hash")
_SESSION = _account(
    t.browser_session.c.uid,
    t.browser_session.c.secret_hash == _HASH,
    t.browser_session.c.expires_at > sa.bindparam("now"),
).add_columns(t.browser_session.c.forgery_token)
_TOKEN = _account(t.token.c.uid, t.token.c.secret_hash == _HASH, t.token.c.revoked_at.is_(None))
_TOKEN_OF = _TOKEN.where(t.token.c.uid == sa.bindparam("uid"))
_NAMED = _account(t.account.c.uid, t.account.c.uid == sa.bindparam("uid"))
_ABSENT = sa.select(t.account.c.uid, t.account.c.full_name, _GROUPS).where(
    t.account.c.uid == sa.bindparam("uid"), t.account.c.disabled_at.is_(None)
)


def find_principal(
    connection: Connection, request: Request, *, now: datetime, settings: ElogbookSettings
) -> Principal | None:
    """Return who asks, or None when nobody says who they are.

    Raises
    ------
    ForbiddenError
        Credentials that are not valid (any more).
    """
    from_where = audit.write_origin(origin.describe(connection, request, settings))
    header = request.headers.get("authorization")
    if header is not None:
        return _by_token(connection, header, from_where)
    if settings.sso_header is not None and origin.comes_through_proxy(request, settings):
        named = request.headers.get(settings.sso_header, "").partition("@")[0].strip()
        if named:
            return _by_name(connection, named, from_where)
    secret = request.cookies.get(settings.cookie.name)
    if not secret:
        return None
    asked = {"secret_hash": hash_secret(secret), "now": now, "origin": from_where}
    row = connection.execute(_SESSION, asked).first()
    if row is None:
        return None
    return Principal(
        uid=row.uid,
        full_name=row.full_name,
        groups=tuple(row.groups),
        credential=Credential.SESSION,
        forgery_token=row.forgery_token,
    )


def principal_named(connection: Connection, uid: str) -> Principal | None:
    """Return somebody who asks nothing, to know what that person may; None where the account is disabled."""
    row = connection.execute(_ABSENT, {"uid": uid}).first()
    if row is None:
        return None
    return Principal(uid=row.uid, full_name=row.full_name, groups=tuple(row.groups), credential=Credential.PROXY)


def _by_name(connection: Connection, uid: str, from_where: str) -> Principal:
    row = connection.execute(_NAMED, {"uid": uid, "origin": from_where}).first()
    if row is None:
        message = f"{uid!r:.80} is not in the elogbook's directory, or is disabled; ask the facility."
        raise ForbiddenError(message)
    return Principal(uid=row.uid, full_name=row.full_name, groups=tuple(row.groups), credential=Credential.PROXY)


def _by_token(connection: Connection, header: str, from_where: str) -> Principal:
    scheme, _, value = header.partition(" ")
    uid, secret = None, value.strip()
    if scheme.lower() == "basic":
        uid, secret = _basic(value)
    elif scheme.lower() != "bearer":
        raise ForbiddenError("Send a token as Bearer, or as the password of Basic.")
    asked = {"secret_hash": hash_secret(secret), "origin": from_where}
    found = connection.execute(*((_TOKEN, asked) if uid is None else (_TOKEN_OF, {**asked, "uid": uid}))).all()
    if len(found) != 1:
        raise ForbiddenError(UNKNOWN_TOKEN)
    row = found[0]
    return Principal(uid=row.uid, full_name=row.full_name, groups=tuple(row.groups), credential=Credential.TOKEN)


def _basic(value: str) -> tuple[str, str]:
    try:
        user, separator, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ForbiddenError("The Basic credentials cannot be read.") from None
    if not separator or "\0" in user:
        raise ForbiddenError("The Basic credentials cannot be read.")
    return user.partition("@")[0], secret


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
    stated = request.headers.get("origin")
    return stated is not None and urlsplit(stated).netloc != request.headers.get("host")


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
