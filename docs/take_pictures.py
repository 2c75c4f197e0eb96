"""Take the pictures of the documentation from a running demonstration, by the way of somebody who is new to it.

    .venv/bin/python docs/take_pictures.py http://127.0.0.1:8080 ~/cryodaq-demo/secrets/operator-password

It begins a session on TEM1: the pictures show what a newcomer sees from the board to the first micrograph.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
IMAGES = Path(__file__).with_name("images")
DESKTOP: ViewportSize = {"width": 1240, "height": 820}
PHONE: ViewportSize = {"width": 390, "height": 820}
QUALITY, HIGHEST_PX = 55, 1500


def _keep(page: Page, name: str, *, whole: bool = False) -> None:
    page.wait_for_load_state("load")
    page.wait_for_timeout(1200)  # for what is fetched after the page
    width, height = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    shown = min(height, HIGHEST_PX if whole else page.viewport_size["height"]) if page.viewport_size else height
    page.screenshot(
        path=IMAGES / f"{name}.jpg",
        type="jpeg",
        quality=QUALITY,
        full_page=True,
        clip={"x": 0, "y": 0, "width": width, "height": shown},
    )


def _log_in(browser: Browser, url: str, password: str) -> Page:
    page = browser.new_page(viewport=DESKTOP)
    page.goto(url)
    page.get_by_label("User name").fill("operator")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="TEM1").wait_for()
    return page


def _begin_session(page: Page, *, proposal: str) -> None:
    page.get_by_role("link", name="New session on TEM1").click()
    page.get_by_label("Experiment", exact=True).select_option(label="A new experiment…")
    page.get_by_label("Proposal").fill(proposal)
    page.get_by_label("Principal investigator").fill("pi1")
    copied = page.get_by_label("Copy the parameters of")
    copied.select_option(index=1)
    page.get_by_label("Name *", exact=True).fill("ribosome")
    page.wait_for_timeout(1500)  # until the checks are renewed
    _keep(page, "new-session", whole=True)
    page.get_by_role("button", name="Start the session").click()
    page.get_by_role("heading", level=1).wait_for()
    _keep(page, "session-begun")


def take(url: str, password: str, *, proposal: str) -> None:
    """Go the way and keep the pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = _log_in(browser, url, password)
        _keep(page, "board")
        page.goto(f"{url}/samples")
        page.get_by_role("link", name="grid1").click()
        _keep(page, "session", whole=True)
        page.locator(".movie a").first.click()
        _keep(page, "movie", whole=True)
        page.set_viewport_size(PHONE)
        page.goto(url)
        _keep(page, "board-phone")
        page.set_viewport_size(DESKTOP)
        _begin_session(page, proposal=proposal)
        browser.close()


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("url")
    cli.add_argument("password_file", type=Path)
    cli.add_argument("--proposal", default="CX07", help="of the session that is begun")
    chosen = cli.parse_args()
    take(chosen.url, chosen.password_file.read_text(encoding="utf-8").strip(), proposal=chosen.proposal)
