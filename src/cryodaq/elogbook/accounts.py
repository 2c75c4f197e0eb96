"""Accounts of people and programs: the functions behind `cryodaq user` and `cryodaq token`.

People log in with a password (argon2id) in a browser and get a session; programs have random tokens, of which
only the sha256 is kept. Nothing here writes a secret to a log.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ARRAY, insert

from cryodaq.elogbook import tables as t
from cryodaq.errors import AccountError

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 1000
_HASHER = PasswordHasher()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """A program's token, without its secret."""

    id: int
    uid: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInfo:
    """An account, without its secrets."""

    uid: str
    full_name: str
    uid_number: int | None
    disabled_at: datetime | None
    has_password: bool
    tokens: int
    """How many can be used."""
    roles: tuple[str, ...]
    """Site-wide ones."""


def hash_secret(secret: str) -> str:
    """Return the sha256 of a random secret, as it is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add_user(connection: Connection, uid: str, *, full_name: str, uid_number: int | None = None) -> None:
    """Add a person or program to the directory, or correct its entry. Raises `AccountError` for a bad uid."""
    if not uid or len(uid) > 64 or not uid.isascii() or not all(c.isalnum() or c in "._-" for c in uid):
        message = f"{uid!r:.80} cannot be an account: use up to 64 letters, digits and . _ -"
        raise AccountError(message)
    statement = insert(t.account).values(uid=uid, full_name=full_name, uid_number=uid_number)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["uid"], set_={"full_name": full_name, "uid_number": uid_number})
    )


def list_users(connection: Connection) -> list[AccountInfo]:
    """Return all accounts, sorted by name."""
    a, k, p = t.account.c, t.token.c, t.site_player.c
    usable = sa.select(sa.func.count()).where(k.uid == a.uid, k.revoked_at.is_(None)).scalar_subquery()
    held = sa.select(p.role_name).where(p.player == sa.literal("uid:") + a.uid).order_by(p.role_name)
    rows = connection.execute(
        sa.select(
            a.uid,
            a.full_name,
            a.uid_number,
            a.disabled_at,
            a.password_hash.is_not(None).label("has_password"),
            usable.label("tokens"),
            sa.func.array(held.scalar_subquery(), type_=ARRAY(sa.Text)).label("roles"),
        ).order_by(a.uid)
    )
    return [AccountInfo(**{**row, "roles": tuple(row["roles"])}) for row in rows.mappings()]


def find_instrument(connection: Connection, name: str) -> str:
    """Return a microscope's id as the elogbook spells it. Raises `AccountError`."""
    found: str | None = connection.scalar(
        sa.select(t.instrument.c.id).where(sa.func.lower(t.instrument.c.id) == name.lower())
    )
    if found is None:
        message = f"the elogbook has no instrument {name!r:.80}"
        raise AccountError(message)
    return found


def _require_account(connection: Connection, uid: str) -> None:
    if connection.scalar(sa.select(t.account.c.uid).where(t.account.c.uid == uid)) is None:
        message = f"there is no account {uid!r:.80}; add it first"
        raise AccountError(message)


def set_password(connection: Connection, uid: str, *, password: str) -> None:
    """Let a person log in with this password; ends all of the person's sessions."""
    _require_account(connection, uid)
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        message = f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters"
        raise AccountError(message)
    connection.execute(sa.update(t.account).where(t.account.c.uid == uid).values(password_hash=_HASHER.hash(password)))
    end_sessions(connection, uid)


def password_is_right(password_hash: str | None, password: str) -> bool:
    """Whether a password belongs to a hash; takes the same time when there is no hash."""
    try:
        return _HASHER.verify(password_hash or _nobodys_hash(), password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


_NOBODY: list[str] = []


def _nobodys_hash() -> str:
    if not _NOBODY:
        _NOBODY.append(_HASHER.hash(secrets.token_urlsafe()))
    return _NOBODY[0]


def disable_user(connection: Connection, uid: str) -> None:
    """Refuse the account from now on: its sessions end, its tokens stop working."""
    _require_account(connection, uid)
    connection.execute(sa.update(t.account).where(t.account.c.uid == uid).values(disabled_at=sa.func.now()))
    end_sessions(connection, uid)


def enable_user(connection: Connection, uid: str) -> None:
    """Accept a disabled account again; tokens that were not revoked work again."""
    _require_account(connection, uid)
    connection.execute(sa.update(t.account).where(t.account.c.uid == uid).values(disabled_at=None))


def end_sessions(connection: Connection, uid: str) -> None:
    """End all browser sessions and unused log-in tickets of a person."""
    connection.execute(sa.delete(t.browser_session).where(t.browser_session.c.uid == uid))
    connection.execute(sa.delete(t.login_ticket).where(t.login_ticket.c.uid == uid))


def create_token(connection: Connection, uid: str, *, name: str) -> str:
    """Make a token for a program that acts as `uid`; the secret is returned once and never kept."""
    secret = secrets.token_urlsafe(32)
    store_token(connection, uid, name=name, secret=secret)
    return secret


def store_token(connection: Connection, uid: str, *, name: str, secret: str) -> None:
    """Accept a secret that was generated elsewhere (the embedded system's) as a token of `uid`."""
    _require_account(connection, uid)
    statement = insert(t.token).values(uid=uid, name=name, secret_hash=hash_secret(secret))
    connection.execute(
        statement.on_conflict_do_update(index_elements=["uid", "secret_hash"], set_={"name": name, "revoked_at": None})
    )


def list_tokens(connection: Connection, uid: str | None = None) -> list[TokenInfo]:
    """Return the tokens of one account, or of all."""
    columns = (t.token.c.id, t.token.c.uid, t.token.c.name, t.token.c.created_at, t.token.c.revoked_at)
    statement = sa.select(*columns).order_by(t.token.c.id)
    if uid is not None:
        statement = statement.where(t.token.c.uid == uid)
    return [TokenInfo(**row) for row in connection.execute(statement).mappings()]


def revoke_token(connection: Connection, token_id: int) -> None:
    """Refuse a token from now on. Raises `AccountError` when there is none."""
    changed = connection.execute(sa.update(t.token).where(t.token.c.id == token_id).values(revoked_at=sa.func.now()))
    if not changed.rowcount:
        message = f"there is no token {token_id}"
        raise AccountError(message)


def add_group(connection: Connection, name: str, *, gid_number: int) -> None:
    """Add a POSIX group to the directory, or correct its number."""
    statement = insert(t.posix_group).values(name=name, gid_number=gid_number)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"gid_number": gid_number}))


def set_group_members(connection: Connection, name: str, *, uids: frozenset[str]) -> None:
    """Make these accounts, and no others, members of a group."""
    for uid in sorted(uids):
        _require_account(connection, uid)
    members = t.posix_group_member
    connection.execute(sa.delete(members).where(members.c.group_name == name))
    for uid in sorted(uids):
        connection.execute(insert(members).values(group_name=name, uid=uid))


def _require_role(connection: Connection, role: str) -> None:
    known = connection.scalars(sa.select(t.role.c.name).order_by(t.role.c.position)).all()
    if role not in known:
        message = f"there is no role {role!r:.80}; there are {', '.join(known)}"
        raise AccountError(message)


def grant_site_role(connection: Connection, player: str, *, role: str) -> None:
    """Give a site-wide role to `uid:<user>` or a group; granting twice is one grant."""
    _require_role(connection, role)
    statement = insert(t.site_player).values(role_name=role, player=player)
    connection.execute(statement.on_conflict_do_nothing())


def revoke_site_role(connection: Connection, player: str, *, role: str) -> None:
    """Take a site-wide role away."""
    _require_role(connection, role)
    players = t.site_player
    connection.execute(sa.delete(players).where(players.c.role_name == role, players.c.player == player))


def grant_instrument_role(connection: Connection, player: str, *, role: str, instrument: str) -> None:
    """Give a role on one microscope to `uid:<user>` or a group."""
    _require_role(connection, role)
    _require_role(connection, role)
    statement = insert(t.instrument_player).values(instrument_id=instrument, role_name=role, player=player)
    connection.execute(statement.on_conflict_do_nothing())


def revoke_instrument_role(connection: Connection, player: str, *, role: str, instrument: str) -> None:
    """Take a role on one microscope away."""
    players = t.instrument_player
    connection.execute(
        sa.delete(players).where(
            players.c.instrument_id == instrument, players.c.role_name == role, players.c.player == player
        )
    )
