"""What is said of the gain reference before a session, from what the imaging found of the movies before."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import pytest

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.parameters import InstrumentDefaults, read_operator_settings
from cryodaq.domain.session_checks import Verdict
from cryodaq.ledger.board import MicroscopeState, SampleProgress
from cryodaq.ledger.readiness import GainState, GainUse, LatestExposure
from cryodaq.web.preflight import Found, Intended, preflight

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
NONE = GainUse(orientations={}, gain_name=None, misfits=0, residual=None)


TEM1 = Microscope(
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


def looked_at(
    use: GainUse = NONE, *, last_gain_bytes: int | None = None, latest: LatestExposure | None = None
) -> Found:
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
    return Found(state=state, gain=gain, last_gain_bytes=last_gain_bytes, gain_use=use, latest=latest)


def said(use: GainUse, *, last_gain_bytes: int | None = None) -> tuple[Verdict, str]:
    found = looked_at(use, last_gain_bytes=last_gain_bytes)
    (check,) = [one for one in preflight(TEM1, found, storage=None, now=NOW) if one.subject == "Gain reference"]
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


def compared(
    metadata: AcquisitionMetadata, *, hours_ago: float = 3, calibrated: float | None = None, **params: object
) -> tuple[Verdict, str] | None:
    """What is said of parameters (0.83 Å, 40 frames of 1 e⁻/Å² unless told) beside the last exposure."""
    latest = LatestExposure(registered_at=NOW - timedelta(hours=hours_ago), metadata=asdict(metadata))
    settings = read_operator_settings({"apix": 0.83, "fmdose": 1.0, "total_frames": 40, **params})  # type: ignore[dict-item]  # as people write
    intended = Intended(settings=settings, calibrated_pixel_size_ang=lambda *_: calibrated)
    made = preflight(TEM1, looked_at(latest=latest), storage=None, now=NOW, intended=intended)
    return next(((one.verdict, one.text) for one in made if one.subject == "Metadata"), None)


LAST = AcquisitionMetadata(source="a.xml", pixel_size_ang=0.84, voltage_kv=300.0, frame_count=40)


def test_parameters_are_compared_with_what_the_microscope_wrote_last() -> None:
    assert compared(LAST) == (Verdict.GOOD, "the last exposure, 3\u00a0h 0\u00a0min ago, says nothing else")
    found = compared(LAST, apix=1.66, kev=200, total_frames=50)
    assert found is not None
    assert found[0] is Verdict.DOUBT
    for words in (
        "pixel size of the frames: operator says 1.66 Å, metadata says 0.84 Å; a factor of two",
        "voltage: operator says 200 kV, metadata says 300 kV",
        "frames: metadata says 40, operator says 50",
        "Was it changed since?",
    ):
        assert words in found[1]


def test_the_facilitys_calibration_stands_above_the_operator_here_too() -> None:
    found = compared(LAST, calibrated=1.06)
    assert found is not None
    assert "calibrated says 1.06 Å, metadata says 0.84 Å" in found[1]
    assert "operator" not in found[1]


def test_an_exposure_of_days_ago_says_nothing_of_today() -> None:
    assert compared(LAST, hours_ago=30, apix=1.66) is None
