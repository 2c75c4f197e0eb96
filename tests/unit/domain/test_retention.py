"""A file leaves the microscope only when its copy was proved, and when the rule says so."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.microscope import RetentionRule
from cryodaq.domain.retention import RemovalCandidate, bytes_to_free, reason_to_keep

NOON = datetime(2026, 1, 4, 12, tzinfo=UTC)
RULE = RetentionRule(enabled=True, older_than_h=72, larger_than_mb=100, patterns=("*.tif", "*_fractions.TIFF"))
MOVIE = RemovalCandidate(
    path="Session/a_Fractions.tiff",
    role=FileRole.MOVIE,
    size_bytes=300_000_000,
    verified_at=NOON - timedelta(hours=73),
)


def test_an_old_large_verified_file_that_a_pattern_names_may_go() -> None:
    assert reason_to_keep(MOVIE, RULE, now=NOON) is None


@pytest.mark.parametrize(
    ("candidate", "rule", "why"),
    [
        (MOVIE, replace(RULE, enabled=False), "not switched on"),
        (replace(MOVIE, verified_at=None), RULE, "not verified"),
        (replace(MOVIE, verified_at=NOON - timedelta(hours=71)), RULE, "less than 72 h"),
        (replace(MOVIE, size_bytes=100_000_000), RULE, "not larger than 100 MB"),
        (replace(MOVIE, path="Session/a.mrc"), RULE, "no pattern"),
        (replace(MOVIE, role=FileRole.LIVING), RULE, "programs still write"),
    ],
)
def test_everything_else_stays_and_says_why(candidate: RemovalCandidate, rule: RetentionRule, why: str) -> None:
    assert why in (reason_to_keep(candidate, rule, now=NOON) or "")


@given(
    enabled=st.booleans(),
    older_than_h=st.floats(0, 1000),
    larger_than_mb=st.floats(0, 1000),
    size_bytes=st.integers(0, 10**12),
    age_h=st.one_of(st.none(), st.floats(-10, 2000)),
)
def test_whatever_the_rule_nothing_unverified_ever_goes(
    enabled: bool, older_than_h: float, larger_than_mb: float, size_bytes: int, age_h: float | None
) -> None:
    rule = RetentionRule(enabled=enabled, older_than_h=older_than_h, larger_than_mb=larger_than_mb)
    verified_at = None if age_h is None else NOON - timedelta(hours=age_h)
    candidate = replace(MOVIE, size_bytes=size_bytes, verified_at=verified_at)
    if reason_to_keep(candidate, rule, now=NOON) is None:
        assert enabled
        assert verified_at is not None
        assert NOON - verified_at >= timedelta(hours=older_than_h)
        assert size_bytes > larger_than_mb * 1e6


@pytest.mark.parametrize("role", [FileRole.LIVING, FileRole.PREVIEW])
def test_after_its_days_a_proved_session_goes_as_a_whole(role: FileRole) -> None:
    small = replace(MOVIE, path="Session/EpuSession.dm", role=role, size_bytes=900)
    rule = replace(RULE, session_after_days=7)
    assert reason_to_keep(replace(small, session_proved_at=NOON - timedelta(days=7)), rule, now=NOON) is None
    assert reason_to_keep(replace(small, session_proved_at=NOON - timedelta(days=6)), rule, now=NOON)
    assert reason_to_keep(small, rule, now=NOON), "its session is not proved"
    assert reason_to_keep(replace(small, session_proved_at=NOON - timedelta(days=7)), RULE, now=NOON)
    unproved = replace(small, verified_at=None, session_proved_at=NOON - timedelta(days=7))
    assert reason_to_keep(unproved, rule, now=NOON) == "its copy is not verified"


@pytest.mark.parametrize(
    ("used", "going_on", "freed"), [(0.79, False, 0.0), (0.81, False, 0.21), (0.79, True, 0.19), (0.59, True, 0.0)]
)
def test_removal_begins_at_the_upper_mark_and_ends_at_the_lower_one(used: float, going_on: bool, freed: float) -> None:
    rule = replace(RULE, begin_above=0.8, until_below=0.6)
    free_bytes = round((1 - used) * 10**12)
    found = bytes_to_free(rule, free_bytes=free_bytes, total_bytes=10**12, going_on=going_on)
    assert found == pytest.approx(freed * 10**12, abs=1)


def test_without_marks_there_is_no_limit_and_with_marks_the_room_must_be_known() -> None:
    assert bytes_to_free(RULE, free_bytes=0, total_bytes=0, going_on=False) == math.inf
    assert bytes_to_free(replace(RULE, begin_above=0.8), free_bytes=0, total_bytes=0, going_on=True) == 0
