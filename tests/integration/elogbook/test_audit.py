"""Who changed what, when and from where; and who is believed about it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError
from starlette.testclient import TestClient

from cryodaq.elogbook import accounts
from cryodaq.logbook.access import SessionAccess
from cryodaq.web.application import create_app
from cryodaq.web.settings import WebSettings

from .conftest import PASSWORD, SAMPLE_PARAMS, Site, register

BOOK = "/lgbk/20261122-CS01/ws"
CONTROL = "/run_control/20261122-CS01/ws"


def changes(client: httpx.Client, path: str = f"{BOOK}/audit", **query: Any) -> list[dict[str, Any]]:
    answer = client.get(path, params=query)
    assert answer.json()["success"] is True, answer.text
    return answer.json()["value"]


def test_each_change_says_who_when_from_where_before_and_after(session_of_two_samples: Site) -> None:
    with session_of_two_samples.as_program("operator1") as operator:
        sample = operator.get(f"{BOOK}/samples/grid1").json()["value"]
        body = {"name": "grid1", "description": "", "params": {**SAMPLE_PARAMS, "apix": 0.41}}
        operator.put(f"{BOOK}/samples/{sample['_id']}", json=body)
        operator.post(f"{BOOK}/make_sample_current", params={"sample_name": "grid1"})
        (changed,) = changes(operator, table="sample", limit=1)
        assert (changed["before"], changed["after"]) == ({"params": {"apix": 0.82}}, {"params": {"apix": 0.41}})
        assert (changed["user"], changed["action"], changed["key"]) == ("operator1", "update", sample["_id"])
        assert changed["origin"]["address"] == "127.0.0.1"
        assert changed["origin"]["request"] == f"PUT {BOOK}/samples/{sample['_id']}"
        tables = [one["table"] for one in changes(operator, limit=3)]
        assert sorted(tables) == ["elog_entry", "experiment", "sample_activation"]
        older = changes(operator, before=changed["_id"], limit=500)
        assert [one["_id"] for one in older] == sorted((one["_id"] for one in older), reverse=True)
        assert {one["table"] for one in older} == {"experiment", "experiment_player", "experiment_switch", "sample"}


def test_what_programs_write_is_noted_shortly(session_of_two_samples: Site) -> None:
    with session_of_two_samples.as_program("airflow") as program:
        program.post(f"{CONTROL}/start_run", params={"run_num": "a"}, json={"x": 1})
        program.post(f"{CONTROL}/add_run_params", params={"run_num": "a"}, json={"x": 2, "y": 3})
        program.post(f"{BOOK}/register_file", json={"path": "raw/a.tif", "run_num": "a", "size": 1})
        program.post(f"{BOOK}/register_file", json={"path": "raw/a.tif", "run_num": "a", "size": 2})
    with session_of_two_samples.as_program("operator1") as operator:
        found = {(one["table"], one["action"]): one for one in changes(operator, user="airflow")}
    assert found["run", "update"]["before"] == {"params": {"x": 1}}
    assert found["run", "update"]["after"] == {"params": {"x": 2, "y": 3}}
    assert found["run_file", "update"]["after"]["size_bytes"] == 2
    assert "params" not in found["run", "insert"]["after"]


def test_secrets_never_come_into_the_log_and_nothing_leaves_it(session_of_two_samples: Site) -> None:
    engine = session_of_two_samples.engine()
    with engine.begin() as connection:
        accounts.set_password(connection, "pi1", password=PASSWORD)
        secret = accounts.create_token(connection, "pi1", name="script")
    with engine.begin() as connection:
        kept = str(connection.execute(sa.text("SELECT before, after FROM elogbook.audit")).all())
        held = connection.scalars(
            sa.text(
                "SELECT password_hash FROM elogbook.account WHERE password_hash IS NOT NULL "
                "UNION ALL SELECT secret_hash FROM elogbook.token"
            )
        ).all()
    assert len(held) > 2
    assert not any(text in kept for text in [*held, secret])
    with engine.begin() as connection, pytest.raises(ProgrammingError, match="only added to"):
        connection.execute(sa.text("DELETE FROM elogbook.audit"))


def test_only_who_manages_sees_the_log(session_of_two_samples: Site) -> None:
    with session_of_two_samples.as_program("airflow") as program:
        assert program.get(f"{BOOK}/audit").status_code == 403
    with session_of_two_samples.as_program("operator1") as operator:
        assert operator.get("/lgbk/ws/audit").status_code == 403
    with session_of_two_samples.as_program("admin") as admin:
        assert changes(admin, "/lgbk/ws/audit", table="instrument")[0]["after"]["id"] == "TEM1"


def test_the_sign_on_proxys_header_counts_only_from_the_proxy(start_site: Callable[..., Site]) -> None:
    header = {"x-forwarded-user": "operator1@example.org"}
    near = start_site(sso_header="x-forwarded-user", sso_proxies=frozenset({ip_network("127.0.0.0/8")}))
    far = start_site(sso_header="x-forwarded-user", sso_proxies=frozenset({ip_network("192.0.2.0/24")}))
    with near.as_program("operator1") as operator:
        register(operator, "20261122-CS01")
    lock = "/lgbk/ws/lock_unlock_experiment?experiment_name=20261122-CS01"
    with far.anonymous() as stranger:
        assert stranger.get("/lgbk/ws/instruments", headers=header).status_code == 403
    with near.anonymous() as browser:
        assert browser.get("/session", headers=header).json()["value"]["user"] == "operator1"
        assert browser.get("/session", headers={"x-forwarded-user": "nobody9"}).status_code == 403
        assert browser.post(lock, headers=header).status_code == 403
        foreign = {**header, "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        assert browser.post(lock, headers=foreign).status_code == 403
        add = f"{BOOK}/add_collaborator?uid=uid:reader1"
        assert browser.get(add, headers={**header, "sec-fetch-site": "same-origin"}).status_code == 403
        assert browser.post(lock, headers={**header, "sec-fetch-site": "same-origin"}).status_code == 200
    with near.as_program("operator1") as operator:
        assert changes(operator, limit=1)[0]["after"] == {"is_locked": True}


def test_a_client_address_is_believed_only_from_the_pages_own_server(start_site: Callable[..., Site]) -> None:
    site = start_site(failed_logins_per_address=3, web_account="airflow")
    wrong = {"password": "wrong wrong wrong"}

    def fail(user: str, address: str, secret: str) -> int:
        headers = {"x-cryodaq-web": secret, "x-cryodaq-client": address}
        with site.anonymous() as browser:
            return browser.post("/session", json={"user": user, **wrong}, headers=headers).status_code

    assert [fail(f"user{n}", "198.51.100.7", "x") for n in range(4)] == [403, 403, 403, 429]
    assert fail("user5", "198.51.100.8", "x") == 403
    assert [fail(f"user{n}", f"203.0.113.{n}", "guess") for n in range(6, 10)] == [403, 403, 403, 429]


def test_only_the_pages_own_server_opens_sessions_without_a_password(start_site: Callable[..., Site]) -> None:
    proxies = frozenset({ip_network("192.0.2.0/24")})
    site = start_site(web_account="airflow", sso_header="x-forwarded-user", sso_proxies=proxies)
    without = start_site(web_account="airflow")
    with without.anonymous() as browser:  # where nobody signs on, nobody comes in so
        answer = browser.post("/session", json={"trusted_user": "pi1"}, headers={"x-cryodaq-web": "x"})
        assert answer.status_code == 403
    with site.anonymous() as browser:
        for headers in ({}, {"x-cryodaq-web": "guess"}):
            assert browser.post("/session", json={"trusted_user": "admin"}, headers=headers).status_code == 403
        opened = browser.post("/session", json={"trusted_user": "pi1"}, headers={"x-cryodaq-web": "x"})
        assert opened.json()["value"]["user"] == "pi1"
        assert browser.get("/session").json()["value"]["user"] == "pi1"


def test_the_pages_tell_the_elogbook_which_browser_they_answer(start_site: Callable[..., Site]) -> None:
    site = start_site(web_account="airflow")
    engine = site.engine()
    with engine.begin() as connection:
        accounts.set_password(connection, "pi1", password=PASSWORD)
    access = SessionAccess(site.base, web_secret="x")
    site.opened.callback(access.close)
    settings = WebSettings(
        database_url=site.database_url,
        access=access,
        microscopes=("tem1",),
        zone=ZoneInfo("UTC"),
    )
    for address, password in (("203.0.113.5", "wrong wrong"), ("203.0.113.6", PASSWORD)):
        with TestClient(create_app(settings), client=(address, 50_000), follow_redirects=False) as browser:
            browser.post("/login", data={"user": "pi1", "password": password}, headers={"origin": "http://testserver"})
    with engine.connect() as connection:
        failed = connection.scalars(sa.text("SELECT address FROM elogbook.failed_login")).all()
        newest = connection.execute(
            sa.text("SELECT uid, origin ->> 'address' FROM elogbook.audit WHERE table_name = 'browser_session'")
        ).all()
    assert failed == ["203.0.113.5"]
    assert [tuple(row) for row in newest] == [("pi1", "203.0.113.6")]
