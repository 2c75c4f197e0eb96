"""Schedules of one event each: what once went wrong, at exactly its moment, whatever the random ones draw."""

from __future__ import annotations

import traceback
from pathlib import Path

import sqlalchemy as sa
from tests.faults.directed_copies import (
    begun_again_while_copied,
    damaged_and_repaired,
    damaged_and_replaced,
    damaged_and_rewritten_with_its_time,
    damaged_and_taken,
    named_and_replaced,
    named_and_replaced_in_quarantine,
    named_and_taken,
    two_want_one_name,
)
from tests.faults.directed_giving import (
    assigned_half_way,
    assigned_with_a_damaged_copy_made_anew,
    assigned_with_a_damaged_copy_moved,
    reassigned_half_way,
    unfinished_in_quarantine,
)
from tests.faults.directed_readers import (
    access_half_set,
    given_half_way_while_somebody_leaves,
    given_while_access_is_set,
    given_while_somebody_leaves,
    settled_with_others,
    slept_before_a_copy,
    slept_before_a_name,
)
from tests.faults.directed_removals import (
    aside_and_not_heard_of,
    cleared_before_verification,
    unlinked_and_not_heard_of,
)
from tests.faults.directed_scans import (
    another_camera_in_its_place,
    clock_put_back,
    gone_and_back_before_it_is_verified,
    gone_before_its_next_copy,
    paused_between_pieces,
    rewritten_in_place,
    scanned_and_not_heard_of,
)
from tests.faults.directing import Directed
from tests.faults.invariants import broken_invariants
from tests.faults.points import Crash, Points

SCHEDULES = (
    access_half_set,
    another_camera_in_its_place,
    aside_and_not_heard_of,
    assigned_half_way,
    assigned_with_a_damaged_copy_made_anew,
    assigned_with_a_damaged_copy_moved,
    begun_again_while_copied,
    cleared_before_verification,
    clock_put_back,
    damaged_and_repaired,
    damaged_and_replaced,
    damaged_and_rewritten_with_its_time,
    damaged_and_taken,
    given_half_way_while_somebody_leaves,
    given_while_access_is_set,
    given_while_somebody_leaves,
    gone_and_back_before_it_is_verified,
    gone_before_its_next_copy,
    named_and_replaced,
    named_and_replaced_in_quarantine,
    named_and_taken,
    paused_between_pieces,
    reassigned_half_way,
    rewritten_in_place,
    scanned_and_not_heard_of,
    settled_with_others,
    slept_before_a_copy,
    slept_before_a_name,
    two_want_one_name,
    unfinished_in_quarantine,
    unlinked_and_not_heard_of,
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
