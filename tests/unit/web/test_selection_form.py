"""An address says a selection, and a selection an address."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import pytest
from starlette.datastructures import QueryParams

from cryodaq.web.selection_form import Asked, read_query


def read(query: str) -> Asked:
    return read_query(QueryParams(query), sample_id="a" * 24, branch_name="live")


def test_limits_are_said_in_shown_units_and_compared_in_stored_ones() -> None:
    asked = read("min_defocus_ang=0.8&max_defocus_ang=2,5&max_fit_resolution_ang=4")
    assert asked.selection.limits["defocus_ang"] == pytest.approx((8000.0, 25000.0))
    assert asked.selection.limits["fit_resolution_ang"] == (None, 4.0)
    assert asked.query["max_defocus_ang"] == "2.5"


@pytest.mark.parametrize(
    "query",
    [
        "max_fit_resolution_ang=nan&min_defocus_ang=inf",
        "state=<script>&which=perhaps&view=x&sort=drop+table&order=sideways",
        "page=0",
        "page=-1",
        "page=99999999999",
        "max_nothing=3",
        "page=%D9%A3",
        "from=yesterday&until=9999-12-31T23:59:59-23:00&min_stage_x_um=here",
    ],
)
def test_what_makes_no_sense_counts_as_not_said(query: str) -> None:
    asked = read(query)
    assert asked.query == {}
    assert (asked.page, asked.is_narrowed, asked.address()) == (1, False, "?")


def test_an_address_keeps_everything_but_the_page() -> None:
    asked = read("which=in&q=Foil+%26+Hole&page=3&max_motion_total_ang=30")
    assert parse_qs(asked.address(view="table")[1:]) == {
        "which": ["in"],
        "q": ["Foil & Hole"],
        "max_motion_total_ang": ["30"],
        "view": ["table"],
    }
    assert "page=4" in asked.address(page="4")


def test_what_is_exported_is_in_unless_out_is_asked_for() -> None:
    assert read("").meant().which == "in"
    assert read("which=out").meant().which == "out"


def test_what_the_program_said_and_the_time_narrow_which_movies_are_meant() -> None:
    zone = ZoneInfo("Europe/Berlin")
    query = "max_applied_defocus_ang=1.2&min_stage_x_um=-20.5&from=2026-01-08T16:49&until=2026-01-08T16:00:00Z"
    asked = read_query(QueryParams(query), sample_id="a" * 24, branch_name="live", zone=zone)
    assert asked.selection.said == {
        "applied_defocus_ang": (None, pytest.approx(12_000.0)),
        "stage_x_um": (-20.5, None),
    }
    assert asked.selection.taken == (
        datetime(2026, 1, 8, 16, 49, tzinfo=zone),
        datetime(2026, 1, 8, 17, 0, tzinfo=zone),
    )
    assert asked.selection.limits == {}
    assert (asked.looks_for, asked.is_narrowed) == (True, True)
    assert asked.query["until"] == "2026-01-08T17:00"
    assert asked.without_limits() == "?"
