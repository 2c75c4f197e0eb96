"""What people do at a movie's page: judge it, read its logs, run it again; each with the right to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select
from starlette.testclient import TestClient
from tests.integration.web.conftest import sign_in

from cryodaq.ledger import tables as t
from cryodaq.ledger.selection import Selection, count_selection
from cryodaq.testing.fake_access import Account, FakeAccessControl
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie
from cryodaq.web.application import create_app
from cryodaq.web.settings import WebSettings

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MINE, A = "20261122-CS01", "a" * 24
OURS = {"origin": "http://testserver"}


@pytest.fixture
def client(database_url: str) -> Iterator[TestClient]:
    access = FakeAccessControl(
        accounts={
            "writer": Account(full_name="Wera", password="w", reads={MINE}, writes={MINE}),
            "reader": Account(full_name="Rae", password="r", reads={MINE}),
            "stranger": Account(full_name="Stan", password="s"),
        },
        sessions={name: name for name in ("writer", "reader", "stranger")},
    )
    settings = WebSettings(
        database_url=database_url,
        access=access,
        microscopes=("tem1",),
        zone=ZoneInfo("Europe/Berlin"),
        clock=lambda: NOW,
    )
    with TestClient(create_app(settings), follow_redirects=False, headers=OURS) as made:
        yield made


@pytest.fixture
def movie(engine: Engine, tmp_path: Path) -> SeededMovie:
    seed = LedgerSeeder(engine=engine, storage=tmp_path / "storage", now=NOW)
    made = seed.add_movie(seed.add_sample(A, experiment=MINE), "m1")
    seed.add_measurements(made)
    seed.publish_pictures(made, preview=b"\xff\xd8p", thumbnail=b"\xff\xd8t")
    seed.write_products(made, picture=b"\xff\xd8big", spectrum=b"\x89PNGspectrum")
    log = Path(made.layout.log("m1", "ctf"))
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("x" * 300_000 + "\nfit to 3.6 Å\n")
    secret = tmp_path / "secret.log"
    secret.write_text("not for you")
    with engine.begin() as connection:
        connection.execute(t.stage_result.update().where(t.stage_result.c.stage == "ctf").values(log=str(log)))
        connection.execute(t.stage_result.update().where(t.stage_result.c.stage == "pick").values(log=str(secret)))
        connection.execute(t.trigger.update().values(settled_at=NOW, outcome="published"))
    return made


def test_the_page_draws_what_publication_left(client: TestClient, movie: SeededMovie) -> None:
    text = sign_in(client, "reader").get("/movies/1").text
    assert text.count("<circle cx=") == 3 + 40  # particles, and the frames of the track
    assert 'cx="100.5" cy="100.5" r="28.3"' in text
    assert 'class="correlation" d="M' in text
    assert client.get("/movies/1/micrograph.jpg").content == b"\xff\xd8big"
    assert client.get("/movies/1/spectrum.png").content == b"\x89PNGspectrum"
    assert client.get("/movies/1/spectrum.jpg").status_code == 404
    assert "copy verified" in text


def test_a_broken_product_is_left_out(client: TestClient, movie: SeededMovie) -> None:
    Path(movie.layout.fit_curves("m1")).write_text("{not json")
    Path(movie.layout.pick_overlay("m1")).write_text('{"shape_yx": [512, "x"], "coordinates_px_xy": 7}')
    answer = sign_in(client, "reader").get("/movies/1")
    assert answer.status_code == 200
    assert 'class="correlation"' not in answer.text


def test_the_end_of_a_log_is_sent_and_nothing_outside_the_sample(client: TestClient, movie: SeededMovie) -> None:
    log = sign_in(client, "reader").get("/movies/1/log/live/ctf/1")
    assert log.text.endswith("fit to 3.6 Å\n")
    assert log.text.startswith("[the last 200000 of")
    assert len(log.content) < 210_000
    assert client.get("/movies/1/log/live/pick/1").status_code == 404
    assert client.get("/movies/1/log/live/ctf/2").status_code == 404
    assert sign_in(client, "stranger").get("/movies/1/log/live/ctf/1").status_code == 404


def test_a_verdict_and_a_comment_are_kept_and_shown(client: TestClient, movie: SeededMovie, engine: Engine) -> None:
    said = {"verdict": "out", "rating": "2", "comment": "ice <b>everywhere</b>\0"}
    assert sign_in(client, "writer").post("/movies/1/judgement", data=said).status_code == 303
    text = client.get("/movies/1").text
    assert "ice &lt;b&gt;everywhere&lt;/b&gt;" in text
    assert "2 of 5" in text
    with engine.connect() as connection:
        counts = count_selection(connection, Selection(sample_id=A, branch_name="live"))
    assert (counts.inside, counts.outside) == (0, 1)
    client.post("/movies/1/judgement", data={"comment": "a second look"})
    assert "everywhere" not in client.get("/movies/1").text
    assert client.post("/movies/1/judgement", data={"verdict": "maybe"}).status_code == 404


def test_a_published_movie_runs_again_with_another_run(client: TestClient, movie: SeededMovie, engine: Engine) -> None:
    assert sign_in(client, "writer").post("/movies/1/again").status_code == 303
    with engine.connect() as connection:
        row = connection.execute(select(t.trigger)).one()
        state = connection.execute(select(t.movie.c.state)).scalar_one()
    assert (row.run_id != "m1", row.reruns, row.sent_at, row.settled_at) == (True, 1, None, None)
    assert state == "published"  # until the new results are there
    again = client.post("/movies/1/again")
    assert again.status_code == 409
    assert "being processed now" in again.text


def test_a_failed_movie_goes_back_to_the_queue(client: TestClient, movie: SeededMovie, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(t.movie.update().values(state="failed", problem="ctf: broken"))
    sign_in(client, "writer").post("/movies/1/again")
    with engine.connect() as connection:
        assert connection.execute(select(t.movie.c.state, t.movie.c.problem)).one() == ("queued", None)


@pytest.mark.parametrize(("who", "status"), [("reader", 403), ("stranger", 404)])
def test_only_those_who_may_write_change_anything(
    client: TestClient, movie: SeededMovie, engine: Engine, who: str, status: int
) -> None:
    sign_in(client, who)
    assert client.post("/movies/1/judgement", data={"verdict": "out"}).status_code == status
    assert client.post("/movies/1/again").status_code == status
    assert "Run again" not in client.get("/movies/1").text
    with engine.connect() as connection:
        assert connection.execute(select(t.judgement)).all() == []
        assert connection.execute(select(t.trigger.c.reruns)).scalar_one() == 0


def test_limits_are_kept_with_the_sample_and_followed_by_what_is_exported(
    client: TestClient, movie: SeededMovie
) -> None:
    writer = sign_in(client, "writer")
    tried = writer.get(f"/samples/{A}", params={"max_fit_resolution_ang": "2.5"}).text
    assert "Keep these limits for the sample" in tried
    assert "m1" in writer.get(f"/samples/{A}/selection.csv").text
    kept = writer.post(f"/samples/{A}/limits", data={"max_fit_resolution_ang": "2.5", "min_defocus_ang": "nan"})
    assert kept.status_code == 303
    reader = sign_in(client, "reader")
    page = reader.get(f"/samples/{A}").text
    assert "kept for the sample" in page
    assert "Forget these limits" not in page
    assert "<strong>0</strong> in, <strong>1</strong> out" in page
    assert "m1" not in reader.get(f"/samples/{A}/selection.csv").text
    assert "m1" in reader.get(f"/samples/{A}/selection.csv", params={"limits": "none"}).text
    assert "<strong>1</strong> in" in reader.get(f"/samples/{A}", params={"max_fit_resolution_ang": "9"}).text
    assert reader.post(f"/samples/{A}/limits", data={}).status_code == 403
    assert sign_in(client, "writer").post(f"/samples/{A}/limits", data={}).status_code == 303
    assert "kept for the sample" not in reader.get(f"/samples/{A}").text


def test_a_limit_that_no_number_reaches_does_no_harm(client: TestClient, movie: SeededMovie) -> None:
    writer = sign_in(client, "writer")
    assert writer.post(f"/samples/{A}/limits", data={"max_fit_resolution_ang": "1e40"}).status_code == 303
    assert "1</strong> in" in writer.get(f"/samples/{A}").text
    assert writer.get(f"/samples/{A}/plots").status_code == 200
