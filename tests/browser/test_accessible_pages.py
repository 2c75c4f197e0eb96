"""Every page can be read and used by everybody: names, labels, contrast, order, on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from cryodaq.app.reprocess_sample import begin_reprocessing
from cryodaq.elogbook import accounts
from cryodaq.ledger.events import Subject, raise_alarm
from cryodaq.testing.operated_facility import EARLIER, EXPERIMENT, PARAMS, OperatedFacility, operated_facility

from .conftest import DESKTOP, PHONE, picture

pytestmark = pytest.mark.browser
AUDIT = Path(__file__).with_name("audit.js").read_text(encoding="utf-8").split("\n", 1)[1]


@pytest.fixture
def operated(database_url: str, tmp_path: Path) -> Iterator[OperatedFacility]:
    with operated_facility(database_url, tmp_path) as made:
        with made.engine.begin() as connection:
            accounts.grant_site_role(connection, "uid:olga", role="SiteAdmin")
            subject = Subject(microscope="tem1", experiment=EXPERIMENT, sample_id=made.sample.id)
            raise_alarm(connection, "gain:x", severity="warning", message="stale", at=made.seed.now, subject=subject)
        for name in ("FoilHole_1_Data_2_3_20261122_170000", "FoilHole_1_Data_2_4_20261122_170100"):
            movie = made.seed.add_movie(made.sample, name)
            made.seed.add_measurements(movie)
            made.seed.publish_pictures(movie, preview=picture(1, 300), thumbnail=picture(1, 80))
            made.seed.write_products(movie, picture=picture(1, 300), spectrum=picture(2, 64, kind="PNG"))
        made.seed.quarantine("Supervisor_20261122_153000/q1.tiff")
        begin_reprocessing(made.settings.reprocessing, made.sample.id, params={**PARAMS, "apix": 0.83}, asked_by="olga")
        made.seed.add_movie(made.sample, "FoilHole_9", state="waiting", problem="no gain reference")
        made.seed.add_movie(made.sample, "FoilHole_8", state="failed", problem="align: it has 7 frames")
        made.seed.add_file(made.sample, "FoilHole_7", state="held", problem="it has 38 of 40 frames")
        made.desk().write_entry(
            made.session("olga"), EXPERIMENT, fields={"log_text": "ice is thin", "log_tags": "ice", "log_title": "Ice"}
        )
        yield made


def pages(sample_id: str) -> list[str]:
    sample, tem1, book = f"/samples/{sample_id}", "/microscopes/tem1", f"/experiments/{EXPERIMENT}"
    return [
        *("/", tem1, f"{tem1}/switch", f"{tem1}/new", f"{tem1}/switch/confirm?action=switch&experiment={EARLIER}"),
        *("/samples", sample, f"{sample}?view=table", f"{sample}?view=squares", f"{sample}?max_fit_resolution_ang=3"),
        *(f"{sample}/parameters", f"{sample}/reassign", f"{sample}/compare?first=live&second=r1", "/alarms"),
        *("/movies/1", "/movies/3", "/movies/4", "/quarantine", f"{sample}?view=holes", "/samples?q=none"),
        *(book, f"{book}/log", f"{book}/audit", "/audit", "/instruments", "/logout", "/nowhere"),
    ]


def problems(page: Page, url: str) -> list[str]:
    """Look at a page in both schemes and on a phone, with everything unfolded."""
    page.set_viewport_size(DESKTOP)
    page.goto(url)
    page.wait_for_load_state("networkidle") if "/samples/" in url else page.wait_for_load_state("load")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found: list[str] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # its words
        found += [f"{scheme}: {one}" for one in page.evaluate(AUDIT)]
    page.set_viewport_size(PHONE)
    return found + [f"phone: {one}" for one in page.evaluate(AUDIT)]


@pytest.mark.timeout(300)
def test_every_page_can_be_read_and_used_by_everybody(browser: Browser, operated: OperatedFacility) -> None:
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    wrong = {"login": problems(page, f"{operated.url}/login")}
    context.add_cookies([{"name": "cryodaq_session", "value": operated.session("olga"), "url": operated.url}])
    for path in pages(operated.sample.id):
        wrong[path] = problems(page, operated.url + path)
    context.close()
    assert {path: found for path, found in wrong.items() if found} == {}


def test_the_look_at_a_page_finds_what_is_wrong(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content("<p style='color:#999;background:#fff'>pale</p><input><button></button><img src=x><h1>a</h1>")
    found = " ".join(page.evaluate(AUDIT))
    page.close()
    for what in ("contrast 2.8", "no label", "no name", "no alternative", "no language"):
        assert what in found


def test_a_session_is_begun_and_people_are_added_without_a_mouse(browser: Browser, operated: OperatedFacility) -> None:
    context = browser.new_context(viewport=DESKTOP)
    context.add_cookies([{"name": "cryodaq_session", "value": operated.session("olga"), "url": operated.url}])
    page = context.new_page()
    page.goto(operated.url)
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"nobody sees that {reached[-1]} has the focus"
        if "New session" in reached[-1]:
            break
    assert reached[0] == "Skip to content"
    page.keyboard.press("Enter")
    page.wait_for_url("**/microscopes/tem1/new")
    context.close()
