"""Schedules of one event each about readers, and about a process that sleeps where files are given to others."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from tests.faults.directing import MOVIE, SETTLED_S, Directed
from tests.faults.points import at_rest

from cryodaq.app.reassign_exposures import Wish, reassign_exposures, resume_reassignments


def _two_experiments(schedule: Directed) -> None:
    """Make one experiment of ada's, which is current, and another of ben's and dana's."""
    world = schedule.world
    world.choose("other")
    schedule.window(20)
    world.choose("first")
    schedule.window(20)
    for experiment, name in (
        (world.experiment, "ada"),
        (world.other_experiment, "ben"),
        (world.other_experiment, "dana"),
    ):
        schedule.collaborations.join(experiment, name)
    schedule.process(schedule._keep_all_access)


def _give(schedule: Directed) -> None:
    """Give what lies in a folder to the other experiment, as a person does."""
    giver, taker = schedule.world.samples["first"], schedule.world.samples["other"]
    wish = Wish(to_sample=taker, asked_by="operator", folder="one", from_sample=giver)
    reassign_exposures(schedule.refiling(), wish)


def _strike(schedule: Directed, what: str, call: str, act: Callable[[], None]) -> list[str]:
    """Do something once, when a worker comes to a call of a job; return a list that is not empty then."""
    struck: list[str] = []

    def strike(name: str) -> None:
        job = schedule.plan.job
        if job is not None and (job.what, name) == (what, call) and not struck:
            struck.append(name)
            act()

    schedule.plan.ambush = strike
    return struck


def _ben_leaves(schedule: Directed) -> None:
    """Take ben from the other experiment, and let a pass set its access."""
    schedule.collaborations.leave(schedule.world.other_experiment, "ben")
    job, schedule.plan.job = schedule.plan.job, None
    with at_rest(schedule.plan):
        schedule._keep_access(schedule.world.other_experiment)
    schedule.plan.job = job


def _whoever_left_reads_nothing(schedule: Directed, struck: list[str]) -> list[str]:
    """After the next pass, wherever the files are."""
    schedule.plan.ambush = lambda _: None
    schedule._settle()
    schedule.process(schedule._keep_all_access)
    differences = schedule.collaborations.differences(schedule.world.other_experiment)
    return schedule._broken + schedule.collaborations.strangers() + differences + ["nothing met"] * (not struck)


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


def given_while_somebody_leaves(schedule: Directed) -> list[str]:
    """A movie is given to others; one of them loses access when its readers are set, and it is not there yet."""
    _two_experiments(schedule)
    schedule.whole(MOVIE, schedule.contents()[0])
    schedule.window(60)
    struck = _strike(schedule, "move", "renameat2", lambda: _ben_leaves(schedule))
    schedule.process(lambda: _give(schedule))
    return _whoever_left_reads_nothing(schedule, struck)


def given_while_access_is_set(schedule: Directed) -> list[str]:
    """Access is taken from somebody; all files are looked at, and before that is on record a movie is given there."""
    world, commits, met = schedule.world, list[str](), list[str]()
    _two_experiments(schedule)
    schedule.whole(MOVIE, schedule.contents()[0])
    schedule.window(60)
    schedule.collaborations.leave(world.other_experiment, "ben")

    def between(name: str) -> None:
        commits.extend([name] * (name == "commit"))
        if commits and name == "clock":  # access was begun to be set, and is to be recorded
            schedule.plan.between = schedule._between
            met.append(name)
            schedule.process(lambda: _give(schedule))

    schedule.plan.between = between
    schedule.process(lambda: schedule._keep_access(world.other_experiment))
    return _whoever_left_reads_nothing(schedule, met)


def given_half_way_while_somebody_leaves(schedule: Directed) -> list[str]:
    """The same as the first; it fails when the movie was moved, and is carried on after everybody's access was set."""
    _two_experiments(schedule)
    schedule.whole(MOVIE, schedule.contents()[0])
    schedule.window(60)

    def fail() -> None:
        schedule.plan.ambush = lambda _: None
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def leave() -> None:
        _ben_leaves(schedule)
        _strike(schedule, "move", "after renameat2", fail)

    struck = _strike(schedule, "move", "renameat2", leave)
    schedule.process(lambda: schedule.refused(lambda: _give(schedule)))
    schedule.process(lambda: resume_reassignments(schedule.refiling()))
    return _whoever_left_reads_nothing(schedule, struck)


def slept_before_a_name(schedule: Directed) -> list[str]:
    """A process sleeps for an hour just before a copy gets its name; meanwhile the movie is given to others."""
    return _slept(schedule, "publish", "renameat2")


def slept_before_a_copy(schedule: Directed) -> list[str]:
    """A process sleeps just before it opens a source; its lease runs out; others copy it and give it away."""
    return _slept(schedule, "copy", "open")


def _slept(schedule: Directed, what: str, call: str) -> list[str]:
    _two_experiments(schedule)

    def copy() -> None:
        schedule._window(schedule.world.t + 60)

    def sleep() -> None:
        others = [copy] if what == "copy" else []
        schedule.sleep([*others, lambda: _give(schedule)], rest_s=40.0)

    schedule.whole(MOVIE, schedule.contents()[0])
    struck = _strike(schedule, what, call, sleep)
    schedule.crashed(lambda: schedule._window(schedule.world.t + SETTLED_S))
    return _whoever_left_reads_nothing(schedule, struck)


def settled_with_others(schedule: Directed) -> list[str]:
    """A process ends between giving a copy its name and recording it; others get the movie before anybody knows."""
    _two_experiments(schedule)
    schedule.whole(MOVIE, schedule.contents()[0])
    schedule.crash_at_the_commit_after("request publish")
    schedule.crashed(lambda: schedule._window(schedule.world.t + SETTLED_S))
    schedule.process(lambda: _give(schedule))
    schedule._settle()
    return schedule._broken + schedule.collaborations.strangers()
