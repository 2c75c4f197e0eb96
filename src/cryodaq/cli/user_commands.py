"""`cryodaq user`: accounts of the embedded elogbook. The elogbook's audit log says who gave which command."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption
from cryodaq.errors import AccountError

if TYPE_CHECKING:
    from sqlalchemy import Connection

app = typer.Typer(help="Accounts of the embedded elogbook.", no_args_is_help=True)
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Letters, digits and . _ -")]
InstrumentOption = Annotated[
    str | None, typer.Option(metavar="ID", help="The role on this microscope only (the elogbook's _id).")
]


@contextmanager
def _changing(home: Path | None, command: str) -> Iterator[Connection]:
    """Open a transaction whose changes the audit log gives to whoever runs the command."""
    from cryodaq.elogbook.audit import name_actor

    with answering_system(home).engine.begin() as connection:
        origin = {"address": socket.gethostname(), "request": f"cryodaq user {command}"}
        name_actor(connection, getpass.getuser(), origin=origin)
        yield connection


@app.command()
def add(
    user: UserArgument,
    full_name: Annotated[str, typer.Option(help="As pages show it.")] = "",
    uid_number: Annotated[int | None, typer.Option(min=0, help="Numeric id that gets access to files.")] = None,
    home: HomeOption = None,
) -> None:
    """Add a person or program, or correct its entry."""
    from cryodaq.elogbook import accounts

    with _changing(home, "add") as connection:
        accounts.add_user(connection, user, full_name=full_name or user, uid_number=uid_number)
    print(f"{user} is in the directory")


@app.command("list")
def list_users(home: HomeOption = None) -> None:
    """List accounts with their site-wide roles, and what of each can be used."""
    from cryodaq.elogbook import accounts

    with answering_system(home).engine.connect() as connection:
        for found in accounts.list_users(connection):
            ways = ["password"] * found.has_password + [f"{found.tokens} tokens"] * bool(found.tokens)
            state = "disabled" if found.disabled_at is not None else ", ".join(ways) or "no way in"
            print(f"{found.uid}  {found.full_name}  [{', '.join(found.roles)}]  {state}")


@app.command()
def passwd(user: UserArgument, home: HomeOption = None) -> None:
    """Set a person's password, asked for without echo; ends the person's sessions."""
    from cryodaq.elogbook import accounts

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    with _changing(home, "passwd") as connection:
        accounts.set_password(connection, user, password=password)
    print(f"{user} can log in")


@app.command()
def role(
    user: Annotated[str, typer.Argument(metavar="USER", help="An account, or group:<name> for a group.")],
    name: Annotated[str, typer.Argument(help="SiteAdmin, LabPersonnel, PowerUsers, DAQOperators, ... ")],
    revoke: Annotated[bool, typer.Option("--revoke", help="Take it away, at once.")] = False,
    instrument: InstrumentOption = None,
    home: HomeOption = None,
) -> None:
    """Give somebody a role everywhere or on one microscope, or take it away."""
    from cryodaq.elogbook import accounts

    player = user.removeprefix("group:") if user.startswith("group:") else f"uid:{user}"
    with _changing(home, "role") as connection:
        if instrument is None:
            change = accounts.revoke_site_role if revoke else accounts.grant_site_role
            change(connection, player, role=name)
        else:
            known = accounts.find_instrument(connection, instrument)
            change_here = accounts.revoke_instrument_role if revoke else accounts.grant_instrument_role
            change_here(connection, player, role=name, instrument=known)
    where = "" if instrument is None else f" on {instrument}"
    print(f"{user} {'no longer has' if revoke else 'has'} the role {name}{where}")


@app.command()
def disable(user: UserArgument, home: HomeOption = None) -> None:
    """Refuse an account from now on: sessions end and tokens stop working at once."""
    from cryodaq.elogbook import accounts

    with _changing(home, "disable") as connection:
        accounts.disable_user(connection, user)
    print(f"{user} is refused from now on")


@app.command()
def enable(user: UserArgument, home: HomeOption = None) -> None:
    """Accept a disabled account again."""
    from cryodaq.elogbook import accounts

    with _changing(home, "enable") as connection:
        accounts.enable_user(connection, user)
    print(f"{user} is accepted again")


@app.command()
def logout(user: UserArgument, home: HomeOption = None) -> None:
    """End all of a person's browser sessions at once."""
    from cryodaq.elogbook import accounts

    with _changing(home, "logout") as connection:
        accounts.end_sessions(connection, user)
    print(f"{user} must log in again")


@app.command()
def token(
    user: UserArgument,
    file: Annotated[Path, typer.Argument(help="Where the token is written, readable by you alone.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "command line",
    home: HomeOption = None,
) -> None:
    """Make a token with which a program acts as this account."""
    from cryodaq.elogbook import accounts
    from cryodaq.launch.secrets import write_private

    with _changing(home, "token") as connection:
        write_private(file, accounts.create_token(connection, user, name=name) + "\n")
    print(f"the token is in {file}")


@app.command()
def tokens(
    user: Annotated[str | None, typer.Argument(metavar="USER", help="Only of this account.")] = None,
    revoke: Annotated[int | None, typer.Option(metavar="NUMBER", help="Refuse this one from now on.")] = None,
    home: HomeOption = None,
) -> None:
    """List the programs' tokens, or revoke one; the tokens themselves are kept nowhere."""
    from cryodaq.elogbook import accounts

    with _changing(home, "tokens") as connection:
        if revoke is not None:
            accounts.revoke_token(connection, revoke)
            print(f"token {revoke} is refused from now on")
            return
        for found in accounts.list_tokens(connection, user):
            state = "" if found.revoked_at is None else f"  revoked {found.revoked_at:%Y-%m-%d}"
            print(f"{found.id}  {found.uid}  {found.name}  since {found.created_at:%Y-%m-%d}{state}")


@app.command("import")
def import_people(
    file: Annotated[
        Path | None, typer.Option(help="JSON file with people and groups, in place of the facility file's [directory].")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Bring people and groups of the site's directory into the elogbook; who is gone from it is only told."""
    from cryodaq.elogbook.directory_import import import_directory

    system = answering_system(home)
    source = system.directory(file)
    if source is None:
        raise AccountError("the facility file has no [directory]; give --file")
    people, groups = source.people(), source.groups()
    with _changing(home, "import") as connection:
        told = import_directory(connection, people=people, groups=groups)
    print(f"{told.added} people added, {told.changed} corrected, {told.groups} groups")
    for uid in told.gone:
        print(f"{uid} is no longer in the directory: cryodaq user disable {uid}")
