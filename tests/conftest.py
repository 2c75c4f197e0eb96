"""Fixtures that many tests need: a real PostgreSQL, and the data that lies beside the project."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.socket_folders import remove_socket_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from sqlalchemy import Engine

settings.register_profile("cryodaq", deadline=None, print_blob=True)  # a busy machine is no fault
settings.load_profile("cryodaq")
CHROMIUM = Path("/usr/bin/chromium")
SHARED = Path(__file__).resolve().parents[2] / "shared"
LONGEST = ("tests/system", "tests/integration/launch", "tests/faults", "tests/integration/imaging", "tests/browser")
"""Where tests take minutes: begun first, so that no process waits for another at the end."""


ONE_SYSTEM = (
    "tests/integration/orchestration/",
    "tests/integration/scheduler/",
    "tests/integration/launch/test_embedded_",
)
"""Whose tests share one running system."""


class FilesTogether(LoadScopeScheduling):
    """Keeps a file's tests in one process, and all that use the one running system too."""

    def _split_scope(self, nodeid: str) -> str:
        return "the running system" if nodeid.startswith(ONE_SYSTEM) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FilesTogether:
    """Share the tests out by `FilesTogether`."""
    return FilesTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: not item.nodeid.startswith((*LONGEST, *ONE_SYSTEM)))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: install the package chromium to test the pages in a browser")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags, headless=True)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL cluster of the embedded kind."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.initialise()
    with (server.home / "log").open("w") as log:
        hasty = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]
        process = subprocess.Popen([*server.command(), *hasty], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not server.is_ready():
                assert process.poll() is None, (server.home / "log").read_text()
                assert time.monotonic() < deadline, "PostgreSQL did not start"
                time.sleep(0.05)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            process.wait(20)
            remove_socket_folder(server.socket_folder)


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> str:
    """The URL of a new database without tables."""
    name = f"t{uuid4().hex}"
    postgres.create_databases([name])
    return postgres.url(name)


@pytest.fixture(scope="session")
def migrated_database(postgres: EmbeddedPostgres) -> str:
    """The name of a database with all tables that nobody uses: copying it is faster than making tables again."""
    from cryodaq.database import open_engine
    from cryodaq.migrations import upgrade

    name = f"t{uuid4().hex}"
    postgres.create_databases([name])
    engine = open_engine(postgres.url(name))
    upgrade(engine)
    engine.dispose()
    return name


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, migrated_database: str) -> str:
    """The URL of a new database with all tables."""
    name = f"t{uuid4().hex}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_database} STRATEGY FILE_COPY")
    return postgres.url(name)


@pytest.fixture
def open_database() -> Iterator[Callable[[str], Engine]]:
    """Opens databases by their URL; their connections are closed with the test."""
    from cryodaq.database import open_engine

    with ExitStack() as opened:

        def open_(url: str) -> Engine:
            engine = open_engine(url)
            opened.callback(engine.dispose)
            return engine

        yield open_


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; tests that need it skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the real data of {SHARED / 'data'} is not there: this test needs it")
    return SHARED / "data"
