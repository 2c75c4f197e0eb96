"""Who decides: the account behind a command that changes whose files are whose, and what it may do."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.accounts import operator_token_file
from cryodaq.errors import ConfigError, LogbookAccessError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryodaq.wiring import System

TokenOption = Annotated[
    Path | None,
    typer.Option(help="File with the elogbook token of whoever decides; default: the first operator's."),
]


def decider(system: System, token_file: Path | None, *, experiments: Iterable[str]) -> str:
    """Return the account that decides, once the elogbook says that it may edit all the experiments.

    A foreign elogbook does not tell programs what an account may do: there the account of this machine counts, which
    can read the system's secrets.

    Raises
    ------
    LogbookAccessError
        The account may not; nothing was changed.
    ConfigError
        There is no token to ask with.
    """
    try:
        access = system.token_access(token_file or operator_token_file(system.home))
    except ConfigError as error:
        message = f"{error}; name the file with your token for the elogbook with --token-file"
        raise ConfigError(message) from error
    if access is None:
        return getpass.getuser()
    try:
        account = access.account()
        for experiment in sorted(set(experiments)):
            if "edit" not in access.privileges(experiment):
                message = f"{account} lacks the privilege 'edit' in {experiment}; nothing was changed"
                raise LogbookAccessError(message)
    finally:
        access.close()
    return account
