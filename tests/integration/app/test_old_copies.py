"""Old copies are read again, some at a time: what the storage forgot is noticed, and said."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import xxhash
from sqlalchemy import update
from tests.integration.app.conftest import Bench

from cryodaq.app.verify_old_copies import verify_old_copies
from cryodaq.ledger import tables


def add_copies(bench: Bench, count: int, *, state: str = "verified", days_old: float = 31) -> list[Path]:
    """Record copies that were verified some days ago, and write them."""
    bench.add_sample()
    folder, found = Path(bench.sample.folder) / "raw", []
    folder.mkdir(parents=True)
    for number in range(count):
        movie = bench.add_movie(f"a_{number:05}")
        path = folder / f"a_{number:05}_fractions.tiff"
        path.write_bytes(bytes([number]) * 1000)
        facts = {"state": state, "xxh3_128": xxhash.xxh3_128_hexdigest(path.read_bytes()), "size_bytes": 1000}
        facts["verified_at"] = bench.now - timedelta(days=days_old)
        with bench.engine.begin() as connection:
            connection.execute(update(tables.file).where(tables.file.c.id == bench.movie(movie).file_id).values(facts))
        found.append(path)
    return found


def verify(bench: Bench, *, up_to_bytes: int = 10**9) -> dict[str, int]:
    return dict(verify_old_copies(bench.engine, after=timedelta(days=30), up_to_bytes=up_to_bytes, now=bench.clock))


def test_copies_that_read_back_as_they_were_are_no_news(bench: Bench) -> None:
    add_copies(bench, 3)
    assert verify(bench) == {"equal": 3}
    assert bench.alarms() == []


def test_only_so_much_is_read_and_nothing_that_was_verified_lately(bench: Bench) -> None:
    add_copies(bench, 5)
    assert verify(bench, up_to_bytes=2500) == {"equal": 2}
    bench.now -= timedelta(days=2)
    assert verify(bench) == {}


@pytest.mark.parametrize(
    ("state", "advice"),
    [("verified", "it is copied again"), ("removed", "its source is gone: restore it from a backup")],
)
def test_a_damaged_copy_is_an_alarm_with_what_to_do(bench: Bench, state: str, advice: str) -> None:
    good, bad = add_copies(bench, 2, state=state)
    bad.write_bytes(b"\0" + bad.read_bytes()[1:])
    assert verify(bench) == {"equal": 1, "damaged": 1}
    (text,) = bench.alarms()
    assert text == f"{bad} no longer reads back as it was copied; {advice}"
    with bench.engine.connect() as connection:
        states = dict(
            connection.execute(tables.file.select().with_only_columns(tables.file.c.target, tables.file.c.state)).all()
        )
    assert states[str(good)] == state
    assert states[str(bad)] == ("copied" if state == "verified" else "removed")  # what is copied is verified anew
