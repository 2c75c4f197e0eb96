"""Every address and form of the pages with hostile values: a sentence for people, never our error or half a change.

`CRYODAQ_FUZZ_SEED` and `CRYODAQ_FUZZ_CALLS` repeat a run, or make a longer one.
"""

from __future__ import annotations

import os
import random
import re
import threading
from collections import Counter
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from tests.integration.web.conftest import Enter

from cryodaq.elogbook import accounts
from cryodaq.testing.operated_facility import EARLIER, EXPERIMENT, PARAMS, OperatedFacility
from cryodaq.web.application import create_app

CALLS = int(os.environ.get("CRYODAQ_FUZZ_CALLS", "250"))
HOSTILE = [
    *("", " ", ".", "..", "../../etc/passwd", "a/b", "a\\b", "<script>alert(1)</script>", '"><img src=x onerror=y>'),
    *("'; DROP TABLE ledger.sample; --", "%00", "\u202eevil", "Ünïcödé 日本 🧊", "x" * 3000, "日" * 900, "１２", "²"),
    *("00042", "-1", "0", "1e400", "NaN", "inf", "9" * 40, "2026-11-22T08:00:00", "0001-01-01", "9999-12-31T23:59:59"),
    *("2026-11-22T08:00:00+25:00", "{{7*7}}", "$(id)", "a\r\nSet-Cookie: b=c", "f" * 24, "Z" * 24, "uid:pi1", "[]"),
]
FIELDS = (
    *(
        "action",
        "seen",
        "experiment",
        "sample",
        "folder",
        "to",
        "since",
        "key",
        "hours",
        "verdict",
        "rating",
        "comment",
    ),
    *("player", "role", "description", "new_key", "new_value", "k:cs", "log_text", "log_title", "log_tags", "parent"),
    *("begins", "days", "proposal", "leader", "contact", "about", "person", "sample_name", "accept", "reach", "copy"),
    *("min_defocus_ang", "max_fit_resolution_ang", "p:apix", "p:total_frames", "p:imaging_method", "limits", "page"),
    *("view", "which", "state", "sort", "order", "square", "hole", "q", "branch", "first", "second", "before", "user"),
    *("table", "topic", "next", "ticket"),
)
UNMARKED = re.compile(r"<script>alert|<img src=x")


@pytest.fixture
def facility(facility: OperatedFacility) -> OperatedFacility:
    with facility.engine.begin() as connection:
        accounts.grant_site_role(connection, "uid:olga", role="SiteAdmin")
    movie = facility.seed.add_movie(facility.sample, "m1")
    facility.seed.add_measurements(movie)
    facility.seed.publish_pictures(movie, preview=b"\xff\xd8p", thumbnail=b"\xff\xd8t")
    return facility


def test_no_address_and_no_form_ends_in_an_error_of_ours(enter: Enter, facility: OperatedFacility) -> None:
    seed = int(os.environ.get("CRYODAQ_FUZZ_SEED", "0")) or random.SystemRandom().randrange(2**32)
    print(f"CRYODAQ_FUZZ_SEED={seed}")
    source = random.Random(seed)
    known = [
        EXPERIMENT,
        EARLIER,
        facility.sample.id,
        "tem1",
        "TEM1",
        "1",
        "live",
        "align",
        "switch",
        "current",
        "apoferritin",
    ]
    routes = [
        (route.path, method)
        for route in create_app(facility.settings).routes
        if isinstance(route, APIRoute) and route.path not in {"/live", "/logout", "/login", "/metrics"}
        for method in sorted(route.methods & {"GET", "POST"})
    ]

    def text() -> str:
        return source.choice(known) if source.random() < 0.4 else source.choice(HOSTILE)

    def filled(match: re.Match[str]) -> str:
        usual = {"experiment": EXPERIMENT, "sample_id": facility.sample.id, "name": "tem1", "movie_id": "1"}
        value = usual.get(match[1], "1") if source.random() < 0.75 else text()
        return quote(value, safe="")

    olga, statuses = enter("olga"), Counter[int]()
    for number in range(CALLS):
        path, method = routes[number % len(routes)] if number < len(routes) else source.choice(routes)
        address = re.sub(r"\{(\w+)(?::\w+)?\}", filled, path)
        given = {source.choice(FIELDS): text() for _ in range(source.randrange(8))}
        sent = {"params": given} if method == "GET" else {"data": given or {"action": "x"}}
        answer = olga.request(method, address, **sent)  # type: ignore[arg-type]  # one of the two
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, f"{method} {address} {sent}: {answer.status_code} {answer.text[:500]}"
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert UNMARKED.search(answer.text) is None, f"{method} {address} {sent}"
    print(dict(statuses))
    assert statuses[200] > CALLS / 10


def test_of_two_operators_who_send_at_once_one_switches_and_the_other_is_told(
    enter: Enter, facility: OperatedFacility
) -> None:
    """The elogbook changes one thing after the other; what is active is what one of them wanted, whole."""
    olga, otto = enter("olga"), enter("otto")
    seen = re.search(r'name="seen" value="([^"]*)"', olga.get("/microscopes/tem1/switch/confirm?action=standby").text)
    assert seen is not None
    together, answers = threading.Barrier(2), {}

    def send(who: str, client: httpx.Client, wish: dict[str, str]) -> None:
        together.wait()
        answers[who] = client.post("/microscopes/tem1/switch", data={**wish, "seen": seen[1]})

    workers = [
        threading.Thread(target=send, args=("olga", olga, {"action": "switch", "experiment": EARLIER})),
        threading.Thread(target=send, args=("otto", otto, {"action": "standby"})),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {answer.status_code for answer in answers.values()} <= {303, 409}
    assert 303 in {answer.status_code for answer in answers.values()}
    active = facility.desk().active(facility.session("olga"), "TEM1", station=0)
    assert active.experiment in {EARLIER, None}
    with facility.engine.connect() as connection:
        switches = connection.execute(sa.text("SELECT count(*) FROM elogbook.experiment_switch")).scalar_one()
    assert switches == 1 + sum(answer.status_code == 303 for answer in answers.values())


def test_ten_megabytes_are_refused_before_they_are_read(enter: Enter) -> None:
    olga = enter("olga")
    for path in ("/microscopes/tem1/new", f"/samples/{'a' * 24}/parameters", "/instruments/TEM1"):
        assert olga.post(path, content=b"a=" + b"x" * 10_000_000).status_code == 413
    many = {f"p:{number}": "1" for number in range(1000)}
    assert olga.post("/microscopes/tem1/new", data=many).status_code == 400


def test_names_from_the_logbook_are_shown_as_they_are_and_never_as_markup(
    enter: Enter, facility: OperatedFacility
) -> None:
    name = "<script>alert(1)</script> é 日本 \u202e"
    facility.desk().create_sample(
        facility.session("olga"), EXPERIMENT, name="grid <b>2", description=name, params=dict(PARAMS)
    )
    olga = enter("olga")
    olga.post(f"/experiments/{EXPERIMENT}/log", data={"log_text": name, "log_title": name, "log_tags": "<i>"})
    for path in ("/microscopes/tem1/switch", f"/experiments/{EXPERIMENT}/log", f"/experiments/{EXPERIMENT}/audit"):
        page = olga.get(path).text
        assert UNMARKED.search(page) is None
        assert "alert(1)" in page


@pytest.mark.parametrize("since", ["2026-11-22T08:00", "2026-11-22 08:00:00", "yesterday", "2026-13-45T99:99"])
def test_a_time_without_a_zone_is_the_sites_or_refused_with_a_sentence(
    enter: Enter, facility: OperatedFacility, since: str
) -> None:
    answer = enter("olga").get(f"/samples/{facility.sample.id}/reassign", params={"to": "b" * 24, "since": since})
    assert answer.status_code in {200, 404}
