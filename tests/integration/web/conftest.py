"""A facility with its elogbook and pages, and people who are logged in there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cryodaq.testing.operated_facility import OperatedFacility, operated_facility
from cryodaq.web.settings import SESSION_COOKIE

Enter = Callable[[str], httpx.Client]


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
