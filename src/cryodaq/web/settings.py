"""What the pages need to know of their site."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from zoneinfo import ZoneInfo

from cryodaq.app.moving_copies import Refiling
from cryodaq.app.reprocess_sample import Reprocessing
from cryodaq.domain.microscope import Microscope
from cryodaq.logbook.desk import Desk
from cryodaq.ports import AccessControl
from cryodaq.scheduler.airflow import AirflowScheduler

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
    stands: Mapping[str, Microscope] = field(default_factory=dict)
    """Each microscope as the facility file describes it; what is absent cannot be switched from these pages."""
    desk: Desk | None = None
    """Where operators' decisions go; None where the site's own elogbook has the pages for them."""
    mails_log: bool = False
    """Whether people can have the entries of logs by e-mail."""
    refiling: Callable[[str], Refiling] | None = None
    """What giving a microscope's exposures to another sample, or to a first one, needs; None: these pages cannot."""
    reprocessing: Reprocessing | None = None
    """What processing samples with other parameters needs; None: these pages cannot."""
    storage_root: Path | None = None
    """Of the large file system; None: it is not looked at."""
    zone: ZoneInfo
    """In which times are shown, always with their offset."""
    site_name: str = "cryo-EM facility"
    airflow_url: str | None = None
    """Where links to runs lead; None: no links."""
    elogbook_url: str | None = None
    """Where the link to the elogbook leads; None: no link."""
    public_origin: str | None = None
    """`https://host` under which browsers see these pages, when a proxy hides it; else the Host header counts."""
    proxies: frozenset[IPv4Network | IPv6Network] = frozenset()
    """Where the site's proxy is; what it says of the browser's address counts."""
    sso_header: str | None = None
    """Header in which that proxy names who asks; None: it does not."""
    secure_cookies: bool = False
    """True where the site serves the pages over HTTPS."""
    metrics_token: str | None = field(default=None, repr=False)
    """What Prometheus shows; None: there is no `/metrics`."""
    scheduler: AirflowScheduler | None = None
    """Whose health stands among the metrics."""
    clock: Callable[[], datetime] = _now
