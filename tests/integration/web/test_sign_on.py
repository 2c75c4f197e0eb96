"""People whom the site's single sign-on knows see pages without a password; nobody else can say who they are."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from cryodaq.testing.fake_access import Account, FakeAccessControl
from cryodaq.web.application import create_app
from cryodaq.web.settings import WebSettings

PROXY, STRANGER = ("192.0.2.1", 50_000), ("198.51.100.9", 50_000)
OLGA = {"x-remote-user": "olga@example.org"}


def browser(database_url: str, address: tuple[str, int]) -> TestClient:
    accounts = {name: Account(full_name=name.title(), password="") for name in ("olga", "uwe")}
    settings = WebSettings(
        database_url=database_url,
        access=FakeAccessControl(accounts=accounts, sessions={"of-uwe": "uwe"}),
        microscopes=("tem1",),
        zone=ZoneInfo("UTC"),
        clock=lambda: datetime(2026, 11, 22, tzinfo=UTC),
        sso_header="X-Remote-User",
        proxies=frozenset({ip_network("192.0.2.0/28")}),
    )
    return TestClient(create_app(settings), follow_redirects=True, client=address)


def test_whom_the_proxy_names_needs_no_password(database_url: str) -> None:
    with browser(database_url, PROXY) as client:
        page = client.get("/", headers=OLGA)
        assert page.status_code == 200
        assert "Olga" in page.text


def test_a_stranger_who_sends_the_header_is_asked_to_log_in(database_url: str) -> None:
    with browser(database_url, STRANGER) as client:
        page = client.get("/", headers={**OLGA, "x-forwarded-for": "192.0.2.1"})
        assert str(page.url).endswith("/login")
        assert "Olga" not in page.text


def test_a_session_of_somebody_else_is_not_used(database_url: str) -> None:
    with browser(database_url, PROXY) as client:
        client.cookies.set("cryodaq_session", "of-uwe")
        assert "Uwe" not in client.get("/", headers=OLGA).text


@pytest.mark.parametrize("name", ["nobody", "<b>x</b>"])
def test_who_is_in_no_directory_gets_a_sentence(database_url: str, name: str) -> None:
    with browser(database_url, PROXY) as client:
        page = client.get("/", headers={"x-remote-user": name})
        assert page.status_code == 403
        assert "is not in the directory" in page.text
        assert "<b>x" not in page.text
