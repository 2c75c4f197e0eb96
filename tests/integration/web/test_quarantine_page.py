"""What nobody owns is assigned by one click, and alarms are silenced, by those who run the microscopes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select
from starlette.testclient import TestClient
from tests.integration.web.conftest import sign_in

from cryodaq.app.moving_copies import Refiling
from cryodaq.ledger import tables as t
from cryodaq.ledger.events import Subject, raise_alarm
from cryodaq.ledger.notifications import silences
from cryodaq.testing.fake_access import Account, FakeAccessControl
from cryodaq.testing.seeded_ledger import LedgerSeeder
from cryodaq.web.application import create_app
from cryodaq.web.settings import WebSettings

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MINE, A, B = "20261122-CS01", "a" * 24, "b" * 24
OURS = {"origin": "http://testserver"}
CONTENT = b"a movie"


@pytest.fixture
def storage(engine: Engine, tmp_path: Path) -> Path:
    """A sample, another one of the same microscope, and one movie in quarantine."""
    root = tmp_path / "storage"
    seed = LedgerSeeder(engine=engine, storage=root, now=NOW)
    for sample_id, name in ((A, "apo"), (B, "ribosome")):
        seed.add_sample(sample_id, experiment=MINE, name=name)
    seed.quarantine("lost session/q1.tiff", content=CONTENT)
    return root


@pytest.fixture
def client(database_url: str, engine: Engine, storage: Path) -> Iterator[TestClient]:
    root = PurePosixPath(storage)

    def refiling(microscope: str) -> Refiling:
        return Refiling(
            engine=engine,
            microscope=microscope,
            storage_root=root,
            now=lambda: NOW,
            prepare=lambda _: None,
            grant_access=lambda *_: (),
        )

    access = FakeAccessControl(
        accounts={
            "op": Account(full_name="Olga", password="o", privileges=frozenset({"switch"}), reads={MINE}),
            "user": Account(full_name="Uwe", password="u", reads={MINE}, writes={MINE}),
        },
        sessions={name: name for name in ("op", "user")},
    )
    settings = WebSettings(
        database_url=database_url,
        access=access,
        microscopes=("tem1",),
        zone=ZoneInfo("Europe/Berlin"),
        refiling=refiling,
        clock=lambda: NOW,
    )
    with TestClient(create_app(settings), follow_redirects=False, headers=OURS) as made:
        yield made


def test_one_click_gives_quarantine_to_a_sample_and_another_takes_it_back(
    client: TestClient, engine: Engine, storage: Path
) -> None:
    op = sign_in(client, "op")
    text = op.get("/quarantine").text
    assert "1\u00a0movie, 7\u00a0B" in text
    assert "ribosome, 20261122-CS01" in text
    done = op.post("/quarantine/tem1", data={"folder": "lost session", "sample": A})
    assert (done.status_code, done.headers["location"]) == (303, f"/samples/{A}")
    (moved,) = storage.glob(f"202611/*/{A}/raw/lost session/q1.tiff")
    assert moved.read_bytes() == CONTENT
    assert "Nothing is in quarantine" in op.get("/quarantine").text
    again = op.post("/quarantine/tem1", data={"folder": "lost session", "sample": A})
    assert again.status_code == 409
    assert "nothing waits in quarantine" in again.text

    asked = op.get(f"/samples/{A}/reassign?to={B}&folder=lost session")
    assert "1\u00a0exposure, 1\u00a0file and 1\u00a0movie go from <strong>apo</strong>" in asked.text
    assert (op.post(f"/samples/{A}/reassign", data={"to": B, "folder": "lost session"})).status_code == 303
    assert not moved.exists()
    with engine.connect() as connection:
        assert connection.execute(select(t.movie.c.sample_id)).scalar_one() == B


@pytest.mark.parametrize("query", ["", "&since=yesterday", "&folder=elsewhere"])
def test_a_wish_that_means_nothing_is_answered_with_a_sentence(client: TestClient, query: str) -> None:
    answer = sign_in(client, "op").get(f"/samples/{A}/reassign?to={B}{query}")
    assert answer.status_code == 200
    assert 'class="problem box"' in answer.text


def test_quarantine_is_for_those_who_run_the_microscopes(client: TestClient, storage: Path) -> None:
    user = sign_in(client, "user")
    assert "/quarantine" not in user.get("/").text
    assert user.get("/quarantine").status_code == 403
    assert user.post("/quarantine/tem1", data={"folder": "lost session", "sample": A}).status_code == 403
    assert user.get(f"/samples/{A}/reassign").status_code == 403
    assert user.post(f"/samples/{A}/reassign", data={"to": B, "folder": "x"}).status_code == 403
    assert user.post("/alarms/silence", data={"key": "k", "hours": "1"}).status_code == 403
    assert not list(storage.glob("202611/*/*/raw/lost*"))
    op = sign_in(client, "op")
    assert op.post("/quarantine/tem9", data={"folder": "lost session", "sample": A}).status_code == 404
    assert op.post("/quarantine/tem1", data={"folder": "lost session", "sample": "../x"}).status_code == 404


def test_a_silenced_alarm_stays_on_the_page(client: TestClient, engine: Engine) -> None:
    with engine.begin() as connection:
        raise_alarm(connection, "k", severity="error", message="it burns", at=NOW, subject=Subject(microscope="tem1"))
    op = sign_in(client, "op")
    assert op.post("/alarms/silence", data={"key": "k", "hours": "4"}).status_code == 303
    text = op.get("/alarms").text
    assert "it burns" in text
    assert "2026-11-22 15:00:00 +01:00</time>, op said" in text
    assert op.post("/alarms/silence", data={"key": "", "hours": "4"}).status_code == 404
    assert op.post("/alarms/silence", data={"key": "k", "hours": "9999"}).status_code == 404
    with engine.connect() as connection:
        assert [(one.key, one.asked_by) for one in silences(connection, at=NOW)] == [("k", "op")]
