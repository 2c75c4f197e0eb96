"""How gain references lie is remembered for each microscope, and a contradiction is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from sqlalchemy import Engine, update

from cryodaq.app.remember_gain import remember_gain_orientation, tell_wrong_gain, usual_gain_orientation
from cryodaq.domain.gain_memory import SETTLED_AFTER
from cryodaq.domain.layout import SampleLayout
from cryodaq.domain.results import AlignmentResult
from cryodaq.errors import WrongGainError
from cryodaq.imaging.fixed_pattern import as_png
from cryodaq.ledger import events
from cryodaq.ledger import tables as t
from cryodaq.ledger.results import MovieToProcess, movie_to_process
from cryodaq.testing.seeded_ledger import LedgerSeeder, example_alignment

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def movie_and_result(seed: LedgerSeeder, engine: Engine) -> tuple[MovieToProcess, AlignmentResult]:
    movie = seed.add_movie(seed.add_sample("d" * 24), "m1")
    with engine.begin() as connection:
        changed = update(t.movie).where(t.movie.c.id == movie.id)
        connection.execute(changed.values(gain_target="/gpfs/sample/raw/GainRefs/K3.mrc"))
        found = movie_to_process(connection, movie.id, movie.branch_id)
    assert found is not None
    return found, replace(example_alignment(movie), gain_orientation="rows reversed", gain_orientation_certain=True)


def alarms(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [one.text for one in events.open_alarms(connection) if one.key.startswith("gain-orientation:")]


def test_what_a_movie_shows_is_the_usual_orientation_of_the_next(seed: LedgerSeeder, engine: Engine) -> None:
    movie, shown = movie_and_result(seed, engine)
    assert usual_gain_orientation(engine, movie) is None
    remember_gain_orientation(engine, movie, replace(shown, gain_orientation_certain=False), at=NOW)
    assert usual_gain_orientation(engine, movie) is None  # it had too few counts to show anything
    remember_gain_orientation(engine, movie, shown, at=NOW)
    assert usual_gain_orientation(engine, movie) == "rows reversed"
    assert usual_gain_orientation(engine, replace(movie, gain="/g/K3.dm4")) is None
    assert usual_gain_orientation(engine, replace(movie, microscope="tem9")) is None
    assert usual_gain_orientation(engine, replace(movie, gain=None)) is None
    assert alarms(engine) == []


def test_a_contradiction_is_told_and_believed_when_it_lasts(seed: LedgerSeeder, engine: Engine) -> None:
    movie, shown = movie_and_result(seed, engine)
    other = replace(shown, gain_orientation="as stored")
    remember_gain_orientation(engine, movie, shown, at=NOW)
    remember_gain_orientation(engine, movie, other, at=NOW)
    (text,) = alarms(engine)
    assert "m1 shows that K3.mrc has to be applied 'as stored'; until now it was 'rows reversed'" in text
    assert usual_gain_orientation(engine, movie) == "rows reversed"
    for _ in range(2):
        remember_gain_orientation(engine, movie, other, at=NOW)
    assert usual_gain_orientation(engine, movie) == "as stored"
    for _ in range(SETTLED_AFTER - 1):
        remember_gain_orientation(engine, movie, other, at=NOW)
    assert len(alarms(engine)) == 1
    remember_gain_orientation(engine, movie, other, at=NOW)
    assert alarms(engine) == []


def test_a_gain_of_another_camera_is_told_with_a_picture_until_one_fits(
    seed: LedgerSeeder, engine: Engine, tmp_path: Path
) -> None:
    movie, shown = movie_and_result(seed, engine)
    pattern = np.random.default_rng(5).integers(0, 255, (64, 96)).astype(np.uint8)
    layout = SampleLayout(root=PurePosixPath(tmp_path)).branch("live")
    error = WrongGainError("the frames show a pattern", picture=as_png(pattern))
    tell_wrong_gain(engine, movie, error, layout=layout, at=NOW)
    with engine.connect() as connection:
        (alarm,) = [one for one in events.open_alarms(connection) if one.key.startswith("gain-wrong:")]
    assert "K3.mrc is not the gain reference of m1" in alarm.text
    assert str(layout.gain_contradiction) in alarm.text
    assert np.array_equal(np.asarray(Image.open(layout.gain_contradiction)), pattern)
    remember_gain_orientation(engine, movie, replace(shown, gain_orientation_certain=False), at=NOW)
    with engine.connect() as connection:
        assert [one for one in events.open_alarms(connection) if one.key.startswith("gain-wrong:")] == []


def test_frames_that_show_neither_sign_of_their_gain_are_told_until_others_do(
    seed: LedgerSeeder, engine: Engine
) -> None:
    movie, shown = movie_and_result(seed, engine)

    def told() -> list[str]:
        with engine.connect() as connection:
            return [one.text for one in events.open_alarms(connection) if one.key.startswith("gain-unproven:")]

    nothing = replace(shown, gain_orientation=None, gain_orientation_certain=False)
    remember_gain_orientation(engine, replace(movie, gain=None), nothing, at=NOW)
    assert told() == []
    remember_gain_orientation(engine, movie, nothing, at=NOW)
    (text,) = told()
    assert "show neither that they need K3.mrc nor that the camera has corrected them with it" in text
    remember_gain_orientation(engine, movie, replace(shown, gain_orientation_certain=False), at=NOW)
    assert len(told()) == 1  # too few counts to show anything
    corrected = replace(shown, gain_orientation=None, gain_orientation_certain=True)
    assert remember_gain_orientation(engine, movie, corrected, at=NOW) is None
    assert told() == []
