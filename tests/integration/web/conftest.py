"""A facility with its elogbook and pages, and people who are logged in there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from cryodaq.database import open_engine
from cryodaq.testing.operated_facility import OperatedFacility, operated_facility
from cryodaq.web.settings import SESSION_COOKIE

Enter = Callable[[str], httpx.Client]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


def sign_in(client: TestClient, who: str) -> TestClient:
    """Be somebody whose session a test's own access control knows."""
    client.cookies.set(SESSION_COOKIE, who)
    return client


@pytest.fixture
def facility(database_url: str, tmp_path: Path) -> Iterator[OperatedFacility]:
    with operated_facility(database_url, tmp_path) as made:
        yield made


@pytest.fixture
def enter(facility: OperatedFacility) -> Iterator[Enter]:
    """Be somebody."""
    clients: list[httpx.Client] = []

    def be(uid: str) -> httpx.Client:
        client = httpx.Client(base_url=facility.url, headers={"origin": facility.url}, timeout=30)
        client.cookies.set(SESSION_COOKIE, facility.session(uid))
        clients.append(client)
        return client

    yield be
    for client in clients:
        client.close()
