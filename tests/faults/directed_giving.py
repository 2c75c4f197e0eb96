"""Schedules of one event each about what leaves quarantine, or goes to another sample."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tests.faults.directing import LOG, MOVIE, Directed
from tests.faults.invariants import rows_of
from tests.faults.points import at_rest
from tests.faults.world import EPOCH, movie_states

from cryodaq.app.reassign_exposures import Wish, reassign_exposures, resume_reassignments
from cryodaq.errors import TransferError
from cryodaq.ledger import acceptances, reassignments


def assigned_half_way(schedule: Directed) -> list[str]:
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


def _give_or_go_on(schedule: Directed, wish: Wish) -> None:
    """Do as a person, or the next pass of the microscope, does."""
    refiling = schedule.refiling()
    with at_rest(schedule.plan), schedule.engine.connect() as connection:
        begun = reassignments.open_plans(connection, refiling.microscope)
    if begun:
        resume_reassignments(refiling)
    else:
        reassign_exposures(refiling, wish)


def reassigned_half_way(schedule: Directed) -> list[str]:
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


def unfinished_in_quarantine(schedule: Directed) -> list[str]:
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


def assigned_with_a_damaged_copy_moved(schedule: Directed) -> list[str]:
    """The damaged copy is where it was moved to."""
    return _assigned_with_a_damaged_copy(schedule, made_anew=False)


def assigned_with_a_damaged_copy_made_anew(schedule: Directed) -> list[str]:
    """Meanwhile it was made anew in quarantine."""
    return _assigned_with_a_damaged_copy(schedule, made_anew=True)
