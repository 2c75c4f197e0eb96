"""Requests that other sites make a browser send are refused."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from cryodaq.web.protection import is_same_origin, safe_next


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "http://facility:8080"}, True),
        ({"origin": "http://facility:8080"}, True),
        ({"origin": "http://facility:8081"}, False),
        ({"origin": "https://facility:8080"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://facility:8080.evil.example"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://facility:8080"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({}, False),
    ],
)
def test_only_our_own_pages_may_change_anything(headers: dict[str, str], expected: bool) -> None:
    found = is_same_origin(Headers({"host": "facility:8080", **headers}), scheme="http", public_origin=None)
    assert found is expected


def test_behind_a_proxy_the_public_origin_counts() -> None:
    headers = Headers({"host": "10.0.0.3:8080", "origin": "https://daq.example.org"})
    assert is_same_origin(headers, scheme="http", public_origin="https://daq.example.org/")
    assert not is_same_origin(headers, scheme="http", public_origin=None)


@pytest.mark.parametrize("path", ["/samples/a?view=table", "/movies/3"])
def test_a_path_of_ours_is_a_place_to_go_back_to(path: str) -> None:
    assert safe_next(path) == path


@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\tx",
        "/a\r\nb",
        "javascript:x",
        "/login",
    ],
)
def test_anything_else_leads_to_the_board(path: str | None) -> None:
    assert safe_next(path) == "/"
