"""What a person at a screen sees: the board, a sample, a movie, live, on a desk and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, ViewportSize, expect

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": 390, "height": 844}
SAMPLE = f"/samples/{'a' * 24}"
OpenPage = Callable[..., Page]


def test_the_board_shows_each_microscope_and_leads_to_the_sample(open_page: OpenPage) -> None:
    page = open_page("/")
    tem1 = page.locator("#scope-tem1")
    expect(tem1).to_contain_text("apoferritin")
    expect(tem1.locator(".steps")).to_contain_text("processed")
    expect(page.locator("#scope-tem2 .alarms")).to_contain_text("37 movies, 31 GB")
    tem1.get_by_role("link", name=re.compile("apoferritin")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("apoferritin")
    images = page.locator(".gallery img")
    expect(images).to_have_count(4)
    assert images.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 160
    expect(page.locator(".gallery")).to_contain_text("no gain reference")
    expect(page.locator(".arriving")).to_contain_text("it has 38 of 40 frames")


def test_a_published_movie_appears_without_a_reload(open_page: OpenPage, facility) -> None:  # type: ignore[no-untyped-def]  # conftest's class
    page = open_page(SAMPLE)
    expect(page.locator(".live")).to_have_text("live")
    page.evaluate("window.untouched = true")
    first = page.locator(".gallery li.movie img").first
    first.evaluate("image => { image.marked = true }")
    assert page.evaluate("getComputedStyle(document.querySelector('.bar')).display") == "block"
    facility.publish("brand_new_movie")
    expect(page.locator(".gallery")).to_contain_text("brand_new_movie", timeout=3000)
    expect(page.locator(".gallery img")).to_have_count(5)
    assert page.evaluate("window.untouched") is True
    assert page.locator(".gallery img").evaluate_all("all => all.filter(image => image.marked).length") == 1


def test_limits_say_which_micrographs_are_in_and_the_selection_is_exported(open_page: OpenPage) -> None:
    page = open_page(SAMPLE)
    expect(page.locator("#panel-fit_resolution_ang rect.in")).not_to_have_count(0)
    expect(page.locator("#selection")).to_contain_text(re.compile(r"4\s*in,\s*0\s*out"))
    page.get_by_text("Limits and search: which micrographs are in").press("Enter")
    page.get_by_label("Fit resolution to, Å").fill("3")
    page.get_by_label("Fit resolution to, Å").press("Enter")
    expect(page.locator("#selection")).to_contain_text(re.compile(r"0\s*in,\s*4\s*out"))
    expect(page.locator(".gallery .isout")).to_have_count(4)
    page.locator("#selection").get_by_role("link", name="out", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("STAR")).click()
    assert "FoilHole_5330585" in download.value.path().read_text()
    page.get_by_role("link", name="by hole").click()
    expect(page.locator("#group-5330585")).to_contain_text("1.50\u00a0µm")


def test_limits_that_are_kept_hold_for_everybody_until_somebody_forgets_them(open_page: OpenPage, facility) -> None:  # type: ignore[no-untyped-def]  # conftest's class
    facility.access.accounts["olga"].writes = {"20261122-CS01"}
    page = open_page(f"{SAMPLE}?max_fit_resolution_ang=3")
    page.get_by_role("button", name="Keep these limits for the sample").click()
    expect(page.locator("#limits")).to_contain_text("1 limit kept for the sample".replace(" ", "\u00a0", 1))
    other = open_page(SAMPLE)
    expect(other.locator("#selection")).to_contain_text(re.compile(r"0\s*in,\s*4\s*out"))
    other.get_by_role("link", name="Show all, without limits").click()
    expect(other.locator("#selection")).to_contain_text(re.compile(r"4\s*in,\s*0\s*out"))
    page.get_by_text("Limits and search: which micrographs are in").press("Enter")
    page.get_by_role("button", name="Forget these limits").press("Enter")
    expect(page.locator("#selection")).to_contain_text(re.compile(r"4\s*in,\s*0\s*out"))


def test_the_board_counts_live(open_page: OpenPage, facility) -> None:  # type: ignore[no-untyped-def]  # conftest's class
    page = open_page("/")
    processed = page.locator("#scope-tem1 .steps div", has_text="processed").locator("dd")
    expect(processed).to_have_text("4")
    facility.publish("one_more")
    expect(processed).to_have_text("5", timeout=3000)


def test_a_page_catches_up_after_its_connection_was_away(open_page: OpenPage, facility) -> None:  # type: ignore[no-untyped-def]  # conftest's class
    page = open_page(SAMPLE)
    expect(page.locator(".live")).to_have_text("live")
    page.evaluate("source.close(); source = null")
    facility.publish("while_away")
    page.evaluate("listen()")
    expect(page.locator(".gallery")).to_contain_text("while_away", timeout=3000)


def test_one_click_leads_from_a_late_microscope_to_the_reason(open_page: OpenPage) -> None:
    page = open_page("/")
    page.locator("#scope-tem1").get_by_role("link", name=re.compile("Why")).press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("TEM1")
    waiting = page.locator("#waiting")
    expect(waiting).to_contain_text("no gain reference")
    expect(page.locator("#held")).to_contain_text("it has 38 of 40 frames")
    waiting.get_by_role("link", name=re.compile("FoilHole_2")).click()
    expect(page.locator(".problem.box")).to_have_text("no gain reference")


def test_nobody_wonders_why_there_is_no_log_in(open_page: OpenPage, facility) -> None:  # type: ignore[no-untyped-def]  # conftest's class
    page = open_page("/")
    expect(page.locator(".live")).to_have_text("live")
    facility.access.reachable = False
    page.evaluate("refresh()")
    expect(page.locator(".live")).to_have_text("the elogbook does not answer")
    facility.complaints.clear()  # the browser itself reports the 503
    facility.access.reachable = True


@pytest.mark.parametrize(
    "path", ["/", "/microscopes/tem1", SAMPLE, f"{SAMPLE}?view=table", "/movies/1", "/alarms", "/samples"]
)
def test_a_phone_needs_no_sideways_scrolling(open_page: OpenPage, path: str) -> None:
    page = open_page(path, viewport=PHONE)
    expect(page.locator("main")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    clipped = page.evaluate(
        "[...document.querySelectorAll('main *')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(e).position !== 'absolute')"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert clipped == []


def test_a_movie_page_shows_the_preview_and_the_numbers(open_page: OpenPage) -> None:
    page = open_page("/movies/1")
    preview = page.locator(".panel img")
    expect(preview).to_have_attribute("src", re.compile("micrograph.jpg"))
    assert preview.evaluate("image => image.decode().then(() => image.naturalWidth)") == 600
    expect(page.locator("table.numbers")).to_contain_text("15\u202f100\u00a0Å")
    expect(page.locator("svg polyline")).to_have_count(1)
    expect(page.locator(".curve path.fitted")).to_have_count(1)
    page.get_by_role("link", name="Later").click()
    expect(page).to_have_url(re.compile(r"/movies/2$"))


def test_the_particles_can_be_hidden_and_a_micrograph_put_out(open_page: OpenPage, facility) -> None:  # type: ignore[no-untyped-def]  # conftest's class
    facility.access.accounts["olga"].writes = {"20261122-CS01"}
    page = open_page("/movies/1")
    circles = page.locator(".picks circle")
    expect(circles.first).to_be_visible()
    page.get_by_label(re.compile("Particles")).press("Space")
    expect(circles.first).to_be_hidden()
    page.get_by_text("Comment, rate, or mark in or out").press("Enter")
    page.get_by_label("This micrograph is").select_option("out")
    page.get_by_label("Comment").fill("thick ice")
    page.get_by_role("button", name="Save").press("Enter")
    expect(page.locator("#judgement")).to_contain_text("thick ice")
    page.get_by_role("link", name=re.compile("apoferritin")).click()
    expect(page.locator("#movie-1 .inout")).to_contain_text("out")


def test_logging_in_and_out_with_the_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("/", logged_in=False)
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("olga")
    page.keyboard.press("Tab")
    page.keyboard.type("right")
    page.keyboard.press("Enter")
    expect(page.locator("#scope-tem1")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    page.get_by_role("button", name="Log out").press("Enter")
    expect(page.get_by_label("User name")).to_be_visible()
    page.goto(page.url.replace("/login", SAMPLE))
    expect(page).to_have_url(re.compile("/login"))
