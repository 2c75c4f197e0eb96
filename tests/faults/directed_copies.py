"""Schedules of one event each about copies: their names, their damage, their versions."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from tests.faults.directing import MOVIE, SETTLED_S, Directed
from tests.faults.inline import InlineWorker
from tests.faults.invariants import rows_of
from tests.faults.points import at_rest
from tests.faults.world import movie_states

from cryodaq.errors import WorkerEndedError


def named_and_replaced(schedule: Directed, *, assigned: bool = False) -> list[str]:
    """A process ends between giving a copy its name and recording it; the source is replaced at that moment."""
    first, second = schedule.contents()
    schedule.world.choose(None if assigned else "first")
    schedule.window(20)
    schedule.whole(MOVIE, first)
    schedule.crash_at_the_commit_after("request publish", lambda: schedule.world.replace(MOVIE, second))
    schedule.crashed(lambda: schedule._window(schedule.world.t + SETTLED_S))
    if assigned:
        schedule.world.choose("first")
        schedule.window(3)
        schedule.process(schedule._assign)
    schedule._settle()
    rows = [row for row in rows_of(schedule.engine, schedule.microscope.name) if row.path == MOVIE]
    found = [Path(row.target or "").read_bytes() for row in rows]
    return [] if found == [first, second] else [f"not both versions: {[(row.version, row.state) for row in rows]}"]


def named_and_replaced_in_quarantine(schedule: Directed) -> list[str]:
    """The same with a file that nobody owns, and that is assigned before anybody knows of its copy."""
    return named_and_replaced(schedule, assigned=True)


def named_and_taken(schedule: Directed) -> list[str]:
    """The same; people take the source away."""
    first, _ = schedule.contents()
    schedule.world.choose("first")
    schedule.window(20)
    schedule.whole(MOVIE, first)
    schedule.crash_at_the_commit_after("request publish", lambda: schedule.world.take(MOVIE))
    schedule.crashed(lambda: schedule._window(schedule.world.t + SETTLED_S))
    schedule._settle()
    (row,) = (row for row in rows_of(schedule.engine, schedule.microscope.name) if row.path == MOVIE)
    return [] if row.state == "verified" and row.gone else [f"it is {row.state}"]


def _damaged(schedule: Directed, act: Callable[[Directed], None]) -> list[str]:
    """The storage damages a copy before it is verified; before it is found, something happens to its source."""
    first, _ = schedule.contents()
    schedule.world.choose("first")
    schedule.window(20)
    schedule.whole(MOVIE, first)
    struck: list[Path] = []

    def strike(call: str) -> None:
        job = schedule.plan.job
        if job is None or (job.what, call) != ("verify", "open") or struck:
            return
        target = Path(job.arguments["copies"][-1]["target"])
        if not target.name.endswith(".tif"):
            return
        struck.append(target)
        with at_rest(schedule.plan):
            target.write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
            schedule.world.rotten.add(first)
            act(schedule)

    schedule.plan.ambush = strike
    schedule.plan.rate = 1e-12  # ambushes are for schedules with faults
    schedule.window(120)
    schedule.plan.rate, schedule.plan.ambush = 0.0, lambda _: None
    schedule._settle()
    return [] if struck else ["nothing was damaged"]


def damaged_and_rewritten_with_its_time(schedule: Directed) -> list[str]:
    """The source has other bytes by then, and the size and time of before: what was copied is not made of it."""
    contents: list[bytes] = []

    def act(one: Directed) -> None:
        path = one.world.share / MOVIE
        told, content = path.stat(), path.read_bytes()
        contents.append(content[:-1] + bytes([content[-1] ^ 2]))
        one.whole(MOVIE, contents[0])
        os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))

    broken = _damaged(schedule, act)
    found = _versions(schedule)
    right = [one[:3] for one in found] == [(1, "copied", 1), (2, "verified", 1)] and found[-1][3] == contents[0]
    return broken if right else [*broken, f"not both versions: {[one[:3] for one in found]}"]


def _versions(schedule: Directed) -> list[tuple[int, str, int, bytes]]:
    rows = [row for row in rows_of(schedule.engine, schedule.microscope.name) if row.path == MOVIE]
    return [(row.version, row.state, row.movies, Path(row.target or "").read_bytes()) for row in rows]


def damaged_and_repaired(schedule: Directed) -> list[str]:
    """The copy is made again; the damaged one is kept aside."""
    broken = _damaged(schedule, lambda _: None)
    found = _versions(schedule)
    aside = list(schedule.world.storage.rglob("*.damaged"))
    right = [one[:3] for one in found] == [(1, "verified", 1)] and len(aside) == 1
    return broken if right else [*broken, f"not repaired: {found}, {aside}"]


def damaged_and_replaced(schedule: Directed) -> list[str]:
    """The source is replaced: the first version stays damaged, and the other content is the second version."""
    contents: list[bytes] = []

    def act(one: Directed) -> None:
        contents.extend(one.contents())
        one.world.replace(MOVIE, contents[0])

    broken = _damaged(schedule, act)
    found = _versions(schedule)
    right = [one[:3] for one in found] == [(1, "copied", 1), (2, "verified", 1)] and found[-1][3] == contents[0]
    return broken if right else [*broken, f"not both versions: {[one[:3] for one in found]}"]


def damaged_and_taken(schedule: Directed) -> list[str]:
    """The source is taken away: the movie keeps the copy there is, which is never called verified."""
    broken = _damaged(schedule, lambda one: one.world.take(MOVIE))
    found = _versions(schedule)
    return broken if [one[:3] for one in found] == [(1, "copied", 1)] else [*broken, f"it is {found}"]


def two_want_one_name(schedule: Directed) -> list[str]:
    """The second version of a movie and another movie are copied at once, and both would be called the same."""
    first, second = schedule.contents()
    third, _ = schedule.contents()
    world = schedule.world
    world.choose("first")
    schedule.whole(MOVIE, first)
    schedule.window(60)
    world.replace(MOVIE, second)
    schedule.whole(MOVIE.replace(".tif", ".v2.tif"), third)
    schedule._settle()
    rows = rows_of(schedule.engine, schedule.microscope.name)
    states = sorted(row.state for row in rows)
    return [] if states == ["held", "verified", "verified"] else [f"they are {states}"]


class _Slow(InlineWorker):
    """Does everything but copying, until it ends."""

    def work(self) -> None:
        copies = [job for job in self._jobs if job.what == "copy"]
        self._jobs = [job for job in self._jobs if job.what != "copy"]
        super().work()
        self._jobs += copies

    def end(self) -> None:
        """End, as it would when somebody killed it."""
        self._end(WorkerEndedError(self.root))


def begun_again_while_copied(schedule: Directed) -> list[str]:
    """A movie is begun again while it is copied, a scan sees that, and the worker ends: by now the movie is short."""
    first, last = schedule.contents()
    world, slow = schedule.world, list[_Slow]()
    world.choose("first")
    schedule.whole(MOVIE, first)

    def open_slow(root: PurePosixPath, **settings: Any) -> InlineWorker:
        slow.append(_Slow(world, root, **settings))
        world.workers.append(slow[-1])
        return slow[-1]

    quick, schedule._open_worker = schedule._open_worker, open_slow
    world.at(world.t + 25, lambda: world.write(MOVIE, movie_states(world._pixels)[0], whole=False))
    world.at(world.t + 45, lambda: [one.end() for one in slow])
    world.at(world.t + 100, lambda: world.write(MOVIE, last, whole=True))
    schedule.plan.rate, schedule.plan.longest_rest_s = 1e-12, 2.0  # windows look often; no fault is drawn
    schedule.window(50)
    schedule._open_worker = quick
    schedule.window(40)
    schedule.plan.rate = 0.0
    schedule._settle()
    versions = _versions(schedule)
    return [] if [one[3] for one in versions] == [last] else [f"it is {[one[:3] for one in versions]}"]
