"""An operator begins a session and ends it, with a real browser and the real elogbook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cryodaq.elogbook import accounts
from cryodaq.testing.operated_facility import EARLIER, EXPERIMENT, OperatedFacility, operated_facility

pytestmark = pytest.mark.browser
PASSWORD = "a long enough password"


@pytest.fixture
def operated(database_url: str, tmp_path: Path) -> Iterator[OperatedFacility]:
    with operated_facility(database_url, tmp_path) as made:
        with made.engine.begin() as connection:
            accounts.set_password(connection, "olga", password=PASSWORD)
        yield made


@pytest.fixture
def page(browser: Browser, operated: OperatedFacility) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(operated.url)
    opened.get_by_label("User name").fill("olga")
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_role("button", name="Log in").click()
    yield opened
    context.close()
    assert complaints == []


def active(operated: OperatedFacility) -> tuple[str | None, str | None]:
    found = operated.desk().active(operated.session("olga"), "TEM1", station=0)
    return found.experiment, found.sample


def test_a_newcomer_begins_a_session_from_the_board(page: Page, operated: OperatedFacility) -> None:
    """By what can be read on the pages alone: no address, no help from the code."""
    page.get_by_role("link", name="New session on TEM1").click()
    page.get_by_label("Experiment", exact=True).select_option(label="A new experiment…")
    page.get_by_label("First day").fill("2026-11-23")
    page.get_by_label("Proposal").fill("CX07")
    expect(page.get_by_text("20261123-CX07")).to_be_visible()
    page.get_by_label("Principal investigator").fill("pi1")
    search = page.get_by_label("Search accounts")
    search.fill("stud")
    expect(page.locator("#people-found option")).to_have_attribute("value", "student1")
    search.fill("student1")
    search.press("Enter")
    expect(page.get_by_role("button", name="Remove student1")).to_be_visible()
    page.get_by_label("Copy the parameters of").select_option(label="apoferritin, 20261122-CS01, TEM1")
    expect(page.get_by_label("Physical pixel size")).to_have_value("0.82")
    page.get_by_label("Name *", exact=True).fill("ribosome")
    page.get_by_label("Total dose").fill("60")
    expect(page.get_by_text("the total dose says 60")).to_be_visible()
    expect(page.get_by_label("it is meant so")).to_be_visible()
    page.get_by_label("Total dose").fill("44")
    expect(page.get_by_label("it is meant so")).to_be_hidden()
    page.get_by_role("button", name="Start the session").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("TEM1")
    expect(page.get_by_role("link", name="Switch, standby, stop")).to_be_visible()
    assert active(operated) == ("20261123-CX07", "ribosome")


def test_the_log_shows_what_others_write_and_keeps_what_one_is_writing(page: Page, operated: OperatedFacility) -> None:
    page.get_by_role("link", name="apoferritin").click()
    page.get_by_role("link", name="Log of the experiment").click()
    page.get_by_text("Write an entry").click()
    page.get_by_role("textbox", name="Text").fill("half a sentence")
    operated.desk().write_entry(operated.session("otto"), EXPERIMENT, fields={"log_text": "the ice is thin"})
    expect(page.get_by_text("the ice is thin")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("textbox", name="Text")).to_have_value("half a sentence")


def test_switching_and_standby_need_the_keyboard_only(page: Page, operated: OperatedFacility) -> None:
    page.goto(f"{operated.url}/microscopes/tem1/switch")
    page.get_by_label("Search experiments").fill("CA12")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=f"Switch… to {EARLIER}").press("Enter")
    button = page.get_by_role("button", name=f"Switch TEM1 to {EARLIER}")
    expect(button).to_be_focused()
    expect(page.locator(".will")).to_contain_text("make one current next, else new movies go to quarantine")
    page.keyboard.press("Enter")
    expect(page.locator("#active")).to_contain_text(EARLIER)
    assert active(operated) == (EARLIER, None)
    page.get_by_role("link", name="Standby…").press("Enter")
    page.get_by_role("button", name="Put TEM1 into standby").press("Enter")
    expect(page.locator("#active")).to_contain_text("Standby")
    assert active(operated) == (None, None)


def test_exposures_in_quarantine_are_assigned_by_one_click(page: Page, operated: OperatedFacility) -> None:
    copy = operated.seed.quarantine("Supervisor_20261122_153000/q1.tiff")
    page.get_by_role("link", name="Quarantine").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("TEM1")
    page.get_by_label("They belong to").select_option(label=f"apoferritin, {EXPERIMENT}")
    page.get_by_role("button", name="Assign").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("apoferritin")
    (filed,) = operated.seed.storage.glob(f"202611/*/{operated.sample.id}/raw/Supervisor_20261122_153000/q1.tiff")
    assert filed.read_bytes() == b"a movie"
    assert not copy.exists()
    page.get_by_role("link", name="Quarantine").click()
    expect(page.get_by_text("Nothing is in quarantine.")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()


def test_two_operators_who_switch_at_once_do_not_undo_each_other(
    page: Page, browser: Browser, operated: OperatedFacility
) -> None:
    context = browser.new_context()
    context.add_cookies([{"name": "cryodaq_session", "value": operated.session("otto"), "url": operated.url}])
    otto = context.new_page()
    otto.goto(f"{operated.url}/microscopes/tem1/switch/confirm?action=standby")
    page.goto(f"{operated.url}/microscopes/tem1/switch/confirm?action=switch&experiment={EARLIER}")
    page.get_by_role("button", name=f"Switch TEM1 to {EARLIER}").click()
    expect(page.locator("#active")).to_contain_text(EARLIER)
    otto.get_by_role("button", name="Put TEM1 into standby").click()
    expect(otto.locator("main")).to_contain_text(f"(by olga): active is {EARLIER}, sample none. Nothing was changed")
    assert active(operated) == (EARLIER, None)
    context.close()


def test_a_role_is_given_and_taken_by_pressing_it(page: Page, operated: OperatedFacility) -> None:
    page.get_by_role("link", name="apoferritin").click()
    page.get_by_role("link", name=EXPERIMENT).click()
    expect(page.get_by_text("no numeric id is known").first).to_be_visible()
    page.get_by_label("Add an account").fill("student1")
    page.get_by_role("button", name="Add", exact=True).click()
    writer = page.get_by_role("button", name="Writer for student1")
    expect(writer).to_have_attribute("aria-pressed", "false")
    writer.press("Enter")
    expect(writer).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Remove student1").click()
    expect(page.get_by_role("row", name="student1")).to_have_count(0)
