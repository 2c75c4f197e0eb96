"""Who may do what: site, instrument and experiment roles, looked up at every call and never cached."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from cryodaq.elogbook import tables as t

APPLICATION = "LogBook"


class Credential(StrEnum):
    """How somebody proved who they are."""

    TOKEN = "token"  # noqa: S105  # the name of a kind, not a secret
    SESSION = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks."""

    uid: str
    full_name: str
    groups: tuple[str, ...]
    credential: Credential
    forgery_token: str | None = None
    """What a browser's form must send along; None for programs."""

    @property
    def players(self) -> tuple[str, ...]:
        """The names under which roles can hold this principal."""
        return (f"uid:{self.uid}", *self.groups)


def _union(connection: Connection, *role_names: sa.Select[tuple[str]]) -> frozenset[str]:
    held = sa.union_all(*role_names).subquery()
    lists = connection.scalars(sa.select(t.role.c.privileges).where(t.role.c.name.in_(sa.select(held))))
    return frozenset(privilege for privileges in lists for privilege in privileges)


def _site_roles(principal: Principal) -> sa.Select[tuple[str]]:
    return sa.select(t.site_player.c.role_name).where(t.site_player.c.player.in_(principal.players))


def _instrument_roles(principal: Principal, instrument: str) -> sa.Select[tuple[str]]:
    players = t.instrument_player
    return sa.select(players.c.role_name).where(
        players.c.player.in_(principal.players), players.c.instrument_id == instrument
    )


def site_privileges(connection: Connection, principal: Principal) -> frozenset[str]:
    """Return what somebody may do everywhere."""
    return _union(connection, _site_roles(principal))


def instrument_privileges(connection: Connection, principal: Principal, instrument: str) -> frozenset[str]:
    """Return what somebody may do with one microscope."""
    return _union(connection, _site_roles(principal), _instrument_roles(principal, instrument))


def experiment_privileges(connection: Connection, principal: Principal, experiment: RowMapping) -> frozenset[str]:
    """Return what somebody may do with one experiment; a restricted one knows only its own roles."""
    players = t.experiment_player
    own = sa.select(players.c.role_name).where(
        players.c.player.in_(principal.players), players.c.experiment_name == experiment["name"]
    )
    if experiment["params"].get("is_restricted") == "true":
        return _union(connection, own)
    site, machine = _site_roles(principal), _instrument_roles(principal, experiment["instrument_id"])
    return _union(connection, own, site, machine)


def readable_experiments(connection: Connection, principal: Principal) -> list[str]:
    """Return the names of the experiments that somebody may read, in the order of registration."""
    readers = sa.select(t.role.c.name).where(t.role.c.privileges.contains(["read"])).scalar_subquery()
    e, players = t.experiment.c, t.experiment_player.c
    own = sa.exists().where(
        players.experiment_name == e.name,
        players.player.in_(principal.players),
        players.role_name.in_(readers),
    )
    site = sa.exists().where(t.site_player.c.player.in_(principal.players), t.site_player.c.role_name.in_(readers))
    machine = sa.exists().where(
        t.instrument_player.c.instrument_id == e.instrument_id,
        t.instrument_player.c.player.in_(principal.players),
        t.instrument_player.c.role_name.in_(readers),
    )
    restricted = sa.func.coalesce(e.params["is_restricted"].astext, "") == "true"
    found = connection.scalars(
        sa.select(e.name).where(own | (sa.not_(restricted) & (site | machine))).order_by(e.sequence)
    )
    return list(found)


def experiment_role_is_held(connection: Connection, principal: Principal, *, experiment: str, role: str) -> bool:
    """Whether somebody holds a role in an experiment, by the experiment or site-wide."""
    players = t.experiment_player.c
    own = sa.select(players.role_name).where(
        players.player.in_(principal.players), players.experiment_name == experiment
    )
    held = connection.scalars(sa.union(own, _site_roles(principal)))
    return role in set(held)
