"""Every call of the OpenAPI document with hostile values: refusals in sentences, never an error of ours.

`CRYODAQ_FUZZ_SEED` and `CRYODAQ_FUZZ_CALLS` repeat a run, or make a longer one.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from .conftest import SAMPLE_PARAMS, Site, experiment, register

EXPERIMENT, OTHER = "20261122-CS01", "20261122-CS02"
CALLS = int(os.environ.get("CRYODAQ_FUZZ_CALLS", "1000"))
HOSTILE: list[Any] = [
    "",
    " ",
    ".",
    "..",
    "../../etc/passwd",
    "a/b",
    "a\\b",
    "<script>alert(1)</script>",
    "'; DROP TABLE elogbook.run; --",
    "%00",
    "\u0000",
    "\ud800",
    "Ünïcödé 日本 🧊",
    "\u202eevil",
    "x" * 3000,
    "日" * 900,
    "１２",
    "²",
    "00042",
    "-1",
    "1e400",
    "NaN",
    "null",
    "true",
    "9" * 40,
    "2026-11-22T08:00:00",
    "2026-11-22 08:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999-14:00",
    "x:(a+)+$",
    "x:[",
    "t:",
    "current",
    "LogBook/Reader",
    "LogBook/Nobody",
    "uid:pi1",
    "f" * 24,
    "Z" * 24,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**70),
    1.5,
    1e308,
    True,
    None,
    [],
    {},
    [[[[]]]],
    {"a": {"b": [None, "\u0000"]}},
    {"$where": "1", "a.b": 1},
]
KNOWN = [EXPERIMENT, OTHER, "TEM1", "grid1", "grid2", "FoilHole_1", "1", "Movies", "Reader", "SLAC", "samples", "0"]


class Fuzzer:
    """Draws calls from the OpenAPI document."""

    def __init__(self, document: dict[str, Any], source: random.Random) -> None:
        self.source = source
        self.calls = [
            (path, method, call)
            for path, methods in document["paths"].items()
            for method, call in methods.items()
            if not path.startswith("/session") or method == "get"  # a session that ends would end the run
        ]

    def call(self) -> tuple[str, str, dict[str, Any]]:
        path, method, call = self.source.choice(self.calls)
        query = {}
        for parameter in call.get("parameters", []):
            found = self.text()
            if parameter["in"] == "path":
                value = EXPERIMENT if parameter["name"] == "experiment" and self.source.random() < 0.8 else found
                path = path.replace("{" + parameter["name"] + "}", quote(value.encode(errors="replace"), safe=""))
            elif parameter["required"] or self.source.random() < 0.5:
                query[parameter["name"]] = encodable(found)
        return method.upper(), self.source.choice(["", "/cryoem-data"]) + path, {"params": query, **self.body(call)}

    def body(self, call: dict[str, Any]) -> dict[str, Any]:
        contents = call.get("requestBody", {}).get("content")
        if not contents:
            return {}
        kind = self.source.choice(list(contents))
        value = self.value(contents[kind].get("schema", {}))
        if self.source.random() < 0.05:
            return {"content": self.source.randbytes(50), "headers": {"content-type": kind}}
        if kind == "application/json":
            text = json.dumps(value)
            return {"content": text.encode(errors="surrogatepass"), "headers": {"content-type": kind}}
        fields = (
            {encodable(name): encodable(str(one)) for name, one in value.items() if name != "files"}
            if isinstance(value, dict)
            else {}
        )
        if kind == "multipart/form-data":
            content = self.source.choice([b"", b"hello", b"\x89PNG\r\n\x1a\nbroken", b"II*\0" + bytes(40), b"GIF89a"])
            return {
                "data": fields,
                "files": [("files", (fields.get("log_title", "a")[:50] or "a", content, "image/png"))],
            }
        return {"data": fields}

    def text(self) -> str:
        value = self.source.choice(KNOWN) if self.source.random() < 0.5 else self.source.choice(HOSTILE)
        return value if isinstance(value, str) else json.dumps(value)

    def value(self, shape: dict[str, Any]) -> Any:
        if self.source.random() < 0.15:
            return self.source.choice(HOSTILE)
        if "oneOf" in shape:
            return self.value(self.source.choice(shape["oneOf"]))
        match shape.get("type"):
            case "object":
                chosen = {
                    name: self.value(inner)
                    for name, inner in shape.get("properties", {}).items()
                    if name in shape.get("required", []) or self.source.random() < 0.5
                }
                return chosen | ({self.text(): self.source.choice(HOSTILE)} if self.source.random() < 0.3 else {})
            case "array":
                return [self.value(shape["items"]) for _ in range(self.source.randrange(4))]
            case "integer":
                return self.source.choice([0, 1, 7, -3, 2**62])
            case "boolean":
                return self.source.random() < 0.5
            case _:
                if shape.get("format") == "date-time":
                    return self.source.choice(["2026-11-22T08:00:00.000Z", "2026-11-22T08:00:00", self.text()])
                return self.source.choice(shape.get("enum") or [self.text()])


def encodable(text: str) -> str:
    """Text as a form or a query can carry it: half a surrogate pair has no UTF-8, in no client."""
    return text.encode(errors="replace").decode()


@pytest.fixture
def admin(session_of_two_samples: Site) -> Iterator[httpx.Client]:
    with session_of_two_samples.as_program("admin") as client:
        register(client, OTHER)
        for name in (EXPERIMENT, OTHER):
            client.post(
                f"/lgbk/{name}/ws/add_collaborator", params={"uid": "uid:admin", "role_fq_name": "LogBook/Manager"}
            )
        client.post(f"/run_control/{EXPERIMENT}/ws/start_run", params={"run_num": "FoilHole_1", "sample": "grid1"})
        table = {"name": "Movies", "coldefs": [{"source": "params.a"}, {"source": "editable_params.b.value"}]}
        client.post(f"/lgbk/{EXPERIMENT}/ws/create_update_user_run_table_def", json=table)
        yield client


def test_no_call_of_the_document_breaks_the_server(admin: httpx.Client) -> None:
    seed = int(os.environ.get("CRYODAQ_FUZZ_SEED", random.randrange(2**32)))
    print("CRYODAQ_FUZZ_SEED =", seed)
    fuzzer = Fuzzer(admin.get("/openapi.json").json(), random.Random(seed))
    assert len(fuzzer.calls) > 70
    statuses: Counter[int] = Counter()
    for _ in range(CALLS):
        method, path, request = fuzzer.call()
        if method == "DELETE" and path.endswith(f"/lgbk/{EXPERIMENT}/"):
            continue  # what the other calls are about
        answer = admin.request(method, path, **request)
        statuses[answer.status_code] += 1
        told = f"{method} {path} {str(request)[:1000]} -> {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500, told
        if answer.status_code == 200 and answer.headers["content-type"] == "application/json":
            found = answer.json()
            assert isinstance(found, list | dict), told
        elif answer.status_code >= 400:
            assert answer.text, told
            assert "<" not in answer.text or answer.headers["content-type"].startswith(
                ("text/plain", "application/json")
            )
    print(sorted(statuses.items()))
    assert admin.get(f"/lgbk/{EXPERIMENT}/ws/info").status_code == 200


def test_ten_megabytes_are_refused_and_nothing_is_stored(admin: httpx.Client) -> None:
    large = json.dumps({"name": "big", "description": "", "params": {**SAMPLE_PARAMS, "x": "y" * 10_000_000}})
    answer = admin.post(f"/lgbk/{EXPERIMENT}/ws/samples/", content=large, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert admin.get(f"/lgbk/{EXPERIMENT}/ws/samples/big").json()["value"] is None


def test_of_two_operators_who_switch_at_once_one_hears_that_it_is_done(session_of_two_samples: Site) -> None:
    with session_of_two_samples.as_program("admin") as admin:
        register(admin, OTHER)
        before = len(history(admin))
        body = {"experiment_name": OTHER, "instrument": "TEM1", "station": 0}
        answers: list[httpx.Response] = []

        def switch() -> None:
            with session_of_two_samples.as_program("operator1") as operator:
                answers.append(operator.post("/lgbk/ws/switch_experiment", json=body))

        operators = [threading.Thread(target=switch) for _ in range(6)]
        for one in operators:
            one.start()
        for one in operators:
            one.join()
        assert sorted(answer.json()["success"] for answer in answers) == [False] * 5 + [True]
        assert all("already currently active" in a.text for a in answers if not a.json()["success"])
        assert len(history(admin)) == before + 1


def history(client: httpx.Client) -> list[Any]:
    return client.get("/lgbk/ws/instrument_switch_history", params={"instrument": "TEM1"}).json()["value"]


def test_a_wrong_parameter_is_named_in_a_sentence(admin: httpx.Client) -> None:
    answer = admin.post(
        "/lgbk/ws/switch_experiment", params={}, content=b"{", headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.text) == (400, "The body is not valid JSON")
    answer = admin.get("/lgbk/ws/instrument_switch_history", params={"instrument": "TEM1", "station": "-1"})
    assert (answer.status_code, answer.text) == (422, "station: Input should be greater than or equal to 0")


def test_half_of_a_registration_is_never_kept(admin: httpx.Client) -> None:
    wrong = {**experiment(), "initial_sample": "../x"}
    answer = admin.post("/lgbk/ws/register_new_experiment", params={"experiment_name": "20261122-CS09"}, json=wrong)
    assert answer.status_code == 400
    assert admin.get("/lgbk/20261122-CS09/ws/info").status_code == 404
