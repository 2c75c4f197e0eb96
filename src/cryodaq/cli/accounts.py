"""What an embedded elogbook needs from its first start: the microscopes, accounts for programs and an operator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.home import Home
from cryodaq.launch.secrets import secret

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cryodaq.config import Facility

PROGRAM = "cryodaq"
WEB = "cryodaq-web"
"""Has no role: its token only shows that the pages' own server asks on behalf of a browser."""
OPERATOR = "operator"


def operator_password_file(home: Home) -> Path:
    """Return the file with the first operator's generated password."""
    return home.secrets / "operator-password"


def operator_token_file(home: Home) -> Path:
    """Return the file with the first operator's token for the elogbook's API."""
    return home.secrets / "operator-token"


def ensure_instruments(engine: Engine, facility: Facility) -> None:
    """Have the embedded elogbook know the facility's microscopes; what it knows of them already is left alone."""
    from cryodaq.elogbook.book import instruments

    wanted: dict[str, dict[str, object]] = {}
    for microscope in sorted(facility.microscopes, key=lambda one: one.station):
        said = {"num_stations": microscope.station + 1, "cs": microscope.cs_mm, "keV": microscope.voltage_kv}
        wanted[microscope.instrument] = {key: value for key, value in said.items() if value is not None}
    with engine.begin() as connection:
        instruments.add_missing(connection, wanted)


def ensure_accounts(engine: Engine, home: Home, *, token_file: Path | None = None) -> None:
    """Make the accounts that are missing; a password that a person changed is left alone.

    Parameters
    ----------
    token_file
        This program's token, where the site keeps it elsewhere than in the home.
    """
    from cryodaq.elogbook import accounts

    token = secret(token_file or home.elogbook_token)

    with engine.begin() as connection:
        accounts.add_user(connection, PROGRAM, full_name="cryodaq pipeline")
        accounts.grant_site_role(connection, f"uid:{PROGRAM}", role="Editor")
        accounts.store_token(connection, PROGRAM, name="pipeline", secret=token)
        accounts.add_user(connection, WEB, full_name="cryodaq pages")
        accounts.store_token(connection, WEB, name="pages", secret=secret(home.web_token))
        if not operator_password_file(home).exists():
            accounts.add_user(connection, OPERATOR, full_name="Operator")
            accounts.grant_site_role(connection, f"uid:{OPERATOR}", role="SiteAdmin")
            accounts.store_token(connection, OPERATOR, name="first start", secret=secret(operator_token_file(home)))
            accounts.set_password(connection, OPERATOR, password=secret(operator_password_file(home), byte_count=12))
