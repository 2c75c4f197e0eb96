"""An operator corrects a pixel size, has the sample processed once more, compares, and makes it current."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from cryodaq.ledger import tables as t
from cryodaq.ledger.samples import find_branch
from cryodaq.testing.operated_facility import EXPERIMENT, OperatedFacility, operated_facility
from cryodaq.testing.seeded_ledger import SeededMovie, example_fit
from cryodaq.web.settings import SESSION_COOKIE

pytestmark = pytest.mark.browser


@pytest.fixture
def operated(database_url: str, tmp_path: Path) -> Iterator[OperatedFacility]:
    with operated_facility(database_url, tmp_path) as made:
        yield made


def process(operated: OperatedFacility, movies: list[SeededMovie], branch_name: str) -> None:
    """Let the scheduler process movies in a branch."""
    with operated.engine.connect() as connection:
        branch = find_branch(connection, operated.sample.id, branch_name)
    assert branch is not None
    for movie in movies:
        operated.seed.add_measurements(replace(movie, branch_id=branch.id), fit=example_fit(resolution_ang=3.0))
    now = datetime.now(UTC)
    with operated.engine.begin() as connection:
        mine = t.trigger.c.branch_id == branch.id
        connection.execute(t.trigger.update().where(mine).values(sent_at=now, settled_at=now, outcome="published"))


def open_as(browser: Browser, operated: OperatedFacility, uid: str) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": SESSION_COOKIE, "value": operated.session(uid), "url": operated.url}])
    page = context.new_page()
    page.set_default_timeout(15_000)
    return page


def test_a_corrected_pixel_size_is_processed_compared_and_made_current(
    browser: Browser, operated: OperatedFacility
) -> None:
    movies = [operated.seed.add_movie(operated.sample, f"m{index}") for index in range(2)]
    for movie in movies:
        operated.seed.add_measurements(movie)
        operated.seed.publish_pictures(movie, preview=b"p", thumbnail=b"t")
    page = open_as(browser, operated, "olga")
    page.goto(f"{operated.url}/samples/{operated.sample.id}")
    page.get_by_role("link", name="Parameters and reprocessing").click()
    page.get_by_label("Physical pixel size").fill("0.84")
    page.get_by_label("for all movies").check()
    page.get_by_role("button", name="Change the parameters").press("Enter")
    row = page.locator("#branch-r1")
    expect(row.locator("td[data-label=Waiting]")).to_have_text("2")
    (sample,) = operated.desk().samples(operated.session("olga"), EXPERIMENT)
    assert sample.params["apix"] == 0.84
    row.get_by_role("button", name="Make current r1").click()
    expect(page.locator("main")).to_contain_text("2 movies of r1 are still to be processed")

    process(operated, movies, "r1")
    page.goto(f"{operated.url}/samples/{operated.sample.id}/parameters")
    page.get_by_role("link", name="Compare r1").click()
    expect(page.locator("#changed")).to_contain_text("0.84")
    expect(page.locator("#row-fit_resolution_ang")).to_contain_text("100\u00a0%")
    page.get_by_role("link", name="parameters").click()
    page.get_by_role("button", name="Make current r1").click()
    expect(page.locator("#branch-r1 .badge")).to_have_text("current")
    with operated.engine.connect() as connection:
        assert connection.execute(select(t.sample.c.current_branch)).scalar_one() == "r1"
    page.context.close()


def test_a_reader_may_look_at_parameters_only(browser: Browser, operated: OperatedFacility) -> None:
    page = open_as(browser, operated, "uwe")
    page.goto(f"{operated.url}/samples/{operated.sample.id}/parameters")
    expect(page.get_by_text("You may look, but not change them.")).to_be_visible()
    answer = page.evaluate(
        "fetch(location.href, {method: 'POST', body: new URLSearchParams({reach: 'all', 'p:apix': '1'})})"
        ".then(answer => answer.status)"
    )
    assert answer == 403
    page.context.close()
