"""The embedded PostgreSQL alone, for a command that needs a ledger and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryodaq.domain.home import Home
from cryodaq.launch.cluster import make_cluster, served
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.schema import bring_up_to_date
from cryodaq.launch.system import DATABASE


@contextmanager
def embedded_ledger(home: Path) -> Iterator[str]:
    """Give the URL of the embedded database below a home, its tables up to date; started and ended unless it runs.

    Raises `LaunchError` when it does not start.
    """
    with embedded_database(home) as url:
        bring_up_to_date(url, postgres=EmbeddedPostgres(home), backups=Home(home).backups)
        yield url


@contextmanager
def embedded_database(home: Path) -> Iterator[str]:
    """Give the URL of the embedded database below a home as it is; it is started, and ended again, unless it runs.

    Raises `LaunchError` when it does not start.
    """
    server = EmbeddedPostgres(home)
    running = server.data.exists() and server.is_ready()
    if running:
        yield _url(server)
        return
    make_cluster(server)
    with served(server):
        yield _url(server)


def _url(server: EmbeddedPostgres) -> str:
    server.create_databases([DATABASE])
    return server.url(DATABASE)
