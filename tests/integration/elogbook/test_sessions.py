"""Logging in, staying logged in, and what another site cannot do."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from cryodaq.elogbook import accounts, tables
from cryodaq.errors import AccountError, LogbookAccessError
from cryodaq.logbook.access import SessionAccess

PASSWORD = "a long enough password"
COOKIE = "cryodaq_session"


def change(site: Any, action: Callable[..., object], *args: object, **kwargs: object) -> Any:
    engine = site.engine()
    with engine.begin() as connection:
        return action(connection, *args, **kwargs)


@pytest.fixture
def browser(session_of_two_samples: Any) -> httpx.Client:
    """The operator's browser, logged in; it says, as browsers do, where a request comes from."""
    site = session_of_two_samples
    change(site, accounts.set_password, "operator1", password=PASSWORD)
    client = site.client(headers={"Sec-Fetch-Site": "same-origin"})
    answer = client.post("/session", json={"user": "operator1", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return client


def test_a_session_says_who_it_is_and_what_it_may(browser: httpx.Client) -> None:
    found = browser.get("/session").json()["value"]
    assert (found["user"], found["full_name"]) == ("operator1", "Olive Operator")
    assert "switch" in found["privileges"]
    assert "config_edit" not in found["privileges"]
    assert found["experiments"] == ["20261122-CS01"]
    rights = browser.get("/session/rights", params={"experiment": "20261122-CS01"}).json()["value"]
    assert rights["exists"]
    assert "post" in rights["privileges"]
    nowhere = browser.get("/session/rights", params={"experiment": "nope"}).json()["value"]
    assert nowhere == {"experiment": "nope", "exists": False, "privileges": []}


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(site: Any) -> None:
    change(site, accounts.set_password, "pi1", password=PASSWORD)
    answer = site.anonymous().post("/session", json={"user": "pi1", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert answer.headers["cache-control"] == "no-store"
    secret = answer.cookies[COOKIE]
    stored = change(site, lambda connection: connection.scalars(sa.select(tables.browser_session.c.secret_hash)).all())
    assert secret not in stored


def test_a_web_page_elsewhere_asks_with_the_forwarded_cookie(browser: httpx.Client) -> None:
    access = SessionAccess(str(browser.base_url))
    person = access.identify(browser.cookies[COOKIE])
    assert person is not None
    assert person.user == "operator1"
    assert "read" in access.privileges(browser.cookies[COOKIE], "20261122-CS01")
    assert access.identify("never-a-session") is None
    access.close()


def test_a_web_page_elsewhere_logs_people_in_and_out(browser: httpx.Client) -> None:
    access = SessionAccess(str(browser.base_url))
    session = access.log_in("operator1", PASSWORD)
    person = access.identify(session)
    assert person is not None
    assert person.user == "operator1"
    access.log_out(session)
    assert access.identify(session) is None
    access.log_out(session)
    with pytest.raises(LogbookAccessError, match="name or the password is wrong"):
        access.log_in("operator1", "not the password")
    with pytest.raises(LogbookAccessError, match="too old"):
        access.log_in_with_ticket("x" * 43)
    access.close()


def test_logging_out_ends_the_session_everywhere(browser: httpx.Client) -> None:
    secret = browser.cookies[COOKIE]
    assert browser.delete("/session").status_code == 200
    again = httpx.get(f"{browser.base_url}/session", cookies={COOKIE: secret})
    assert again.status_code == 403


@pytest.mark.parametrize(
    "revocation",
    [
        lambda connection: accounts.disable_user(connection, "operator1"),
        lambda connection: accounts.set_password(connection, "operator1", password="another password"),
        lambda connection: accounts.end_sessions(connection, "operator1"),
    ],
)
def test_a_revoked_session_is_refused_at_the_next_call(
    browser: httpx.Client, session_of_two_samples: Any, revocation: Callable[..., None]
) -> None:
    assert browser.get("/lgbk/ws/instruments").status_code == 200
    change(session_of_two_samples, revocation)
    assert browser.get("/lgbk/ws/instruments").status_code == 403


def test_a_role_taken_away_is_gone_at_the_next_call(browser: httpx.Client, session_of_two_samples: Any) -> None:
    standby = {"instrument": "TEM1", "station": 0}
    change(session_of_two_samples, accounts.revoke_site_role, "uid:operator1", role="LabPersonnel")
    assert browser.post("/lgbk/ws/instrument_standby", json=standby).status_code == 403
    change(
        session_of_two_samples, accounts.grant_instrument_role, "uid:operator1", role="DAQOperators", instrument="TEM1"
    )
    assert browser.post("/lgbk/ws/instrument_standby", json=standby).json() == {"success": True}
    with pytest.raises(AccountError, match="there is no role"):
        change(session_of_two_samples, accounts.grant_site_role, "uid:operator1", role="Emperor")


STANDBY = {"instrument": "TEM1", "station": 0}


ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": ""},
    {"Origin": "null", "Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "", "X-CSRF-Token": "guessed"},
]


def test_another_sites_page_changes_nothing_with_an_operators_cookie(browser: httpx.Client) -> None:
    del browser.headers["Sec-Fetch-Site"]
    for headers in ELSEWHERE:
        sent = {name: text for name, text in headers.items() if text}
        answer = browser.post("/lgbk/ws/instrument_standby", json=STANDBY, headers=sent)
        assert answer.status_code == 403, headers
    (active,) = browser.get("/lgbk/ws/activeexperiments").json()["value"]
    assert active["name"] == "20261122-CS01"


def test_another_sites_page_changes_nothing_with_a_token_either(session_of_two_samples: Any) -> None:
    with session_of_two_samples.as_program("operator1") as program:
        answer = program.post("/lgbk/ws/instrument_standby", json=STANDBY, headers={"Origin": "http://evil.example"})
        assert answer.status_code == 403


def test_a_browser_without_fetch_headers_proves_itself_by_the_session_s_own_token(browser: httpx.Client) -> None:
    token = browser.get("/session").json()["value"]["csrf_token"]
    del browser.headers["Sec-Fetch-Site"]
    answer = browser.post("/lgbk/ws/instrument_standby", json=STANDBY, headers={"X-CSRF-Token": token})
    assert answer.json() == {"success": True}


def test_a_get_that_changes_something_is_for_programs_only(browser: httpx.Client, session_of_two_samples: Any) -> None:
    path, query = "/lgbk/20261122-CS01/ws/make_sample_current", {"sample_name": "grid1"}
    assert browser.get(path, params=query).status_code == 403
    assert browser.get("/lgbk/20261122-CS01/ws/current_sample_name").json()["value"] is None
    with session_of_two_samples.as_program("operator1") as program:
        assert program.get(path, params=query).json() == {"success": True}
    assert browser.get("/lgbk/20261122-CS01/ws/current_sample_name").json()["value"] == "grid1"


def test_guessing_passwords_is_slowed_down(site: Any) -> None:
    change(site, accounts.set_password, "pi1", password=PASSWORD)
    guesses = [site.anonymous().post("/session", json={"user": "pi1", "password": f"guess {i}"}) for i in range(10)]
    assert {answer.status_code for answer in guesses} == {403}
    assert {answer.text for answer in guesses} == {"The name or the password is wrong."}
    right = site.anonymous().post("/session", json={"user": "pi1", "password": PASSWORD})
    assert right.status_code == 429
    assert int(right.headers["retry-after"]) > 0
    unknown = site.anonymous().post("/session", json={"user": "nobody", "password": PASSWORD})
    assert unknown.text == "The name or the password is wrong."


@pytest.mark.parametrize(("proxy", "shared"), [("127.0.0.0/8", False), ("192.0.2.0/24", True)])
def test_who_guesses_behind_the_proxy_locks_only_their_own_address(
    start_site: Callable[..., Any], proxy: str, shared: bool
) -> None:
    """What a proxy says of the browser's address counts; what anybody else says does not."""
    site = start_site(failed_logins_per_address=3, sso_proxies=frozenset({ip_network(proxy)}))
    change(site, accounts.set_password, "pi1", password=PASSWORD)

    def log_in(user: str, address: str) -> int:
        headers = {"X-Forwarded-For": f"6.6.6.6, {address}"}  # the first is what a browser may have made up
        form = {"user": user, "password": PASSWORD}
        answer: int = site.anonymous().post("/session", json=form, headers=headers).status_code
        return answer

    assert [log_in(f"nobody{number}", "198.51.100.7") for number in range(4)] == [403, 403, 403, 429]
    assert log_in("pi1", "198.51.100.8") == (429 if shared else 200)


def test_an_account_without_a_password_cannot_log_in(site: Any) -> None:
    for user in ("airflow", "nobody"):
        for password in ("x", "", PASSWORD):
            answer = site.anonymous().post("/session", json={"user": user, "password": password})
            assert answer.status_code == 403
    with pytest.raises(AccountError, match="characters"):
        change(site, accounts.set_password, "pi1", password="short")


def test_a_password_is_no_token_and_asks_no_browser_for_basic(site: Any) -> None:
    change(site, accounts.set_password, "pi1", password=PASSWORD)
    answer = httpx.get(f"{site.base}/lgbk/ws/instruments", auth=("pi1", PASSWORD))
    assert answer.status_code == 403
    assert "www-authenticate" not in answer.headers


def test_a_revoked_token_is_refused(site: Any) -> None:
    secret = change(site, accounts.create_token, "airflow", name="daq")
    headers = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{site.base}/lgbk/ws/instruments", headers=headers).status_code == 200
    listed = change(site, accounts.list_tokens, "airflow")
    assert secret not in repr(listed)
    change(site, accounts.revoke_token, listed[-1].id)
    assert httpx.get(f"{site.base}/lgbk/ws/instruments", headers=headers).status_code == 403
    with pytest.raises(AccountError):
        change(site, accounts.revoke_token, 10**6)


def test_credentials_that_cannot_be_read_are_refused(site: Any) -> None:
    for header in ["Basic", "Basic !!!", "Basic YQ==", "Bearer", "Digest x", "Basic AAA6eA=="]:
        answer = httpx.get(f"{site.base}/lgbk/ws/instruments", headers={"Authorization": header})
        assert answer.status_code == 403, header


def test_a_ticket_logs_in_once_and_not_late(start_site: Callable[..., Any]) -> None:
    offset = [timedelta()]
    site = start_site(clock=lambda: datetime.now(UTC) + offset[0])
    with site.as_program("admin") as admin:
        first, second = (
            admin.post("/session/tickets", json={"user": "pi1"}).json()["value"]["ticket"] for _ in range(2)
        )
        assert admin.post("/session/tickets", json={"user": "nobody"}).status_code == 404
    with site.as_program("operator1") as operator:
        assert operator.post("/session/tickets", json={"user": "admin"}).status_code == 403
        assert operator.post("/session/tickets", json={"user": "operator1"}).status_code == 200
    browser = site.anonymous()
    page = browser.get("/login", params={"ticket": first})
    assert re.search(r'name="ticket" value="([^"]+)"', page.text)[1] == first
    assert COOKIE not in browser.cookies
    assert browser.post("/session", json={"ticket": first}).json()["value"]["user"] == "pi1"
    assert browser.get("/session").json()["value"]["user"] == "pi1"
    assert site.anonymous().post("/session", json={"ticket": first}).status_code == 403
    offset[0] = timedelta(minutes=11)
    assert site.anonymous().post("/session", json={"ticket": second}).status_code == 403
    offset[0] = timedelta(hours=13)
    assert browser.get("/session").status_code == 403


def test_a_session_cannot_make_tickets(browser: httpx.Client) -> None:
    assert browser.post("/session/tickets", json={"user": "operator1"}).status_code == 403
