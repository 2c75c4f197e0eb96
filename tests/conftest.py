"""Fixtures that many tests need: a real PostgreSQL, and the data that lies beside the project."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings

from cryodaq.launch.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from playwright.sync_api import Browser

settings.register_profile("cryodaq", deadline=None, print_blob=True)  # a busy machine is no fault
settings.load_profile("cryodaq")
CHROMIUM = Path("/usr/bin/chromium")
SHARED = Path(__file__).resolve().parents[2] / "shared"
LONGEST = ("tests/system", "tests/integration/launch", "tests/faults", "tests/integration/imaging", "tests/browser")
"""Where tests take minutes: begun first, so that no process waits for another at the end."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, and all that use the one running system too."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("the running system" if _uses_running_system(item) else file))
    items.sort(key=lambda item: not (item.nodeid.startswith(LONGEST) or _uses_running_system(item)))


def _uses_running_system(item: pytest.Item) -> bool:
    return "system_trial" in getattr(item, "fixturenames", ())


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


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; tests that need it skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the real data of {SHARED / 'data'} is not there: this test needs it")
    return SHARED / "data"
