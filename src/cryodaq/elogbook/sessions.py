"""Browser sessions, one-time log-in tickets, and the brake on guessing passwords.

The cookie carries a random secret; the table keeps its hash, bound to one account. Deleting the row ends the
session at the next call.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.accounts import hash_secret
from cryodaq.elogbook.refusals import TooManyTriesError
from cryodaq.elogbook.settings import ElogbookSettings

FAILURE_WINDOW = timedelta(minutes=15)


def open_session(
    connection: Connection, uid: str, *, now: datetime, settings: ElogbookSettings
) -> tuple[str, datetime]:
    """Return the secret and the end of a new session."""
    secret = secrets.token_urlsafe(32)
    expires_at = now + timedelta(hours=settings.cookie.lifetime_h)
    connection.execute(sa.delete(t.browser_session).where(t.browser_session.c.expires_at < now))
    connection.execute(
        sa.insert(t.browser_session).values(
            secret_hash=hash_secret(secret),
            uid=uid,
            forgery_token=secrets.token_urlsafe(32),
            created_at=now,
            expires_at=expires_at,
        )
    )
    return secret, expires_at


def close_session(connection: Connection, secret: str) -> None:
    """End a session at once."""
    connection.execute(sa.delete(t.browser_session).where(t.browser_session.c.secret_hash == hash_secret(secret)))


def issue_ticket(
    connection: Connection, uid: str, *, issued_by: str, now: datetime, settings: ElogbookSettings
) -> tuple[str, datetime]:
    """Return a secret with which `uid` can log in once, and when it stops working."""
    secret = secrets.token_urlsafe(32)
    expires_at = now + timedelta(seconds=settings.ticket_lifetime_s)
    connection.execute(sa.delete(t.login_ticket).where(t.login_ticket.c.expires_at < now))
    connection.execute(
        sa.insert(t.login_ticket).values(
            secret_hash=hash_secret(secret), uid=uid, issued_by=issued_by, expires_at=expires_at
        )
    )
    return secret, expires_at


def redeem_ticket(connection: Connection, secret: str, *, now: datetime) -> str | None:
    """Return whose ticket it is and use it up; None when it is not valid."""
    ticket = t.login_ticket
    return connection.scalar(
        sa.delete(ticket)
        .where(ticket.c.secret_hash == hash_secret(secret), ticket.c.expires_at > now)
        .returning(ticket.c.uid)
    )


def check_login_rate(
    connection: Connection, uid: str, *, address: str, now: datetime, settings: ElogbookSettings
) -> None:
    """Refuse a log-in while too many have failed. Raises `TooManyTriesError`."""
    f = t.failed_login.c
    recent = f.failed_at > now - FAILURE_WINDOW
    by_uid, by_address = connection.execute(
        sa.select(sa.func.count().filter(f.uid == uid), sa.func.count().filter(f.address == address)).where(recent)
    ).one()
    if by_uid >= settings.failed_logins_per_account or by_address >= settings.failed_logins_per_address:
        raise TooManyTriesError(
            "Too many failed log-ins; wait 15 minutes or ask the facility for a log-in link.",
            headers={"Retry-After": str(int(FAILURE_WINDOW.total_seconds()))},
        )


def note_failed_login(connection: Connection, uid: str, *, address: str, now: datetime) -> None:
    """Remember a failed log-in for as long as it counts."""
    connection.execute(sa.delete(t.failed_login).where(t.failed_login.c.failed_at < now - FAILURE_WINDOW))
    connection.execute(sa.insert(t.failed_login).values(uid=uid[:64], address=address, failed_at=now))
