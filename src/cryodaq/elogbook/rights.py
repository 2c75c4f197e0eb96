"""Who may do what: site, instrument and experiment roles, looked up at every call and never cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import ARRAY

from cryodaq.elogbook import tables as t

APPLICATION = "LogBook"


class Credential(StrEnum):
    """How somebody proved who they are."""

    TOKEN = "token"  # noqa: S105  # the name of a kind, not a secret
    SESSION = "session"
    PROXY = "proxy"


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
    def players(self) -> list[str]:
        """The names under which roles can hold this principal."""
        return [f"uid:{self.uid}", *self.groups]


def _array(name: str) -> sa.BindParameter[Sequence[Any]]:  # Any: SQLAlchemy knows no more of an array
    return sa.bindparam(name, type_=ARRAY(sa.Text()))


_PLAYERS = sa.any_(_array("players"))
_SITE = sa.select(t.site_player.c.role_name).where(t.site_player.c.player == _PLAYERS)
_UNRESTRICTED = sa.func.coalesce(t.experiment.c.params["is_restricted"].astext, "") != "true"


def _machine(instrument: sa.ColumnElement[str]) -> sa.Select[tuple[str]]:
    players = t.instrument_player.c
    return sa.select(players.role_name).where(players.player == _PLAYERS, players.instrument_id == instrument)


def _own(experiment: sa.ColumnElement[str]) -> sa.Select[tuple[str]]:
    players = t.experiment_player.c
    return sa.select(players.role_name).where(players.player == _PLAYERS, players.experiment_name == experiment)


def _held(*conditions: sa.ColumnElement[bool]) -> sa.Select[tuple[str]]:
    """Return the question for the privileges of the roles for which one of the conditions holds."""
    return sa.select(sa.func.unnest(t.role.c.privileges)).where(sa.or_(*conditions))


_NAME = t.role.c.name
_SITE_PRIVILEGES = _held(_NAME.in_(_SITE))
_INSTRUMENT_PRIVILEGES = _held(_NAME.in_(_SITE), _NAME.in_(_machine(sa.bindparam("instrument"))))
_EXPERIMENT = sa.select(
    t.experiment,
    sa.func.array(
        _held(
            _NAME.in_(_own(t.experiment.c.name).correlate(t.experiment)),
            sa.and_(
                _UNRESTRICTED,
                sa.or_(_NAME.in_(_SITE), _NAME.in_(_machine(t.experiment.c.instrument_id).correlate(t.experiment))),
            ),
        )
        .correlate(t.experiment)
        .scalar_subquery(),
        type_=ARRAY(sa.Text),
    ).label("held"),
).where(t.experiment.c.name == sa.bindparam("experiment"))
"""Statements that every request needs are made once: putting one together takes longer than its answer."""


def site_privileges(connection: Connection, principal: Principal) -> frozenset[str]:
    """Return what somebody may do everywhere."""
    return frozenset(connection.scalars(_SITE_PRIVILEGES, {"players": principal.players}))


def instrument_privileges(connection: Connection, principal: Principal, instrument: str) -> frozenset[str]:
    """Return what somebody may do with one microscope."""
    asked = {"players": principal.players, "instrument": instrument}
    return frozenset(connection.scalars(_INSTRUMENT_PRIVILEGES, asked))


def experiment_and_privileges(
    connection: Connection, principal: Principal, name: str
) -> tuple[RowMapping | None, frozenset[str]]:
    """Return an experiment's row and what somebody may do with it; a restricted one knows only its own roles."""
    asked = {"players": principal.players, "experiment": name}
    found = connection.execute(_EXPERIMENT, asked).mappings().first()
    return found, frozenset() if found is None else frozenset(found["held"])


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
    held = connection.scalars(sa.union(own, _SITE), {"players": principal.players})
    return role in set(held)
