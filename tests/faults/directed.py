"""Schedules of one event each: what once went wrong, at exactly its moment, whatever the random ones draw."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from tests.faults.invariants import broken_invariants, rows_of
from tests.faults.points import Crash, Points
from tests.faults.schedule import Schedule
from tests.faults.world import movie_states

MOVIE = "one/grid_00001.tif"
LOG = "one/session.log"
SETTLED_S = 400.0


class Directed(Schedule):
    """A schedule without faults but for one act at one point."""

    def crash_at_the_commit_after(self, wanted: str, act: Callable[[], None] = lambda: None) -> None:
        """Let the process end at the first commit after a request, or a call of a worker; do something then."""
        seen: list[str] = []

        def between(name: str) -> None:
            self.world.between(name)
            if name == wanted:
                seen.append(name)
            elif name == "commit" and seen:
                self.plan.between = self._between
                act()
                self.plan.crash(name)

        self.plan.between = between

    def crashed(self, act: Callable[[], object]) -> None:
        """Run something as a process that must crash."""
        before = self.plan.happened.total()
        self.plan.rate = 1e-12  # faults are allowed; none is drawn
        self.process(act)
        self.plan.rate = 0.0
        assert self.plan.happened.total() > before, "nothing crashed"

    def window(self, seconds: float) -> None:
        ends = self.world.t + seconds
        self.prepare()
        self.process(lambda: self._window(ends))

    def _window(self, ends: float) -> None:
        from cryodaq.app.transfer_movies import transfer_window

        transfer_window(self.transfer(), 1e9, lambda: self.world.t > ends)

    def whole(self, path: str, content: bytes) -> None:
        self.world.write(path, content, whole=True)

    def contents(self) -> tuple[bytes, bytes]:
        """Two movies."""
        return movie_states(self.world._pixels)[-1], movie_states(self.world._pixels)[-1]


def _named_and_replaced(schedule: Directed, *, assigned: bool = False) -> list[str]:
    """A process ends between giving a copy its name and recording it; the source is replaced at that moment."""
    first, second = schedule.contents()
    schedule.world.choose(None if assigned else "first")
    schedule.window(20)
    schedule.whole(MOVIE, first)
    schedule.crash_at_the_commit_after("request publish", lambda: schedule.world.replace(MOVIE, second))
    schedule.crashed(lambda: schedule._window(schedule.world.t + 60))
    if assigned:
        schedule.world.choose("first")
        schedule.window(3)
        schedule.process(schedule._assign)
    schedule._settle()
    rows = [row for row in rows_of(schedule.engine, schedule.microscope.name) if row.path == MOVIE]
    found = [Path(row.target or "").read_bytes() for row in rows]
    return [] if found == [first, second] else [f"not both versions: {[(row.version, row.state) for row in rows]}"]


def _named_and_replaced_in_quarantine(schedule: Directed) -> list[str]:
    """The same with a file that nobody owns, and that is assigned before anybody knows of its copy."""
    return _named_and_replaced(schedule, assigned=True)


def _named_and_taken(schedule: Directed) -> list[str]:
    """The same; people take the source away."""
    first, _ = schedule.contents()
    schedule.world.choose("first")
    schedule.window(20)
    schedule.whole(MOVIE, first)
    schedule.crash_at_the_commit_after("request publish", lambda: schedule.world.take(MOVIE))
    schedule.crashed(lambda: schedule._window(schedule.world.t + 60))
    schedule._settle()
    (row,) = (row for row in rows_of(schedule.engine, schedule.microscope.name) if row.path == MOVIE)
    return [] if row.state == "verified" and row.gone else [f"it is {row.state}"]


def _assigned_half_way(schedule: Directed) -> list[str]:
    """Assigning from quarantine fails after a log was moved; the log is written and copied on; then again."""
    first, _ = schedule.contents()
    world, movie = schedule.world, "two/grid_00001.tif"
    world.choose("first")
    schedule.window(20)
    world.choose(None)
    schedule.window(20)
    world._append(LOG, b"line 1\n")
    schedule.whole(movie, first)
    schedule.window(120)

    def refuse(name: str) -> None:
        job = schedule.plan.job
        if job is not None and (job.what, name) == ("move", "renameat2"):
            schedule.plan.ambush = lambda _: None
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    schedule.plan.ambush = refuse
    schedule.process(schedule._assign)
    if schedule._assigning is None:
        return ["nothing failed"]
    world._append(LOG, b"line 1\nline 2\n")
    schedule.window(120)
    schedule.process(schedule._assign)
    schedule._settle()
    rows = {row.path: row for row in rows_of(schedule.engine, schedule.microscope.name)}
    log = Path(rows[LOG].target or "")
    return [] if log.read_bytes().endswith(b"line 2\n") else ["the log is of an older state"]


SCHEDULES = (_assigned_half_way, _named_and_replaced, _named_and_replaced_in_quarantine, _named_and_taken)


def run_directed(engine: sa.Engine, folder: Path) -> int:
    """Run them all; return how many broke something."""
    points = Points()
    with points.listening(engine):
        return _run_all(points, engine=engine, folder=folder)


def _run_all(points: Points, *, engine: sa.Engine, folder: Path) -> int:
    bad = 0
    for number, scenario in enumerate(SCHEDULES, start=900_001):
        schedule = Directed(number, points, engine=engine, folder=folder / str(number), number=number)
        schedule._clears, schedule._meets, schedule.plan.ambush = False, 0, lambda _: None
        try:
            broken = scenario(schedule)
        except Crash:
            broken = ["it crashed where nobody meant it to"]
        broken += broken_invariants(schedule.world, engine, schedule.microscope.name)
        name = scenario.__name__.strip("_")
        print(f"{name}: {len(broken)} broken", *broken, sep="\n  ")
        if broken:
            print(*schedule.world.log, sep="\n    ")
        bad += bool(broken)
    return bad
