"""Schedules of one event each about removing sources."""

from __future__ import annotations

from tests.faults.directing import MOVIE, Directed
from tests.faults.invariants import rows_of
from tests.faults.points import WorkerGone, at_rest

from cryodaq.app.transfer_movies import transfer_window


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


def unlinked_and_not_heard_of(schedule: Directed) -> list[str]:
    """The worker ends between removing a source and saying so: the removal is on record all the same."""
    return _removed_and_not_heard_of(schedule, "unlink")


def aside_and_not_heard_of(schedule: Directed) -> list[str]:
    """The worker ends when the source is aside: the next run removes it."""
    return _removed_and_not_heard_of(schedule, "renameat2")


def cleared_before_verification(schedule: Directed) -> list[str]:
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
