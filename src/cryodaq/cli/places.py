"""Where the system's state and its facility file are, by options and environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.errors import ConfigError, LedgerError

if TYPE_CHECKING:
    from cryodaq.wiring import System


def home_folder(given: Path | None) -> Path:
    """Return the folder of the embedded system's state, made when it is not there."""
    home = (given or Path(os.environ.get("CRYODAQ_HOME") or Path.home() / ".cryodaq")).expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    return home


def facility_file(given: Path | None) -> Path:
    """Return the facility file. Raises `ConfigError` when none is named."""
    found = given or os.environ.get("CRYODAQ_CONFIG")
    if not found:
        message = "no facility file is named; give one with --config or CRYODAQ_CONFIG"
        raise ConfigError(message)
    return Path(found).expanduser().absolute()


def running_system(given: Path | None) -> System:
    """Return the system below a home for a command beside it; its database is the embedded one unless named."""
    from cryodaq.launch.postgres import EmbeddedPostgres
    from cryodaq.launch.system import DATABASE
    from cryodaq.wiring import open_system
    from cryodaq.wiring.connections import DATABASE_VARIABLE

    home = home_folder(given)
    if not os.environ.get(DATABASE_VARIABLE):
        os.environ[DATABASE_VARIABLE] = EmbeddedPostgres(home).url(DATABASE)
    return open_system(home)


def answering_system(given: Path | None) -> System:
    """Return the system below a home whose database answers. Raises `LedgerError` when it does not."""
    from sqlalchemy.exc import OperationalError

    system = running_system(given)
    try:
        system.engine.connect().close()
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        message = f"the database does not answer ({reason}); is the system running?"
        raise LedgerError(message) from error
    return system
