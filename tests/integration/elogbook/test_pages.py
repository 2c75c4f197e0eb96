"""The log-in page and the overview, used as a browser without scripts does."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import httpx
import pytest

from cryodaq.database import open_engine
from cryodaq.elogbook import accounts

PASSWORD = "a long enough password"


def log_in(site: Any, user: str, *, next_url: str = "") -> httpx.Client:
    engine = open_engine(site.database_url)
    with engine.begin() as connection:
        accounts.set_password(connection, user, password=PASSWORD)
    engine.dispose()
    browser = httpx.Client(base_url=site.base, timeout=10)
    answer = browser.post("/login", data={"user": user, "password": PASSWORD, "next": next_url})
    assert answer.status_code == 303, answer.text
    browser.headers["X-Landed"] = answer.headers["location"]
    return browser


def submit(browser: httpx.Client, page: str, button: str) -> httpx.Response:
    """Send the form that has a button, with what its hidden fields and selections hold."""
    for form in re.findall(r"<form.*?</form>", page, re.DOTALL):
        if button in form:
            action = re.search(r'action="([^"]+)"', form)[1]
            fields = {name: unescape(text) for name, text in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
            for name, first in re.findall(r'<select name="(\w+)"><option>([^<]+)', form):
                fields[name] = unescape(first)
            return browser.post(action, data=fields)
    pytest.fail(f"no button {button!r}")


def test_an_operator_starts_and_stops_a_sample_and_puts_the_microscope_in_standby(
    session_of_two_samples: Any,
) -> None:
    browser = log_in(session_of_two_samples, "operator1")
    page = browser.get("/").text
    assert "TEM1" in page
    assert "20261122-CS01" in page
    assert submit(browser, page, "Make current").status_code == 303
    page = browser.get("/").text
    assert "grid2: current" in page
    assert submit(browser, page, "Stop").status_code == 303
    page = browser.get("/").text
    assert ": current" not in page
    assert submit(browser, page, "Standby").status_code == 303
    page = browser.get("/").text
    assert "standby" in page
    assert submit(browser, page, "Switch TEM1</button>").status_code == 303
    assert "Samples" in browser.get("/").text
    assert submit(browser, browser.get("/").text, "Log out").headers["location"] == "/login"
    assert browser.get("/").headers["location"] == "/login"


def test_a_refusal_is_a_sentence_for_people(session_of_two_samples: Any) -> None:
    browser = log_in(session_of_two_samples, "operator1")
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/").text)[1]
    stale = {"csrf_token": token, "instrument": "TEM1", "station": "0", "experiment": "20261122-CS01"}
    again = browser.post("/pages/switch", data=stale)
    assert again.status_code == 409
    assert "already currently active" in again.text


def test_a_reader_sees_no_buttons_and_cannot_send_their_forms(session_of_two_samples: Any) -> None:
    browser = log_in(session_of_two_samples, "reader1")
    page = browser.get("/").text
    assert "20261122-CS01" not in page
    assert "in use" in page
    assert "Switch TEM1" not in page
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
    form = {"csrf_token": token, "instrument": "TEM1", "station": "0"}
    assert browser.post("/pages/standby", data=form).status_code == 403


def test_forms_without_the_sessions_token_do_nothing(session_of_two_samples: Any) -> None:
    browser = log_in(session_of_two_samples, "operator1")
    answer = browser.post("/pages/standby", data={"instrument": "TEM1", "station": "0"})
    assert answer.status_code == 403
    assert "20261122-CS01" in browser.get("/").text


def test_what_people_typed_is_shown_and_never_run(session_of_two_samples: Any) -> None:
    evil = '<script>alert("1")</script>'
    with session_of_two_samples.as_program("operator1") as program:
        program.post(
            "/lgbk/ws/experiment_edit_info", params={"experiment_name": "20261122-CS01"}, json={"description": evil}
        )
    browser = log_in(session_of_two_samples, "operator1")
    page = browser.get("/")
    assert evil not in page.text
    assert "&lt;script&gt;" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    login = browser.post("/login", data={"user": evil, "password": "x" * 12, "next": evil})
    assert evil not in login.text


def test_logging_in_leads_to_this_site_or_where_the_facility_says(start_site: Callable[..., Any]) -> None:
    site = start_site(after_login_url="http://board.example:8080/board")
    landings = {
        "/docs": "/docs",
        "http://board.example:8080/other": "http://board.example:8080/other",
        **dict.fromkeys(("//evil.example/", "/\\evil.example", "https://evil.example/", "javascript:alert(1)"), None),
        **dict.fromkeys(("/a\r\nSet-Cookie: x=1", "http://board.example/", ""), None),
    }
    for wanted, landed in landings.items():
        browser = log_in(site, "pi1", next_url=wanted)
        assert browser.headers["X-Landed"] == (landed or "http://board.example:8080/board"), wanted
    policy = site.anonymous().get("/login").headers["content-security-policy"]
    assert "form-action 'self' http://board.example:8080;" in policy


def test_a_wrong_password_is_told_on_the_page(site: Any) -> None:
    answer = site.anonymous().post("/login", data={"user": "pi1", "password": "wrong"})
    assert answer.status_code == 403
    assert "The name or the password is wrong." in answer.text


def test_the_api_is_explained_without_anything_from_other_sites(site: Any) -> None:
    with site.anonymous() as browser:
        page = browser.get("/docs")
        document = browser.get("/openapi.json").json()
    assert page.status_code == 200
    assert "http://" not in page.text.replace(site.base, "")
    assert "https://" not in page.text
    assert "<script" not in page.text
    assert all(path in page.text for path in document["paths"])
    assert all(
        call.get("requestBody")
        for path in document["paths"].values()
        for method, call in path.items()
        if method == "put"
    )
