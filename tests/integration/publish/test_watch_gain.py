"""A stale gain reference is told by what it leaves in the latest movies."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, update

from cryodaq.app.watch_gain import COMPARED, EVERY, is_looked_after, remove_outdated_sums, watch_gain
from cryodaq.formats.mrc import write_micrograph
from cryodaq.ledger import events
from cryodaq.ledger import tables as t
from cryodaq.ledger.gains import sums_with_gain
from cryodaq.ledger.results import MovieToProcess, movie_to_process
from cryodaq.testing.seeded_ledger import LedgerSeeder

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
GAIN = "/gpfs/sample/raw/GainRefs/K3_20261120.mrc"


def publish_many(seed: LedgerSeeder, engine: Engine, *, first: int, pattern_rms: float) -> MovieToProcess:
    """Record movies of one gain as published, whose sums have a pattern. Return one that is followed by a look."""
    sample = seed.add_sample("c" * 24)
    random = np.random.default_rng(first)
    camera = 1 + pattern_rms * np.random.default_rng(1).normal(size=(96, 96))
    for number in itertools.count(first):
        movie = seed.add_movie(sample, f"m{number:04d}", state="published")
        align, _, _ = seed.add_measurements(movie)
        write_micrograph(Path(align.unaligned_sum), random.poisson(40 * camera).astype(np.float32), pixel_size_ang=1.0)
        with engine.begin() as connection:
            connection.execute(update(t.movie).where(t.movie.c.id == movie.id).values(gain_target=GAIN))
        if number - first >= COMPARED - 1 and is_looked_after(movie.id):
            break
    with engine.connect() as connection:
        found = movie_to_process(connection, movie.id, movie.branch_id)
    assert found is not None
    return found


def alarms(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [one.text for one in events.open_alarms(connection) if one.key.startswith("gain:")]


def test_a_pattern_raises_an_alarm_with_a_picture_and_a_fresh_gain_clears_it(
    seed: LedgerSeeder, engine: Engine
) -> None:
    last = publish_many(seed, engine, first=0, pattern_rms=0.05)
    layout = seed.layout_of("c" * 24)
    assert watch_gain(engine, last, layout=layout, at=NOW)
    (text,) = alarms(engine)
    assert "K3_20261120.mrc" in text
    assert 4.5 < float(re.findall(r"([\d.]+)% of their counts", text)[0]) < 5.5
    assert str(layout.gain_check) in text
    with Image.open(Path(layout.gain_check)) as picture:
        assert picture.size[0] > 50
    fresh = publish_many(seed, engine, first=1_000, pattern_rms=0.0)
    assert watch_gain(engine, fresh, layout=layout, at=NOW)
    assert alarms(engine) == []


def test_between_two_looks_nothing_is_read(seed: LedgerSeeder, engine: Engine) -> None:
    last = publish_many(seed, engine, first=0, pattern_rms=0.05)
    other = next(number for number in itertools.count(last.movie_id) if not is_looked_after(number))
    assert not watch_gain(engine, replace(last, movie_id=other), layout=seed.layout_of("c" * 24), at=NOW)
    assert alarms(engine) == []


def test_about_one_movie_in_so_many_is_followed_by_a_look() -> None:
    looks = [number for number in range(100_000) if is_looked_after(number)]
    assert len(looks) == pytest.approx(100_000 / EVERY, rel=0.05)
    for microscopes in (2, 3, 4, 5):
        for first in range(microscopes):
            assert sum(number % microscopes == first for number in looks) > 0.8 * len(looks) / microscopes


def test_the_sums_of_the_latest_movies_stay_and_older_ones_go(seed: LedgerSeeder, engine: Engine) -> None:
    last = publish_many(seed, engine, first=0, pattern_rms=0.0)
    with engine.connect() as connection:
        before = sums_with_gain(connection, last.sample_id, GAIN, branch_id=last.branch_id, limit=1_000)
    remove_outdated_sums(engine, last, Path(before[0]))
    there = [Path(path).is_file() for path in before]
    assert all(there[:COMPARED])
    assert not any(there[COMPARED : COMPARED + 8])
    without = replace(last, gain=None)
    remove_outdated_sums(engine, without, Path(before[0]))
    assert not Path(before[0]).is_file()
