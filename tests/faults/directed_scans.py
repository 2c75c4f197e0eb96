"""Schedules of one event each about what scans, clocks and quiet times tell."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from tests.faults.directing import LOG, MOVIE, Directed
from tests.faults.invariants import Row, rows_of
from tests.faults.points import at_rest

from cryodaq.app.transfer_movies import transfer_window


def scanned_and_not_heard_of(schedule: Directed) -> list[str]:
    """The first scan of a window comes to its end, and then the share does not say how much room it has."""
    world = schedule.world
    world.choose("first")
    for n in range(3):
        schedule.whole(f"one/grid_{n:05}.tif", schedule.contents()[0])
    schedule.window(60)
    refused: list[str] = []

    def refuse(call: str) -> None:
        job = schedule.plan.job
        if job is not None and (job.what, call) == ("scan", "statvfs") and not refused:
            refused.append(call)
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    schedule.plan.ambush = refuse
    schedule.whole("one/grid_00003.tif", schedule.contents()[0])
    schedule.window(60)
    rows = rows_of(schedule.engine, schedule.microscope.name)
    gone = [row.path for row in rows if row.gone]
    schedule._settle()
    return [f"taken for gone: {gone}"] * bool(gone) + ["nothing failed"] * (not refused)


def paused_between_pieces(schedule: Directed) -> list[str]:
    """A file of which no format says anything pauses for less than the quiet time, again and again."""
    schedule.world.choose("first")
    schedule.plan.rate, schedule.plan.longest_rest_s = 1e-12, 1.0  # windows look often; no fault is drawn
    schedule.window(20)
    content = b""
    for n in range(5):
        content += bytes([n]) * 300
        schedule.world.write("one/grid_00001.raw", content, whole=n == 4)
        schedule.window(7)
    schedule.plan.rate = 0.0
    schedule._settle()
    return []


def rewritten_in_place(schedule: Directed) -> list[str]:
    """A finished file is written anew, which its folder's time does not tell; nobody waits for a full walk."""
    first, second = schedule.contents()
    world = schedule.world
    world.choose("first")
    schedule.plan.rate, schedule.plan.longest_rest_s = 1e-12, 2.0  # windows look often; no fault is drawn
    schedule.whole(MOVIE, first)

    def rewrite() -> None:
        folder = (world.share / MOVIE).parent
        told = folder.stat()
        schedule.whole(MOVIE, second)
        os.utime(folder, ns=(told.st_atime_ns, told.st_mtime_ns))

    world.at(world.t + 40, rewrite)
    schedule.window(90)  # one window: the first scan of another would list everything
    schedule.plan.rate = 0.0
    versions = [row.version for row in rows_of(schedule.engine, schedule.microscope.name) if row.path == MOVIE]
    schedule._settle()
    return [] if versions == [1, 2] else [f"50 s later there are versions {versions}"]


def clock_put_back(schedule: Directed) -> list[str]:
    """Our clock is put back by two hours just before a movie and a log's next line appear: neither waits for hours."""
    first, _ = schedule.contents()
    world = schedule.world
    world.choose("first")
    world._append(LOG, b"line 1\n")
    schedule.window(60)
    world.choose("second")
    world.jump(-7200)
    schedule.window(20)
    world._append(LOG, b"line 1\nline 2\n")
    schedule.whole(MOVIE, first)
    schedule.window(120)
    rows = {row.path: row for row in rows_of(schedule.engine, schedule.microscope.name)}
    owner, log = rows[MOVIE].sample_id, Path(rows[LOG].target or "").read_bytes()
    schedule._settle()
    broken = [] if owner == world.samples["second"] else [f"it belongs to {owner}"]
    return broken if log.endswith(b"line 2\n") else [*broken, "the log is of an older state"]


def gone_and_back_before_it_is_verified(schedule: Directed) -> list[str]:
    """A log goes while it is copied, and is back under its name before its copy was read again."""
    world = schedule.world
    world.choose("first")
    schedule.window(20)
    world._append(LOG, b"line 1\n")

    def take(call: str) -> None:
        job = schedule.plan.job
        if job is not None and (job.what, call) == ("copy", "after open"):
            schedule.plan.ambush = lambda _: None
            with at_rest(schedule.plan):
                world.take(LOG)

    def copied_and_gone() -> bool:
        with at_rest(schedule.plan):
            return [(row.state, row.gone) for row in _rows(schedule)] == [("copied", True)]

    schedule.plan.ambush = take
    schedule.plan.rate, schedule.plan.longest_rest_s = 1e-12, 0.5  # windows look often; no fault is drawn
    ends = world.t + 60
    schedule.process(lambda: transfer_window(schedule.transfer(), 1e9, lambda: copied_and_gone() or world.t > ends))
    if not copied_and_gone():
        return [f"it was not copied and gone: {_rows(schedule)}"]
    world._append(LOG, b"line 1\nline 2\n")
    schedule.window(90)  # one window: the next would see it anew
    schedule.plan.rate = 0.0
    newest = _rows(schedule)[-1]
    schedule._settle()
    return [f"it is taken for gone: {newest}"] * newest.gone


def gone_before_its_next_copy(schedule: Directed) -> list[str]:
    """A log that was copied goes on, and is gone when it is to be copied again; another sample's has its name later."""
    world = schedule.world
    world.choose("first")
    schedule.window(20)
    world._append(LOG, b"line 1\n")
    schedule.window(60)

    def take(call: str) -> None:
        job = schedule.plan.job
        if job is not None and (job.what, call) == ("copy", "open"):
            schedule.plan.ambush = lambda _: None
            with at_rest(schedule.plan):
                world.take(LOG)

    schedule.plan.ambush = take
    world._append(LOG, b"line 1\nline 2\n")
    schedule.plan.rate = 1e-12  # the ambush is heard; no fault is drawn
    schedule.window(120)
    schedule.plan.rate = 0.0
    world.choose("second")
    schedule.window(60)
    before = _rows(schedule)
    world._append(LOG, b"line 3\n")
    schedule._settle()
    facts = [(row.version, row.sample_id, row.state) for row in before]
    expected = [(1, world.samples["first"], "verified")]
    return [] if facts == expected else [f"after it was gone there is {facts}"]


def _rows(schedule: Directed) -> list[Row]:
    return rows_of(schedule.engine, schedule.microscope.name)


def another_camera_in_its_place(schedule: Directed) -> list[str]:
    """Another camera's share, with a sentinel of its own, is mounted where the microscope's was; later it is mended."""
    world = schedule.world
    world.choose("first")
    schedule.window(20)
    schedule.whole(MOVIE, schedule.contents()[0])
    schedule.window(60)
    aside, mine = world.root / "unmounted", world.server
    world.share.rename(aside)
    (world.share / "one").mkdir(parents=True)
    (world.share / ".online").touch()
    (world.share / "one" / "stranger_00001.tif").write_bytes(schedule.contents()[0])
    world.server = "//another/x"
    schedule.window(60)
    broken = [f"it is {row}" for row in _rows(schedule) if row.gone or row.path != MOVIE]
    shutil.rmtree(world.share)
    aside.rename(world.share)
    world.server = mine
    schedule._settle()
    return broken
