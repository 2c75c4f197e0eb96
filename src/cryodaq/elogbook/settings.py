"""What the embedded elogbook needs to know of its site."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from cryodaq.elogbook.dialect import CRYODAQ, Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLocation:
    """A place where files of experiments can be."""

    name: str
    all_experiments: bool = True
    """Whether every experiment has it; others are known but not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings:
    """The browser session's cookie."""

    name: str = "cryodaq_session"
    secure: bool = False
    """True when the site serves the elogbook over HTTPS."""
    lifetime_h: float = 12.0
    """Hours after which a person must log in again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRules:
    """To whom entries of logs go by e-mail."""

    address: str
    """Somebody's address, with `{uid}` for the user name."""
    domains: frozenset[str] = frozenset()
    """Lower case; addresses that an entry names itself count in these domains only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElogbookSettings:
    """Everything the embedded elogbook takes from the facility file."""

    database_url: str = field(repr=False)
    """`postgresql+psycopg://...`, migrated."""
    experiment_name_pattern: str = r"^\d{8}-C\w{3}$"
    experiment_name_placeholder: str = "YYYYMMDD-CXNN"
    experiment_name_hint: str = "start date + proposal"
    site_zone: str = "UTC"
    """IANA name of the zone in which pages show times."""
    dialect: Dialect = CRYODAQ
    file_locations: tuple[FileLocation, ...] = ()
    mail: MailRules | None = None
    """None: entries are sent to nobody."""
    definitions_folder: Path | None = None
    """Folder with `<modal_type>.json` files that replace the shipped parameter definitions."""
    cookie: CookieSettings = CookieSettings()
    max_body_bytes: int = 4_000_000
    max_attachment_bytes: int = 6 * 1_048_576
    failed_logins_per_account: int = 10
    """Within 15 minutes, before an account's log-in is refused."""
    failed_logins_per_address: int = 50
    sso_header: str | None = None
    """Header in which the site's single sign-on proxy names who asks; None: no such proxy."""
    sso_proxies: frozenset[IPv4Network | IPv6Network] = frozenset()
    """Where the site's proxy is; that header, and X-Forwarded-For, count from nowhere else."""
    web_account: str | None = None
    """Account whose token the pages' server shows when it says for which address it asks."""
    after_login_url: str = "/"
    """Where a one-time ticket's link leads."""
    ticket_lifetime_s: float = 600.0
