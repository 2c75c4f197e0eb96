"""`cryodaq user`: accounts of the embedded elogbook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryodaq.cli.places import answering_system
from cryodaq.cli.running import HomeOption

app = typer.Typer(help="Accounts of the embedded elogbook.", no_args_is_help=True)
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Letters, digits and . _ -")]


@app.command()
def add(
    user: UserArgument,
    full_name: Annotated[str, typer.Option(help="As pages show it.")] = "",
    uid_number: Annotated[int | None, typer.Option(min=0, help="Numeric id that gets access to files.")] = None,
    home: HomeOption = None,
) -> None:
    """Add a person or program, or correct its entry."""
    from cryodaq.elogbook import accounts

    with answering_system(home).engine.begin() as connection:
        accounts.add_user(connection, user, full_name=full_name or user, uid_number=uid_number)
    print(f"{user} is in the directory")


@app.command()
def passwd(user: UserArgument, home: HomeOption = None) -> None:
    """Set a person's password, asked for without echo; ends the person's sessions."""
    from cryodaq.elogbook import accounts

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    with answering_system(home).engine.begin() as connection:
        accounts.set_password(connection, user, password=password)
    print(f"{user} can log in")


@app.command()
def role(
    user: UserArgument,
    name: Annotated[str, typer.Argument(help="SiteAdmin, LabPersonnel, PowerUsers, DAQOperators, ... ")],
    revoke: Annotated[bool, typer.Option("--revoke", help="Take it away, at once.")] = False,
    home: HomeOption = None,
) -> None:
    """Give somebody a site role, or take it away."""
    from cryodaq.elogbook import accounts

    with answering_system(home).engine.begin() as connection:
        change = accounts.revoke_site_role if revoke else accounts.grant_site_role
        change(connection, f"uid:{user}", role=name)
    print(f"{user} {'no longer has' if revoke else 'has'} the role {name}")


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

    with answering_system(home).engine.begin() as connection:
        write_private(file, accounts.create_token(connection, user, name=name) + "\n")
    print(f"the token is in {file}")
