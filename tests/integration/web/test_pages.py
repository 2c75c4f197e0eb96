"""Every page asks who is there, shows what that person may see, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, update
from starlette.testclient import TestClient
from tests.integration.web.conftest import sign_in

from cryodaq.ledger import tables as t
from cryodaq.ledger.events import Subject, raise_alarm
from cryodaq.ledger.readers import save_collaborators
from cryodaq.testing.fake_access import Account, FakeAccessControl
from cryodaq.testing.seeded_ledger import LedgerSeeder, SeededMovie
from cryodaq.web.application import create_app
from cryodaq.web.settings import WebSettings

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MINE, THEIRS = "20261122-CS01", "20261122-CX99"
A, B = "a" * 24, "b" * 24
OURS = {"origin": "http://testserver"}
JPEG = b"\xff\xd8preview"


@pytest.fixture
def seed(engine: Engine, tmp_path: Path) -> LedgerSeeder:
    return LedgerSeeder(engine=engine, storage=tmp_path / "storage", now=NOW)


@pytest.fixture
def access() -> FakeAccessControl:
    """An operator who reads nothing, a user of one experiment, and a stranger."""
    return FakeAccessControl(
        accounts={
            "op": Account(full_name="Olga", password="o-secret", privileges=frozenset({"switch"})),
            "user": Account(full_name="Uwe <b>", password="u-secret", reads={MINE}),
            "stranger": Account(full_name="Stan", password="s-secret"),
        },
        sessions={name: name for name in ("op", "user", "stranger")},
        tickets={"once": "user"},
    )


@pytest.fixture
def client(database_url: str, access: FakeAccessControl) -> Iterator[TestClient]:
    settings = WebSettings(
        database_url=database_url,
        access=access,
        microscopes=("tem1", "tem2"),
        zone=ZoneInfo("Europe/Berlin"),
        airflow_url="http://airflow:8082/",
        clock=lambda: NOW,
    )
    with TestClient(create_app(settings), follow_redirects=False) as made:
        yield made


@pytest.fixture
def movie(seed: LedgerSeeder) -> SeededMovie:
    """A published movie of the user's experiment, and another group's sample."""
    sample = seed.add_sample(A, experiment=MINE, name="apo <i>")
    other = seed.add_sample(B, experiment=THEIRS, name="their secret", microscope="tem2")
    seed.poll("tem1", sample=sample)
    seed.poll("tem2", sample=other)
    made = seed.add_movie(sample, "movie_0001")
    seed.add_measurements(made)
    seed.publish_pictures(made, preview=JPEG, thumbnail=b"\xff\xd8thumb")
    seed.add_movie(sample, "movie_0002", state="waiting", problem="no gain reference; the movie waits for one")
    return made


PAGES = (
    "/",
    "/microscopes/tem1",
    "/samples",
    "/alarms",
    "/audit",
    "/instruments",
    "/quarantine",
    f"/experiments/{MINE}",
    f"/experiments/{MINE}/audit",
    f"/samples/{A}",
    "/movies/1",
    "/movies/1/preview.jpg",
    f"/live?topic=sample:{A}",
)


@pytest.mark.parametrize("page", PAGES)
def test_nobody_sees_anything_without_a_session(client: TestClient, movie: SeededMovie, page: str) -> None:
    for cookie in (None, "made up"):
        if cookie:
            sign_in(client, cookie)
        answer = client.get(page)
        assert answer.status_code in {303, 401, 204}
        assert "apo" not in answer.text
    assert client.get("/samples", headers={"x-fragment": "1"}).status_code == 401


def test_after_the_log_in_one_is_where_one_wanted_to_be(client: TestClient, movie: SeededMovie) -> None:
    answer = client.get(f"/samples/{A}?view=table")
    assert answer.headers["location"].startswith("/login?next=")
    form = client.get(answer.headers["location"])
    assert f'value="/samples/{A}?view=table"' in form.text
    done = client.post(
        "/login", data={"user": "user", "password": "u-secret", "next": f"/samples/{A}?view=table"}, headers=OURS
    )
    assert (done.status_code, done.headers["location"]) == (303, f"/samples/{A}?view=table")
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get(done.headers["location"]).status_code == 200


def test_a_wrong_password_gets_a_sentence_and_no_session(client: TestClient) -> None:
    answer = client.post("/login", data={"user": "user", "password": "guess"}, headers=OURS)
    assert answer.status_code == 403
    assert "User name or password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert "guess" not in answer.text


def test_a_ticket_logs_in_once(client: TestClient) -> None:
    first = client.get("/login?ticket=once")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    client.cookies.clear()
    second = client.get("/login?ticket=once")
    assert second.status_code == 403
    assert "used before" in second.text


def test_a_ticket_that_another_site_sends_along_needs_a_click(client: TestClient, access: FakeAccessControl) -> None:
    asked = client.get("/login?ticket=once", headers={"sec-fetch-site": "cross-site"})
    assert asked.status_code == 200
    assert access.tickets == {"once": "user"}
    assert client.post("/login", data={"ticket": "once"}, headers=OURS).status_code == 303


@pytest.mark.parametrize("headers", [{}, {"origin": "http://evil.example"}, {"origin": "null"}])
def test_a_forged_post_changes_nothing(client: TestClient, access: FakeAccessControl, headers: dict[str, str]) -> None:
    assert sign_in(client, "user").post("/logout", headers=headers).status_code == 403
    assert client.post("/login", data={"user": "user", "password": "u-secret"}, headers=headers).status_code == 403
    assert set(access.sessions) == {"op", "user", "stranger"}


def test_a_link_does_not_log_out_but_the_button_does(client: TestClient, access: FakeAccessControl) -> None:
    sign_in(client, "user")
    assert client.get("/logout").status_code == 200
    assert "user" in access.sessions
    assert client.post("/logout", headers=OURS).headers["location"] == "/login"
    assert "user" not in access.sessions


def test_a_large_body_is_refused(client: TestClient) -> None:
    answer = client.post("/login", data={"user": "x" * 70_000}, headers=OURS)
    assert answer.status_code == 413


def test_the_board_names_only_what_the_person_may_read(client: TestClient, movie: SeededMovie) -> None:
    text = sign_in(client, "user").get("/").text
    assert MINE in text
    assert f"/samples/{A}" in text
    assert THEIRS not in text
    assert "their secret" not in text
    assert "another group" in text
    text = sign_in(client, "stranger").get("/").text
    assert MINE not in text
    assert "TEM1" in text


def test_who_runs_the_microscopes_sees_names_but_not_the_movies(client: TestClient, movie: SeededMovie) -> None:
    text = sign_in(client, "op").get("/").text
    assert MINE in text
    assert THEIRS in text
    assert f'href="/samples/{A}"' not in text
    assert client.get(f"/samples/{A}").status_code == 404


@pytest.mark.parametrize(
    "page", [f"/samples/{B}", f"/samples/{'c' * 24}", "/samples/..%2f..%2fetc", "/movies/99", f"/movies/{2**70}", "/x"]
)
def test_what_one_may_not_read_and_what_is_not_there_answer_alike(
    client: TestClient, movie: SeededMovie, page: str
) -> None:
    answer = sign_in(client, "user").get(page)
    assert answer.status_code == 404
    assert "their secret" not in answer.text


@pytest.mark.parametrize("query", ["page=x", "page=-1", "page=999999", "state=%3Cscript%3E", "view=none"])
def test_a_malformed_address_is_no_error_of_ours(client: TestClient, movie: SeededMovie, query: str) -> None:
    answer = sign_in(client, "user").get(f"/samples/{A}?{query}")
    assert answer.status_code == 200
    assert "<script>" not in answer.text


@pytest.mark.parametrize("path", [f"/samples/{A}?q=%00", "/live?topic=sample:%00", "/microscopes/tem1%00"])
def test_an_address_that_no_database_can_hold_is_refused(client: TestClient, movie: SeededMovie, path: str) -> None:
    assert sign_in(client, "user").get(path).status_code == 400


def test_plots_and_exports_are_for_those_who_may_read(client: TestClient, movie: SeededMovie) -> None:
    for path in ("plots", "selection.star", "selection.csv"):
        assert sign_in(client, "stranger").get(f"/samples/{A}/{path}").status_code == 404
        assert sign_in(client, "user").get(f"/samples/{A}/{path}?max_fit_resolution_ang=4").status_code == 200
    star = client.get(f"/samples/{A}/selection.star?max_fit_resolution_ang=4")
    assert star.headers["content-disposition"].endswith(f"{MINE}_{A}_in.star")
    assert "aligned/movie_0001_DW.mrc" in star.text
    assert "aligned/movie" not in client.get(f"/samples/{A}/selection.star?max_fit_resolution_ang=3").text
    assert client.get(f"/samples/{A}/selection.exe").status_code == 404
    sheet = client.get(f"/samples/{A}").text
    assert "1.0600\u00a0Å/px <small>operator</small>" in sheet


def test_a_sample_page_shows_numbers_with_units_and_reasons(client: TestClient, movie: SeededMovie) -> None:
    text = sign_in(client, "user").get(f"/samples/{A}").text
    assert "3.6\u00a0Å" in text
    assert "1.50\u00a0µm" in text
    assert "no gain reference; the movie waits for one" in text
    assert "2026-11-22 11:00:00 +01:00" in text
    assert "apo &lt;i&gt;" in text
    assert "Uwe &lt;b&gt;" in text
    table = client.get(f"/samples/{A}?view=table").text
    assert 'data-label="Defocus, µm">1.50</td>' in table
    waiting = client.get(f"/samples/{A}?state=waiting").text
    assert "0002" in waiting
    assert "thumbnail.jpg" not in waiting


def test_a_movies_page_shows_checksum_attempts_and_its_run(client: TestClient, movie: SeededMovie) -> None:
    text = sign_in(client, "user").get(f"/movies/{movie.id}").text
    assert "0" * 31 + "1" in text
    assert f"http://airflow:8082/dags/{MINE}_{A}/runs/movie_0001" in text
    assert "alignment" in text
    assert "300\u00a0kV" in text


def test_pictures_are_sent_from_the_ledgers_paths_only(
    client: TestClient, movie: SeededMovie, engine: Engine, tmp_path: Path
) -> None:
    sign_in(client, "user")
    answer = client.get(f"/movies/{movie.id}/preview.jpg?path=/etc/passwd")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, JPEG, "image/jpeg")
    assert answer.headers["cache-control"].startswith("private")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    inside = Path(movie.layout.previews) / "link.jpg"
    inside.symlink_to(secret)
    for path in (str(secret), str(inside), f"{movie.layout.previews}/../../../../../secret.jpg", "/none.jpg"):
        with engine.begin() as connection:
            connection.execute(
                update(t.stage_result)
                .where(t.stage_result.c.stage == "publish")
                .values(result={"preview": path, "thumbnail": path})
            )
        assert client.get(f"/movies/{movie.id}/preview.jpg").status_code == 404
    assert sign_in(client, "op").get(f"/movies/{movie.id}/preview.jpg").status_code == 404


def test_a_movies_page_says_what_its_acquisition_said_and_which_file_said_it(
    client: TestClient, movie: SeededMovie, engine: Engine
) -> None:
    said: dict[str, object] = {
        "source": "a.xml",
        "applied_defocus_ang": 12_000.0,
        "stage_x_um": -47.2,
        "energy_filter": True,
    }
    said |= {"beam_tilt_xy": [-0.03, 0.005], "frame_count": 40, "said_by": {"frame_count": "a_Fractions.xml"}}
    with engine.begin() as connection:
        connection.execute(t.movie.update().where(t.movie.c.id == movie.id).values(metadata=said))
    sign_in(client, "user")
    page = client.get(f"/movies/{movie.id}").text.replace("<wbr>", "")
    shown = page[page.index('id="acquisition"') : page.index('id="files"')]
    part = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))
    for words in ("Defocus set 1.20 µm", "Stage x -47.20 µm", "Energy filter yes", "-0.0300, 0.0050"):
        assert words in part
    assert "Frames 40 a_Fractions.xml" in part
    found = client.get(f"/samples/{movie.sample.id}?min_stage_x_um=-50&max_stage_x_um=-40&until=2020-01-01T00:00").text
    assert "0</strong> in" in found
    assert 'value="-50"' in found
    assert 'value="2020-01-01T00:00"' in found


@pytest.mark.parametrize(("kind", "name"), [("gain", "gain_check"), ("gain-wrong", "gain_contradiction")])
def test_an_alarm_about_a_gain_reference_has_its_picture(
    client: TestClient, movie: SeededMovie, engine: Engine, kind: str, name: str
) -> None:
    address = f"/samples/{A}/{name}.png"
    assert sign_in(client, "user").get(address).status_code == 404
    path = Path(getattr(movie.layout, name))
    path.write_bytes(b"\x89PNG")
    subject = Subject(microscope="tem1", experiment=MINE, sample_id=A)
    with engine.begin() as connection:
        text = f"a pattern of 4 % ({path})"
        raise_alarm(connection, f"{kind}:{A}", severity="warning", message=text, at=NOW, subject=subject)
    assert client.get(address).content == b"\x89PNG"
    for page in ("/alarms", f"/samples/{A}"):
        assert f'<img src="{address}"' in client.get(page).text
    assert f'<a href="{address}">picture</a>' in client.get("/").text
    assert sign_in(client, "stranger").get(address).status_code in {303, 404}


def test_alarms_of_others_are_counted_not_told(client: TestClient, movie: SeededMovie, engine: Engine) -> None:
    with engine.begin() as connection:
        for experiment in (MINE, THEIRS):
            raise_alarm(
                connection,
                f"x:{experiment}",
                severity="error",
                message=f"trouble in {experiment}",
                at=NOW,
                subject=Subject(experiment=experiment),
            )
    text = sign_in(client, "user").get("/alarms").text
    assert f"trouble in {MINE}" in text
    assert THEIRS not in text
    assert "1\u00a0alarm of experiments that you may not see" in text
    assert f"trouble in {THEIRS}" in sign_in(client, "op").get("/alarms").text


def test_without_the_elogbook_a_sentence_says_so(client: TestClient, access: FakeAccessControl) -> None:
    access.reachable = False
    answer = sign_in(client, "user").get("/")
    assert answer.status_code == 503
    assert "Copying and processing go on" in answer.text


def test_every_answer_binds_the_browser(client: TestClient, movie: SeededMovie) -> None:
    for page in ("/login", "/", "/nowhere", "/static/live.js"):
        headers = sign_in(client, "user").get(page).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    text = client.get("/").text
    for inline in ("<style", " style=", "onclick", "<script>", "https://", "http://fonts"):
        assert inline not in text


def test_a_fragment_is_the_middle_only(client: TestClient, movie: SeededMovie) -> None:
    text = sign_in(client, "user").get("/", headers={"x-fragment": "1"}).text
    assert "<html" not in text
    assert "TEM1" in text


def test_nothing_is_told_about_the_machinery(client: TestClient) -> None:
    for page in ("/docs", "/openapi.json", "/redoc"):
        assert sign_in(client, "op").get(page).status_code == 404


def test_a_microscopes_page_gives_reasons_to_those_who_may_read_them(
    client: TestClient, seed: LedgerSeeder, movie: SeededMovie
) -> None:
    theirs = sign_in(client, "user").get("/microscopes/tem1")
    assert "no gain reference; the movie waits for one" in theirs.text
    assert "/movies/2" in theirs.text
    strangers = sign_in(client, "stranger").get("/microscopes/tem1")
    assert strangers.status_code == 200
    for secret in ("no gain reference", "0002", "apo", MINE):
        assert secret not in strangers.text
    assert "another group" in strangers.text
    assert sign_in(client, "op").get("/microscopes/tem9").status_code == 404


def test_a_silent_elogbook_is_said_wherever_it_matters(
    client: TestClient, access: FakeAccessControl, seed: LedgerSeeder
) -> None:
    seed.poll("tem1", assignment="unreachable")
    assert "The elogbook does not answer the data acquisition" in sign_in(client, "op").get("/").text
    access.reachable = False
    for answer in (
        client.get("/login"),
        client.post("/login", data={"user": "op", "password": "o-secret"}, headers=OURS),
    ):
        assert answer.status_code == 503
        assert "nobody can log in now. Copying and processing go on" in answer.text
    board = client.get("/")
    assert (board.status_code, "data-retry" in board.text) == (503, True)
    access.reachable = True
    assert client.get("/login").status_code == 303


def test_with_a_foreign_elogbook_an_experiment_says_who_can_read_its_files(
    client: TestClient, movie: SeededMovie, engine: Engine
) -> None:
    granted = {"uid": "uid:pi1", "is_group": False, "posix_id": 5003}
    with engine.begin() as connection:
        save_collaborators(connection, MINE, [granted], at=NOW)
    page = sign_in(client, "user").get(f"/experiments/{MINE}").text
    assert "apo &lt;i&gt;" in page
    assert "these can read the files now" in page
    assert "pi1" in page
    assert client.get(f"/experiments/{THEIRS}").status_code == 404
    assert client.get(f"/experiments/{MINE}/audit").status_code in {403, 404}
    assert client.get("/instruments").status_code == 404


def test_the_picture_that_a_run_of_the_elogbook_names_is_sent_to_readers(
    client: TestClient, movie: SeededMovie
) -> None:
    address = f"/previews/{MINE}/{A}/previews/movie_0001.jpg"
    assert sign_in(client, "user").get(address).content == JPEG
    for other in (
        f"/previews/{THEIRS}/{A}/previews/movie_0001.jpg",
        f"/previews/{MINE}/{B}/previews/movie_0001.jpg",
        f"/previews/{MINE}/{A}/previews/%2e%2e/%2e%2e/previews/x.jpg",
        f"/previews/{MINE}/{A}/micrographs.csv",
        f"/previews/{MINE}/{A}/previews/nothing.jpg",
    ):
        assert client.get(other).status_code == 404, other
    assert sign_in(client, "stranger").get(address).status_code == 404


def test_samples_are_found_by_their_names_as_far_as_one_may_read_them(client: TestClient, movie: SeededMovie) -> None:
    sign_in(client, "user")
    assert "apo &lt;i&gt;" in client.get("/samples?q=APO+tem1").text
    for words in ("secret", "apo+tem2", "%25"):
        assert "No sample that you may read is called like that." in client.get(f"/samples?q={words}").text
    assert "No more samples." in client.get("/samples?page=2").text
    assert client.get("/samples?page=0").status_code == 404
