"""`cryodaq serve`: the servers and the watch, each as one process; the supervisor starts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.log_records import write_log
from cryodaq.domain.home import Home
from cryodaq.launch.ports import LOOPBACK
from cryodaq.wiring import open_system

if TYPE_CHECKING:
    from cryodaq.config import Facility
    from cryodaq.elogbook.settings import MailRules
    from cryodaq.web.settings import WebSettings
    from cryodaq.wiring import System

HostOption = Annotated[str, typer.Option(help="Address to listen on; beyond loopback only behind the site's own TLS.")]

app = typer.Typer(help="Run one server in the foreground.", no_args_is_help=True)


@app.command()
def elogbook(host: HostOption = LOOPBACK) -> None:
    """Run the embedded elogbook."""
    from cryodaq.cli.accounts import WEB
    from cryodaq.elogbook.app import serve
    from cryodaq.elogbook.dialect import DIALECTS
    from cryodaq.elogbook.settings import ElogbookSettings

    system = open_system()
    facility = system.facility
    write_log(facility.site.log_format)
    settings = ElogbookSettings(
        database_url=system.database_url,
        experiment_name_pattern=facility.site.experiment_name_pattern,
        site_zone=facility.site.zone,
        dialect=DIALECTS[facility.elogbook.dialect],
        mail=_mail_rules(facility),
        after_login_url=facility.site.web_url or f"http://{LOOPBACK}:{facility.ports.web}/",
        sso_header=facility.sign_on.header,
        sso_proxies=frozenset(facility.sign_on.proxies),
        web_account=WEB,
    )
    serve(settings, host=host, port=facility.ports.elogbook)


def _mail_rules(facility: Facility) -> MailRules | None:
    """Return to whom entries of logs go; None: to nobody."""
    from cryodaq.elogbook.settings import MailRules

    table = facility.notifications.log_entries
    return None if table is None else MailRules(address=table.address, domains=frozenset(table.domains))


@app.command()
def watch() -> None:
    """Watch ledger, clocks and shares, and tell people of alarms, until it is ended."""
    import time

    from cryodaq.app.watch_facility import LOOK_S, Watcher

    watcher = Watcher(open_system().watching())
    while True:
        watcher.look()
        time.sleep(LOOK_S)


@app.command()
def web(host: HostOption = LOOPBACK) -> None:
    """Run the pages about microscopes and movies."""
    from cryodaq.web.application import serve

    system = open_system()
    write_log(system.facility.site.log_format)
    serve(pages_settings(system), host, system.facility.ports.web)


def pages_settings(system: System) -> WebSettings:
    """Return what the pages take from the facility file and the wiring. Raises `ConfigError`."""
    from zoneinfo import ZoneInfo

    from cryodaq.web.settings import WebSettings

    facility = system.facility
    return WebSettings(
        database_url=system.database_url,
        access=system.access_control,
        microscopes=tuple(table.name for table in facility.microscopes),
        stands={table.name: facility.microscope(table.name) for table in facility.microscopes},
        desk=system.desk,
        mails_log=system.facility.notifications.log_entries is not None,
        refiling=system.refiling,
        reprocessing=system.reprocessing(),
        storage_root=facility.storage.root,
        site_name=facility.site.name,
        zone=ZoneInfo(facility.site.zone),
        airflow_url=facility.site.airflow_url or f"http://{LOOPBACK}:{facility.ports.airflow}",
        elogbook_url=facility.site.elogbook_url or system.elogbook_url,
        sso_header=facility.sign_on.header,
        proxies=frozenset(facility.sign_on.proxies),
        metrics_token=_metrics_token(system.home),
        scheduler=system.scheduler,
        public_origin=_origin(facility.site.web_url),
        secure_cookies=(facility.site.web_url or "").startswith("https://"),
    )


def _origin(url: str | None) -> str | None:
    """Return scheme and host of a page's address."""
    from urllib.parse import urlsplit

    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None


def _metrics_token(home: Home) -> str | None:
    """Return what Prometheus must show; it is made at the first start, or by whoever may write to the home."""
    from cryodaq.launch.secrets import secret

    try:
        return secret(home.metrics_token)
    except OSError:
        return None
