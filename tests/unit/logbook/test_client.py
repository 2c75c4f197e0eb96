"""The client against scripted servers: an explgbk's quirks, outages and hostile answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.domain.experiment import Assignment, RegisteredFile
from cryodaq.errors import LogbookAccessError, LogbookError, LogbookUnreachableError
from cryodaq.logbook import transport as transport_module
from cryodaq.logbook.access import SessionAccess
from cryodaq.logbook.client import LogbookClient
from cryodaq.logbook.quirks import EMBEDDED, EXPLGBK, Quirks
from cryodaq.logbook.transport import Credential

HTML_500 = "<!doctype html>\n<title>500 Internal Server Error</title>"
MOMENT = datetime(2026, 11, 22, 8, 1, 0, 123_456, tzinfo=UTC)
ACTIVE = "/lgbk/ws/activeexperiments"


def client_of(
    answer: Callable[[httpx.Request], httpx.Response], *, quirks: Quirks = EMBEDDED, url: str = "http://elog"
) -> LogbookClient:
    credential = Credential(secret="s3cret", user="airflow")
    return LogbookClient(url, credential=credential, quirks=quirks, transport=httpx.MockTransport(answer))


def always(status: int = 200, **body: object) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, **body)


def ok(value: object) -> httpx.Response:
    return httpx.Response(200, content=json.dumps({"success": True, "value": value}))


def test_a_real_explgbks_answers_are_understood() -> None:
    entry = {
        "instrument": "TEM1",
        "name": "20261122-CS01",
        "station": "0",
        "start_time": "2026-11-22T08:00:00+00:00",
        "switch_time": "2026-11-22T05:21:55.783000",
        "current_sample": "grid1",
    }
    samples = [
        {"_id": "6b02" * 6, "name": "grid2", "description": "", "params": None},
        {
            "_id": "6b01" * 6,
            "name": "grid1",
            "params": {"apix": "1.06", "x": [1], "bad": float("nan")},
            "current": True,
        },
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        assert "cookie" not in request.headers
        body = ok([entry] if request.url.path == ACTIVE else samples)
        body.headers["Set-Cookie"] = "session=roles; Path=/"
        return body

    state = client_of(answer, quirks=EXPLGBK).current_state("tem1", station=0)
    assert (state.assignment, state.experiment) == (Assignment.SAMPLE, "20261122-CS01")
    assert state.switched_at == datetime(2026, 11, 22, 5, 21, 55, 783_000, tzinfo=UTC)
    assert state.sample is not None
    assert state.sample.params == {"apix": "1.06", "x": "[1]", "bad": "NaN"}


def test_collaborators_numbers_come_from_text_and_may_be_unknown() -> None:
    people = [
        {"uid": "uid:pi1", "is_group": False, "full_name": "P", "uidNumber": "5003", "roles": ["LogBook/Editor"]},
        {"uid": "cryo", "is_group": True, "full_name": "N/A", "uidNumber": "N/A", "roles": []},
    ]
    found = client_of(lambda _: ok(people)).collaborators("20261122-CS01")
    assert [(person.posix_id, person.full_name) for person in found] == [(5003, "P"), (None, "")]


def test_an_explgbk_says_500_to_a_run_that_exists() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return ok({"num": "a/b"}) if request.method == "GET" else httpx.Response(500, text=HTML_500)

    client_of(answer, quirks=EXPLGBK).start_run("20261122-CS01", "a/b", sample_name="grid1", begun_at=MOMENT)
    assert asked[0].startswith("/run_control/20261122-CS01/ws/start_run?run_num=a%2Fb&start_time=2026-11-22T08%3A01")
    assert asked[1] == "/lgbk/20261122-CS01/ws/runs/a%2Fb"


def test_an_explgbks_500_is_a_refusal_but_ours_is_an_outage() -> None:
    answer = always(500, text=HTML_500)
    with pytest.raises(LogbookError) as refusal:
        client_of(answer, quirks=EXPLGBK).start_run("e", "r", sample_name="s", begun_at=MOMENT)
    assert not refusal.value.retryable
    with pytest.raises(LogbookUnreachableError):
        client_of(answer, quirks=EMBEDDED).start_run("e", "r", sample_name="s", begun_at=MOMENT)


def test_an_explgbk_is_never_asked_to_end_a_run() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    client_of(answer, quirks=EXPLGBK).end_run("e", "r", ended_at=MOMENT)


@pytest.mark.parametrize(
    ("quirks", "written", "run"),
    [(EXPLGBK, "2026-11-22T08:01:00Z", 42), (EMBEDDED, "2026-11-22T08:01:00.123Z", "0042")],
)
def test_files_are_registered_as_each_server_needs_it(quirks: Quirks, written: str, run: object) -> None:
    sent: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        batch = json.loads(request.content)
        sent.extend(batch)
        return httpx.Response(200, json=[{"success": True} for _ in batch])

    file = RegisteredFile(path="raw/a.tif", size_bytes=5, checksum="x", created_at=MOMENT, modified_at=MOMENT)
    client_of(answer, quirks=quirks).register_files("e", "0042", files=[file] * 1100)
    assert len(sent) == 1100
    assert (sent[0]["create_timestamp"], sent[0]["run_num"]) == (written, run)


def test_one_refused_file_is_told_by_name() -> None:
    file = RegisteredFile(path="raw/a.tif", size_bytes=5, checksum="x", created_at=MOMENT, modified_at=MOMENT)
    answer = always(json=[{"success": False, "errormsg": "no"}])
    with pytest.raises(LogbookError, match=r"raw/a\.tif: no"):
        client_of(answer).register_files("e", "r", files=[file])
    with pytest.raises(LogbookError, match="0 of 1"):
        client_of(always(json=[])).register_files("e", "r", files=[file])


def test_params_that_are_no_numbers_are_sent_as_null() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"a": None, "b": 1.5, "c": None}
        return ok({})

    client_of(answer).add_run_params("e", "r", params={"a": float("nan"), "b": 1.5, "c": float("inf")})


@pytest.mark.parametrize("status", [401, 403])
def test_access_is_told_apart(status: int) -> None:
    with pytest.raises(LogbookAccessError):
        client_of(always(status, text=HTML_500)).instruments()


@pytest.mark.parametrize("status", [301, 302, 400, 404, 409, 415, 423])
def test_other_refusals_are_final_and_redirects_are_not_followed(status: int) -> None:
    answer = always(status, text="locked", headers={"Location": "http://elsewhere/"})
    with pytest.raises(LogbookError, match="locked") as caught:
        client_of(answer).instruments()
    assert not caught.value.retryable


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_out_of_order_is_asked_again_later(status: int) -> None:
    for quirks in (EMBEDDED, EXPLGBK):
        with pytest.raises(LogbookUnreachableError):
            client_of(always(status), quirks=quirks).instruments()


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")])
def test_no_answer_is_an_outage(error: httpx.TransportError) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(LogbookUnreachableError):
        client_of(answer).instruments()


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(LogbookError, match="larger"):
        client_of(always(content=b" " * 5000)).instruments()


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", "1", "{}", "[" * 100_000, '{"success": true}', '{"success": 1, "value": []}', "\xff\x00"]
    + [json.dumps({"success": True, "value": value}) for value in ("x", 5, {}, [1], [[]], [{}], [{"_id": 5}])]
    + ['{"success": true, "value": [{"_id": "a", "params": []}]}', '{"success": true, "value": NaN}'],
)
def test_answers_that_make_no_sense_are_errors_not_crashes(body: str) -> None:
    client = client_of(always(text=body))
    for ask in (client.instruments, lambda: client.samples("e"), lambda: client.collaborators("e")):
        with pytest.raises(LogbookError):
            ask()


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["_id", "name", "instrument", "station", "switch_time", "current_sample", "current", "params"]
            )
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(junk)
def test_no_answer_whatsoever_crashes_the_poll(value: object) -> None:
    body = json.dumps({"success": True, "value": value})
    client = client_of(always(text=body))
    try:
        state = client.current_state("TEM1", station=0)
    except LogbookError:
        return
    assert state.assignment in set(Assignment)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_name_is_sent_inside_the_address_or_refused(experiment: str, run: str) -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return ok({})

    try:
        client_of(answer).add_run_params(experiment, run, params={"a": 1})
    except LogbookError:
        return
    (request,) = seen
    assert request.url.host == "elog"
    assert request.url.params["run_num"] == run


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
def test_names_that_would_lead_elsewhere_are_not_sent(name: str) -> None:
    with pytest.raises(LogbookError):
        client_of(always(500)).samples(name)


def test_secrets_are_not_shown() -> None:
    assert "s3cret" not in repr(Credential(secret="s3cret", user="airflow"))


def test_a_sessions_owner_is_asked_with_the_browsers_own_cookie() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["cookie"] != "cryodaq_session=abc-_1":
            return httpx.Response(403, text="Log in.")
        return ok({"user": "pi1", "full_name": "P", "privileges": ["read"], "experiments": []})

    access = SessionAccess("http://elog", transport=httpx.MockTransport(answer))
    person = access.identify("abc-_1")
    assert person is not None
    assert (person.user, person.privileges) == ("pi1", frozenset({"read"}))
    assert access.privileges("abc-_1", "e") == frozenset({"read"})
    for forged in ("", "wrong", "a; other=1", "a\r\nX: y", "ä"):
        assert access.identify(forged) is None
        assert access.privileges(forged, "e") == frozenset()
