"""What is said of the gain reference before a session, from what the imaging found of the movies before."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.domain.session_checks import Verdict
from cryodaq.ledger.board import MicroscopeState, SampleProgress
from cryodaq.ledger.readiness import GainState, GainUse
from cryodaq.web.preflight import Found, preflight

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
NONE = GainUse(orientations={}, gain_name=None, misfits=0, residual=None)


def said(use: GainUse, *, last_gain_bytes: int | None = None) -> tuple[Verdict, str]:
    microscope = Microscope(
        name="tem1",
        instrument="TEM1",
        station=0,
        shares=(Share(root=PurePosixPath("/share")),),
        gain_root=PurePosixPath("/gains"),
        detector="K3",
        defaults=InstrumentDefaults(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1),
        retention=RetentionRule(),
        queue="tem1",
    )
    state = MicroscopeState(
        name="tem1",
        assignment="standby",
        experiment=None,
        sample_id=None,
        sample_name=None,
        since=None,
        asked_at=None,
        problem=None,
        progress=SampleProgress(),
        draining=(),
        unowned=0,
        movies_last_hour=0,
        last_movie_at=None,
        shares=(),
        alarms=(),
    )
    gain = GainState(path="K3_gain_A.mrc", size_bytes=4_000_000, seen_at=NOW, settled=True)
    found = Found(state=state, gain=gain, last_gain_bytes=last_gain_bytes, gain_use=use)
    (check,) = [one for one in preflight(microscope, found, storage=None, now=NOW) if one.subject == "Gain reference"]
    return check.verdict, check.text


@pytest.mark.parametrize(
    ("use", "verdict", "words"),
    [
        (NONE, Verdict.GOOD, "known with the first aligned movie"),
        (
            GainUse(orientations={"rotated 90°": 20}, gain_name="K3_gain_A.mrc", misfits=0, residual=None),
            Verdict.GOOD,
            "this one fitted the last 20\u00a0movies, orientation rotated 90°",
        ),
        (
            GainUse(orientations={"as stored": 2}, gain_name="older.mrc", misfits=0, residual=None),
            Verdict.GOOD,
            "an earlier one, older.mrc, fitted",
        ),
        (
            GainUse(orientations={"as stored": 2, "flipped": 5}, gain_name="x", misfits=0, residual=None),
            Verdict.DOUBT,
            "turned differently",
        ),
        (
            GainUse(orientations={}, gain_name=None, misfits=3, residual=None),
            Verdict.DOUBT,
            "3\u00a0recent movies wait because no gain reference has the size",
        ),
        (
            GainUse(orientations={"as stored": 9}, gain_name="x", misfits=0, residual="a pattern of 3 %"),
            Verdict.DOUBT,
            "a pattern of 3 %",
        ),
    ],
)
def test_the_gain_is_judged_by_how_it_fitted(use: GainUse, verdict: Verdict, words: str) -> None:
    found = said(use)
    assert found[0] is verdict
    assert words in found[1]


def test_another_size_than_before_is_a_doubt() -> None:
    assert said(NONE, last_gain_bytes=1_000)[0] is Verdict.DOUBT
