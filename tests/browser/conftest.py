"""A real browser before the real pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

from cryodaq.database import open_engine
from cryodaq.ledger.events import Subject, raise_alarm
from cryodaq.ledger.samples import NewSample
from cryodaq.testing.fake_access import Account, FakeAccessControl
from cryodaq.testing.running_pages import running_pages
from cryodaq.testing.seeded_ledger import LedgerSeeder
from cryodaq.web.settings import WebSettings

EXPERIMENT = "20261122-CS01"
SAMPLE_ID = "a" * 24
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


def picture(seed: int, size_px: int, *, kind: str = "JPEG") -> bytes:
    """Return a picture of noise."""
    grey = np.random.default_rng(seed).integers(60, 200, (size_px, size_px), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, kind)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facility:
    """The pages of a facility in the middle of a session, and the hand that moves it on."""

    url: str
    seed: LedgerSeeder
    sample: NewSample
    access: FakeAccessControl
    complaints: list[str] = field(default_factory=list)
    """What browsers reported as wrong."""

    def publish(self, name: str) -> None:
        """Let a movie arrive and be processed."""
        self.seed.now = datetime.now(UTC)
        movie = self.seed.add_movie(self.sample, name)
        self.seed.add_measurements(movie)
        self.seed.publish_pictures(movie, preview=picture(1, 600), thumbnail=picture(1, 160))
        self.seed.write_products(movie, picture=picture(1, 600), spectrum=picture(2, 128, kind="PNG"))


@pytest.fixture
def facility(database_url: str, tmp_path: Path) -> Iterator[Facility]:
    engine = open_engine(database_url)
    seed = LedgerSeeder(engine=engine, storage=tmp_path, now=datetime.now(UTC))
    sample = seed.add_sample(SAMPLE_ID, experiment=EXPERIMENT, name="apoferritin, a sample with a rather long name")
    seed.poll("tem1", sample=sample)
    seed.poll("tem2")
    access = FakeAccessControl(
        accounts={
            "olga": Account(
                full_name="Olga Operator",
                password="right",
                privileges=frozenset({"ops_page"}),
                reads={EXPERIMENT},
            )
        }
    )
    settings = WebSettings(
        database_url=database_url,
        access=access,
        microscopes=("tem1", "tem2"),
        zone=ZoneInfo("Europe/Berlin"),
        airflow_url="http://127.0.0.1:9",
    )
    with running_pages(settings) as url:
        made = Facility(url=url, seed=seed, sample=sample, access=access)
        for index in range(4):
            made.publish(f"FoilHole_5330585_Data_5338216_5338218_20261122_17000{index}")
        seed.add_movie(sample, "FoilHole_2_Data_1_2_20261122_180000", state="waiting", problem="no gain reference")
        seed.add_file(sample, "FoilHole_3_Data_1_2_20261122_180100", state="held", problem="it has 38 of 40 frames")
        with engine.begin() as connection:
            raise_alarm(
                connection,
                "unowned:tem2",
                severity="error",
                message="TEM2 is collecting and nothing is assigned: 37 movies, 31 GB",
                at=seed.now,
                subject=Subject(microscope="tem2"),
            )
        yield made
    engine.dispose()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, facility: Facility) -> Iterator[OpenPage]:
    """Open a page as the operator; at the end no script may have failed and nothing may have been refused."""
    contexts: list[BrowserContext] = []
    complaints = facility.complaints

    def open_(path: str, *, viewport: ViewportSize = DESKTOP, logged_in: bool = True) -> Page:
        context = browser.new_context(viewport=viewport)
        contexts.append(context)
        if logged_in:
            session = facility.access.log_in("olga", "right")
            context.add_cookies([{"name": "cryodaq_session", "value": session, "url": facility.url}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: None if request.url.startswith(facility.url) else complaints.append(request.url),
        )
        page.goto(facility.url + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
