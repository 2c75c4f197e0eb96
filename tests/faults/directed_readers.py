"""Schedules of one event each about readers, and about a process that sleeps where files are given to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryodaq.app.reassign_exposures import Wish, reassign_exposures

if TYPE_CHECKING:
    from tests.faults.directed import Directed

MOVIE = "one/grid_00001.tif"


def access_half_set(schedule: Directed) -> list[str]:
    """A process ends between giving somebody access and recording it; that one leaves before the next pass."""
    world, people = schedule.world, schedule.collaborations
    world.choose("first")
    people.join(world.experiment, "ada")
    schedule.window(20)
    schedule.process(schedule._keep_all_access)
    people.join(world.experiment, "ben")
    commits: list[str] = []

    def between(name: str) -> None:
        commits.extend([name] * (name == "commit"))
        if len(commits) == 2:
            schedule.plan.between = schedule._between
            schedule.plan.crash(name)

    schedule.plan.between = between
    schedule.crashed(schedule._keep_all_access)
    people.leave(world.experiment, "ben")
    schedule.process(schedule._keep_all_access)
    return schedule._broken


def slept_before_a_name(schedule: Directed) -> list[str]:
    """A process sleeps for an hour just before a copy gets its name; meanwhile the movie is given to others."""
    return _slept(schedule, "publish", "renameat2")


def slept_before_a_copy(schedule: Directed) -> list[str]:
    """A process sleeps just before it opens a source; its lease runs out; others copy it and give it away."""
    return _slept(schedule, "copy", "open")


def _slept(schedule: Directed, what: str, at_call: str) -> list[str]:
    world = schedule.world
    world.choose("other")
    schedule.window(20)
    world.choose("first")
    schedule.window(20)
    for experiment, name in ((world.experiment, "ada"), (world.other_experiment, "ben")):
        schedule.collaborations.join(experiment, name)
    schedule.process(schedule._keep_all_access)

    def give() -> None:
        giver, taker = world.samples["first"], world.samples["other"]
        wish = Wish(to_sample=taker, asked_by="operator", folder="one", from_sample=giver)
        reassign_exposures(schedule.reassigning(), wish)

    def copy() -> None:
        schedule._window(world.t + 60)

    def strike(call: str) -> None:
        job = schedule.plan.job
        if job is not None and (job.what, call) == (what, at_call):
            schedule.plan.ambush = lambda _: None
            schedule.sleep([copy, give] if what == "copy" else [give], rest_s=40.0)

    schedule.whole(MOVIE, schedule.contents()[0])
    schedule.plan.ambush = strike
    schedule.crashed(lambda: schedule._window(world.t + 120))
    schedule._settle()
    schedule.process(schedule._keep_all_access)
    return schedule._broken + schedule.collaborations.strangers()


def settled_with_others(schedule: Directed) -> list[str]:
    """A process ends between giving a copy its name and recording it; others get the movie before anybody knows."""
    world = schedule.world
    world.choose("other")
    schedule.window(20)
    world.choose("first")
    schedule.window(20)
    for experiment, name in ((world.experiment, "ada"), (world.other_experiment, "ben")):
        schedule.collaborations.join(experiment, name)
    schedule.process(schedule._keep_all_access)
    schedule.whole(MOVIE, schedule.contents()[0])
    schedule.crash_at_the_commit_after("request publish")
    schedule.crashed(lambda: schedule._window(world.t + 60))
    giver, taker = world.samples["first"], world.samples["other"]
    wish = Wish(to_sample=taker, asked_by="operator", folder="one", from_sample=giver)
    schedule.process(lambda: reassign_exposures(schedule.reassigning(), wish))
    schedule._settle()
    return schedule._broken + schedule.collaborations.strangers()
