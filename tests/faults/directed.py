"""Schedules of one event each: what once went wrong, at exactly its moment, whatever the random ones draw."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa
from tests.faults.directed_readers import (
    access_half_set,
    settled_with_others,
    slept_before_a_copy,
    slept_before_a_name,
)
from tests.faults.inline import InlineWorker
from tests.faults.invariants import broken_invariants, rows_of
from tests.faults.points import Crash, Points, WorkerGone, at_rest
from tests.faults.schedule import Schedule
from tests.faults.world import EPOCH, movie_states

from cryodaq.app.reassign_exposures import Wish, reassign_exposures, resume_reassignments
from cryodaq.app.transfer_movies import transfer_window
from cryodaq.errors import TransferError, WorkerEndedError
from cryodaq.ledger import acceptances, reassignments

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

    def crash_after(self, points: int) -> None:
        """Let the process end after so many points."""
        passed: list[str] = []

        def between(name: str) -> None:
            self.world.between(name)
            passed.append(name)
            if len(passed) > points:
                self.plan.between = self._between
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
    """Assigning from quarantine fails after a log was moved; the log is written and copied on; then it goes on."""
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
    if not schedule.is_assigning():
        return ["nothing failed"]
    world._append(LOG, b"line 1\nline 2\n")
    schedule.window(120)
    schedule.process(schedule._go_on_giving)
    schedule._settle()
    rows = {row.path: row for row in rows_of(schedule.engine, schedule.microscope.name)}
    log = Path(rows[LOG].target or "")
    return [] if log.read_bytes().endswith(b"line 2\n") else ["the log is of an older state"]


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
            schedule.world.rotten.add(str(target))
            act(schedule)

    schedule.plan.ambush = strike
    schedule.plan.rate = 1e-12  # ambushes are for schedules with faults
    schedule.window(120)
    schedule.plan.rate, schedule.plan.ambush = 0.0, lambda _: None
    schedule._settle()
    return [] if struck else ["nothing was damaged"]


def _damaged_and_rewritten_with_its_time(schedule: Directed) -> list[str]:
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


def _damaged_and_repaired(schedule: Directed) -> list[str]:
    """The copy is made again; the damaged one is kept aside."""
    broken = _damaged(schedule, lambda _: None)
    found = _versions(schedule)
    aside = list(schedule.world.storage.rglob("*.damaged"))
    right = [one[:3] for one in found] == [(1, "verified", 1)] and len(aside) == 1
    return broken if right else [*broken, f"not repaired: {found}, {aside}"]


def _damaged_and_replaced(schedule: Directed) -> list[str]:
    """The source is replaced: the first version stays damaged, and the other content is the second version."""
    contents: list[bytes] = []

    def act(one: Directed) -> None:
        contents.extend(one.contents())
        one.world.replace(MOVIE, contents[0])

    broken = _damaged(schedule, act)
    found = _versions(schedule)
    right = [one[:3] for one in found] == [(1, "copied", 1), (2, "verified", 1)] and found[-1][3] == contents[0]
    return broken if right else [*broken, f"not both versions: {[one[:3] for one in found]}"]


def _damaged_and_taken(schedule: Directed) -> list[str]:
    """The source is taken away: the movie keeps the copy there is, which is never called verified."""
    broken = _damaged(schedule, lambda one: one.world.take(MOVIE))
    found = _versions(schedule)
    return broken if [one[:3] for one in found] == [(1, "copied", 1)] else [*broken, f"it is {found}"]


def _give_or_go_on(schedule: Directed, wish: Wish) -> None:
    """Do as a person, or the next pass of the microscope, does."""
    reassigning = schedule.reassigning()
    with at_rest(schedule.plan), schedule.engine.connect() as connection:
        begun = reassignments.open_plans(connection, reassigning.microscope)
    if begun:
        resume_reassignments(reassigning)
    else:
        reassign_exposures(reassigning, wish)


def _reassigned_half_way(schedule: Directed) -> list[str]:
    """Giving movies to another sample crashes at every request and commit of its own in turn, and is carried on."""
    world = schedule.world
    world.choose("second")
    schedule.window(20)
    world.choose("first")
    schedule.window(20)
    for n in range(3):
        schedule.whole(f"one/grid_{n:05}.tif", schedule.contents()[0])
    world._append(LOG, b"line 1\n")
    schedule.window(60)
    giver, taker = world.samples["first"], world.samples["second"]
    wish = Wish(to_sample=taker, asked_by="operator", folder=None, since=EPOCH, from_sample=giver)
    ended = 0
    for moment in range(0, 400, 3):
        schedule.crash_after(moment)
        schedule.plan.rate = 1e-12  # crashes are allowed; none is drawn
        try:
            crashed = schedule.process(lambda: _give_or_go_on(schedule, wish))
        except TransferError:
            crashed = True  # only the worker died
        schedule.plan.rate, schedule.plan.between = 0.0, schedule._between
        ended += not crashed
        if not crashed:
            break
    schedule._settle()
    rows = rows_of(schedule.engine, schedule.microscope.name)
    left = [row.path for row in rows if row.sample_id != taker]
    return [f"left with the first sample: {left}"] * bool(left) + ["it never came to its end"] * (not ended)


def _scanned_and_not_heard_of(schedule: Directed) -> list[str]:
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


def _two_want_one_name(schedule: Directed) -> list[str]:
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


def _paused_between_pieces(schedule: Directed) -> list[str]:
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


def _rewritten_in_place(schedule: Directed) -> list[str]:
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


def _worker_ends(schedule: Directed, what: str, call: str) -> list[str]:
    """Let a worker end, alone, at the first call of one of its jobs; return a list that is not empty then."""
    ended: list[str] = []

    def end(name: str) -> None:
        job = schedule.plan.job
        if job is not None and (job.what, name) == (what, call) and not ended:
            ended.append(name)
            raise WorkerGone

    schedule.plan.ambush = end
    return ended


def _removed_and_not_heard_of(schedule: Directed, call: str) -> list[str]:
    """The worker ends when it has removed a source, or renamed it aside, and before it can say so."""
    schedule.world.choose("first")
    schedule.whole(MOVIE, schedule.contents()[0])
    schedule.window(150)
    schedule._clears = True
    ended = _worker_ends(schedule, "remove", f"after {call}")
    schedule.process(schedule._clear)
    schedule.plan.ambush = lambda _: None
    schedule.process(schedule._clear)
    schedule._clears = False
    schedule._settle()
    states = [row.state for row in rows_of(schedule.engine, schedule.microscope.name)]
    return (["no worker ended"] * (not ended)) + ([] if states == ["removed"] else [f"it is {states}"])


def _unlinked_and_not_heard_of(schedule: Directed) -> list[str]:
    """The worker ends between removing a source and saying so: the removal is on record all the same."""
    return _removed_and_not_heard_of(schedule, "unlink")


def _aside_and_not_heard_of(schedule: Directed) -> list[str]:
    """The worker ends when the source is aside: the next run removes it."""
    return _removed_and_not_heard_of(schedule, "renameat2")


def _cleared_before_verification(schedule: Directed) -> list[str]:
    """A copy was not read again yet when the microscope is cleared."""
    world = schedule.world
    world.choose("first")
    schedule.plan.rate, schedule.plan.longest_rest_s = 1e-12, 0.5  # windows look often; no fault is drawn
    schedule.whole(MOVIE, schedule.contents()[0])
    ends = world.t + 60

    def copied() -> bool:
        with at_rest(schedule.plan):
            return [row.state for row in rows_of(schedule.engine, schedule.microscope.name)] == ["copied"]

    schedule.prepare()
    schedule.process(lambda: transfer_window(schedule.transfer(), 1e9, lambda: copied() or world.t > ends))
    if not copied():
        return ["it was not seen copied and not verified"]
    schedule._clears, schedule.plan.rate = True, 0.0
    schedule.process(schedule._clear)
    schedule._clears, there = False, (world.share / MOVIE).exists()
    schedule._settle()
    return [] if there else ["it was removed"]


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


def _begun_again_while_copied(schedule: Directed) -> list[str]:
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


def _clock_put_back(schedule: Directed) -> list[str]:
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


def _unfinished_in_quarantine(schedule: Directed) -> list[str]:
    """A camera stops for good with a movie that nobody owns; given to a sample that says how many frames, it stays."""
    world = schedule.world
    world.choose("first")
    schedule.window(20)
    world.choose(None)
    schedule.window(20)
    world.write(MOVIE, movie_states(world._pixels)[1], whole=False)
    schedule.window(150)
    schedule.process(schedule._assign)
    schedule.window(60)
    schedule._clears = True
    schedule.process(schedule._clear)
    with schedule.engine.connect() as connection:
        shown = [one for one in acceptances.held_movies(connection) if one.microscope == schedule.microscope.name]
    (row,) = rows_of(schedule.engine, schedule.microscope.name)
    broken = [] if (world.share / MOVIE).exists() and row.state == "verified" else ["it was removed, or never verified"]
    return broken + ["nobody is shown that it is short"] * (not shown)


def _assigned_with_a_damaged_copy(schedule: Directed, *, made_anew: bool) -> list[str]:
    """Assigning fails when a copy was moved that the storage had damaged; it is done again, and all is well at last."""
    world, other = schedule.world, "one/grid_00002.tif"
    world.choose("first")
    schedule.window(20)
    world.choose(None)
    schedule.window(20)
    for path in (MOVIE, other):
        schedule.whole(path, schedule.contents()[0])
    schedule.window(150)
    target = world.storage / f"quarantine/tem{world.number}/raw" / MOVIE
    good = target.read_bytes()
    target.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))

    def refuse(name: str) -> None:
        job = schedule.plan.job
        if job is None or (job.what, name) != ("move", "renameat2"):
            return
        with at_rest(schedule.plan):
            moved = not target.exists()
        if moved:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    schedule.plan.ambush = refuse
    schedule.process(schedule._assign)
    schedule.plan.ambush = lambda _: None
    if not schedule.is_assigning() or target.exists():
        return ["nothing failed half-way"]
    if made_anew:  # as verification does that finds no copy
        target.write_bytes(good)
    schedule.process(schedule._go_on_giving)
    schedule._settle()
    rows = rows_of(schedule.engine, schedule.microscope.name)
    return [] if [row.state for row in rows] == ["verified"] * 2 else [f"they are {[row.state for row in rows]}"]


def _assigned_with_a_damaged_copy_moved(schedule: Directed) -> list[str]:
    """The damaged copy is where it was moved to."""
    return _assigned_with_a_damaged_copy(schedule, made_anew=False)


def _assigned_with_a_damaged_copy_made_anew(schedule: Directed) -> list[str]:
    """Meanwhile it was made anew in quarantine."""
    return _assigned_with_a_damaged_copy(schedule, made_anew=True)


SCHEDULES = (
    access_half_set,
    settled_with_others,
    slept_before_a_copy,
    slept_before_a_name,
    _aside_and_not_heard_of,
    _assigned_half_way,
    _assigned_with_a_damaged_copy_made_anew,
    _assigned_with_a_damaged_copy_moved,
    _begun_again_while_copied,
    _cleared_before_verification,
    _clock_put_back,
    _damaged_and_repaired,
    _damaged_and_replaced,
    _damaged_and_rewritten_with_its_time,
    _damaged_and_taken,
    _named_and_replaced,
    _named_and_replaced_in_quarantine,
    _named_and_taken,
    _paused_between_pieces,
    _reassigned_half_way,
    _rewritten_in_place,
    _scanned_and_not_heard_of,
    _two_want_one_name,
    _unfinished_in_quarantine,
    _unlinked_and_not_heard_of,
)


def run_directed(points: Points, *, engine: sa.Engine, folder: Path) -> list[str]:
    """Run them all; return the names of those that broke something."""
    bad = []
    for number, scenario in enumerate(SCHEDULES, start=900_001):
        schedule = Directed(number, points, engine=engine, folder=folder / str(number), number=number)
        schedule._clears, schedule._meets, schedule.plan.ambush = False, 0, lambda _: None
        schedule._sleeps_from = None
        schedule.world.lag_s = 0.0
        try:
            broken = scenario(schedule)
        except Crash:
            broken = ["it crashed where nobody meant it to"]
        except Exception:  # noqa: BLE001  # what nobody expects to end a process is an error that was found
            broken = [traceback.format_exc()]
        broken += broken_invariants(schedule.world, engine, schedule.microscope.name)
        name = scenario.__name__.strip("_")
        print(f"{name}: {len(broken)} broken", *broken, sep="\n  ")
        if broken:
            print(*schedule.world.log, sep="\n    ")
        bad += [name] if broken else []
    return bad
