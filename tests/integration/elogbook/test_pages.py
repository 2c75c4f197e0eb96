"""The log-in page and the overview, used as a browser without scripts does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
from tests.integration.elogbook.conftest import register

from cryodaq.elogbook import accounts

PASSWORD = "a long enough password"


def log_in(site: Any, user: str, *, next_url: str = "") -> httpx.Client:
    engine = site.engine()
    with engine.begin() as connection:
        accounts.set_password(connection, user, password=PASSWORD)
    browser = site.anonymous()
    answer = browser.post("/login", data={"user": user, "password": PASSWORD, "next": next_url})
    assert answer.status_code == 303, answer.text
    browser.headers["X-Landed"] = answer.headers["location"]
    return browser


def test_what_is_current_is_shown_and_can_be_changed_elsewhere_only(session_of_two_samples: Any) -> None:
    with session_of_two_samples.as_program("operator1") as program:
        program.post("/lgbk/20261122-CS01/ws/make_sample_current", params={"sample_name": "grid2"})
        browser = log_in(session_of_two_samples, "operator1")
        page = browser.get("/").text
        assert "TEM1: 20261122-CS01" in " ".join(page.split())
        assert "grid2: current" in page
        assert re.findall(r'action="([^"]+)"', page) == ["/logout"]
        program.post("/lgbk/ws/instrument_standby", json={"instrument": "TEM1", "station": 0})
    assert "TEM1: standby" in " ".join(browser.get("/").text.split())
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    assert browser.post("/logout").status_code == 403
    assert browser.post("/logout", data={"csrf_token": token[1]}).headers["location"] == "/login"
    assert browser.get("/").headers["location"] == "/login"


def test_somebody_who_may_not_read_an_experiment_sees_only_that_the_microscope_is_in_use(
    session_of_two_samples: Any,
) -> None:
    page = log_in(session_of_two_samples, "reader1").get("/").text
    assert "20261122-CS01" not in page
    assert "in use" in page


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


def test_a_runs_preview_leads_to_the_pages_and_only_for_readers(start_site: Callable[..., Any]) -> None:
    site = start_site(after_login_url="http://board.example:8080/")
    program = site.as_program("operator1")
    register(program, "20261122-CS01")
    path = "/lgbk/20261122-CS01/ws/ext_preview"
    answer = program.get(f"{path}/{'a' * 24}/previews/m%201.jpg")
    assert answer.status_code == 302
    assert (
        answer.headers["location"] == f"http://board.example:8080/previews/20261122-CS01/{'a' * 24}/previews/m%201.jpg"
    )
    assert site.as_program("reader1").get(f"{path}/x.jpg").status_code == 403
    assert start_site().as_program("operator1").get(f"{path}/x.jpg").status_code == 404
