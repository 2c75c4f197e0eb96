"""What the pages need to know of their site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cryodaq.ports import AccessControl

SESSION_COOKIE = "cryodaq_session"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Everything that the pages take from the facility file and the wiring."""

    database_url: str = field(repr=False)
    """`postgresql+psycopg://...`, migrated."""
    access: AccessControl
    """Says who asks and what they may see."""
    microscopes: tuple[str, ...]
    """Names of all microscopes, in the order in which the board shows them."""
    zone: ZoneInfo
    """In which times are shown, always with their offset."""
    site_name: str = "cryo-EM facility"
    airflow_url: str | None = None
    """Where links to runs lead; None: no links."""
    elogbook_url: str | None = None
    """Where the link to the elogbook leads; None: no link."""
    public_origin: str | None = None
    """`https://host` under which browsers see these pages, when a proxy hides it; else the Host header counts."""
    secure_cookies: bool = False
    """True where the site serves the pages over HTTPS."""
    clock: Callable[[], datetime] = _now
