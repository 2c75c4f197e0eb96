"""A stale gain reference is told by what it leaves in the latest movies."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, update

from cryodaq.app import watch_gain as watching
from cryodaq.app.watch_gain import COMPARED, EVERY, watch_gain
from cryodaq.formats.mrc import write_micrograph
from cryodaq.ledger import events
from cryodaq.ledger import tables as t
from cryodaq.ledger.results import MovieToProcess, movie_to_process
from cryodaq.testing.seeded_ledger import LedgerSeeder

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
GAIN = "/gpfs/sample/raw/GainRefs/K3_20261120.mrc"


def publish_many(seed: LedgerSeeder, engine: Engine, *, first: int, pattern_rms: float) -> MovieToProcess:
    """Record movies of one gain as published; the latest have sums with a pattern. Return the last one."""
    sample = seed.add_sample("c" * 24)
    random = np.random.default_rng(first)
    camera = 1 + pattern_rms * np.random.default_rng(1).normal(size=(96, 96))
    for number in range(first, first + EVERY):
        movie = seed.add_movie(sample, f"m{number:03d}", state="published")
        if number >= first + EVERY - COMPARED:
            align, _, _ = seed.add_measurements(movie)
            write_micrograph(
                Path(align.unaligned_sum), random.poisson(40 * camera).astype(np.float32), pixel_size_ang=1.0
            )
        with engine.begin() as connection:
            connection.execute(update(t.movie).where(t.movie.c.id == movie.id).values(gain_target=GAIN))
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
    fresh = publish_many(seed, engine, first=EVERY, pattern_rms=0.0)
    assert watch_gain(engine, fresh, layout=layout, at=NOW)
    assert alarms(engine) == []


def test_between_two_looks_nothing_is_read(seed: LedgerSeeder, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    last = publish_many(seed, engine, first=0, pattern_rms=0.05)
    monkeypatch.setattr(watching, "EVERY", EVERY - 1)  # so that this is no movie to look at
    assert not watch_gain(engine, last, layout=seed.layout_of("c" * 24), at=NOW)
    assert alarms(engine) == []
