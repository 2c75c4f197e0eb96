"""People: collaborators of an experiment, site-wide and instrument roles, and the directory."""

from __future__ import annotations

import re

import sqlalchemy as sa

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book import experiments
from cryodaq.elogbook.book.work import Document, Work
from cryodaq.elogbook.refusals import BadRequestError, NotFoundError, RuleError
from cryodaq.elogbook.rights import APPLICATION

UNKNOWN = "N/A"
NOTHING_MATCHED = "Did not match any entries"
_PLAYER = re.compile(r"(uid:)?[A-Za-z0-9._@-]{1,64}", re.ASCII)


def check_player(player: str) -> str:
    """Return `uid:<user>` or a group's name. Raises `BadRequestError`."""
    if _PLAYER.fullmatch(player) is None:
        message = f"{player!r:.80} is neither uid:<user> nor the name of a group"
        raise BadRequestError(message)
    return player


def role_name(work: Work, qualified: str) -> str:
    """Return the role in `LogBook/<role>`. Raises `BadRequestError` for one that does not exist."""
    application, _, name = qualified.partition("/")
    known = sa.select(t.role.c.name).where(t.role.c.name == name)
    if application != APPLICATION or work.connection.scalar(known) is None:
        message = f"There is no role {qualified!r:.80}; say for example LogBook/Reader"
        raise BadRequestError(message)
    return name


def collaborators(work: Work, experiment: str) -> list[Document]:
    """Return who has a role in an experiment, sorted by name."""
    p, a = t.experiment_player.c, t.account.c
    rows = work.connection.execute(
        sa.select(p.player, p.role_name, a.full_name, a.uid_number)
        .outerjoin(t.account, sa.literal("uid:") + a.uid == p.player)
        .where(p.experiment_name == experiment)
    )
    found: dict[str, Document] = {}
    for player, role, full_name, uid_number in rows:
        person = found.setdefault(
            player,
            {
                "uid": player,
                "is_group": not player.startswith("uid:"),
                "full_name": full_name or UNKNOWN,
                "uidNumber": UNKNOWN if uid_number is None else str(uid_number),
                "roles": [],
            },
        )
        person["roles"].append(f"{APPLICATION}/{role}")
    for person in found.values():
        person["roles"].sort()
    return [found[player] for player in sorted(found)]


def add_collaborator(work: Work, experiment: str, player: str, *, role: str) -> None:
    """Give somebody a role in an experiment. Raises `RuleError` when held already."""
    if not experiments.add_player(work, experiment, role=role, player=check_player(player)):
        raise RuleError(NOTHING_MATCHED, key="message")


def toggle_role(work: Work, experiment: str, player: str, *, role: str) -> None:
    """Give a role, or take it away from who has it."""
    if not experiments.add_player(work, experiment, role=role, player=check_player(player)):
        p = t.experiment_player.c
        work.connection.execute(
            sa.delete(t.experiment_player).where(
                p.experiment_name == experiment, p.role_name == role, p.player == player
            )
        )


def remove_collaborator(work: Work, experiment: str, player: str) -> None:
    """Take all roles in an experiment away. Raises `NotFoundError` when there are none."""
    p = t.experiment_player.c
    gone = work.connection.execute(
        sa.delete(t.experiment_player).where(p.experiment_name == experiment, p.player == player)
    )
    if not gone.rowcount:
        message = f"{player!r:.80} is not a collaborator of {experiment}"
        raise NotFoundError(message)


def global_roles(work: Work) -> list[Document]:
    """Return the roles with their privileges and who holds them site-wide."""
    players: dict[str, list[str]] = {}
    p = t.site_player.c
    for role, player in work.connection.execute(sa.select(p.role_name, p.player).order_by(p.id)):
        players.setdefault(role, []).append(player)
    rows = work.connection.execute(sa.select(t.role).order_by(t.role.c.position)).mappings()
    return [
        {
            "_id": row["id"],
            "app": APPLICATION,
            "name": row["name"],
            "privileges": row["privileges"],
            "players": players.get(row["name"], []),
        }
        for row in rows
    ]


def _glob(column: sa.ColumnElement[str], pattern: str) -> sa.ColumnElement[bool]:
    """Match a pattern with `*` for anything."""
    escaped = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_").replace("*", "%")
    return column.ilike(escaped, escape="!")


def matching_people(work: Work, pattern: str) -> list[Document]:
    """Return the directory's people whose account matches a pattern."""
    a = t.account.c
    rows = work.connection.execute(
        sa.select(a.uid, a.full_name, a.uid_number).where(_glob(a.uid, pattern)).order_by(a.uid).limit(500)
    )
    return [
        {
            "dn": f"uid={uid},ou=People",
            "uid": uid,
            "cn": uid,
            "gecos": full_name,
            "uidNumber": UNKNOWN if number is None else str(number),
        }
        for uid, full_name, number in rows
    ]


def matching_groups(work: Work, pattern: str) -> list[str]:
    """Return the directory's groups that match a pattern, by their numbers."""
    g = t.posix_group.c
    found = work.connection.scalars(sa.select(g.name).where(_glob(g.name, pattern)).order_by(g.gid_number).limit(500))
    return list(found)


def posix_group_members(work: Work, group: str) -> list[str]:
    """Return the accounts in a group of the directory."""
    m = t.posix_group_member.c
    return list(work.connection.scalars(sa.select(m.uid).where(m.group_name == group).order_by(m.uid)))
