"""Who gets and who loses access: only who is gone from a complete answer."""

from __future__ import annotations

import pytest

from cryodaq.domain.access import Grant, plan_access
from cryodaq.domain.experiment import Collaborator


def person(uid: str, number: int | None, *, is_group: bool = False) -> Collaborator:
    return Collaborator(uid=uid, is_group=is_group, posix_id=number)


def grant(uid: str, number: int | None, *, is_group: bool = False) -> Grant:
    return Grant(uid=uid, is_group=is_group, posix_id=number)


def test_who_comes_is_granted_and_who_goes_is_revoked() -> None:
    applied = [grant("uid:a", 1001), grant("uid:b", 1002), grant("lab", 50, is_group=True)]
    plan = plan_access(applied, [person("uid:a", 1001), person("lab", 50, is_group=True), person("uid:c", 1003)])
    assert plan.grants == (grant("lab", 50, is_group=True), grant("uid:a", 1001), grant("uid:c", 1003))
    assert plan.revoked == (grant("uid:b", 1002),)
    assert not plan.must_be_confirmed


def test_who_has_no_number_any_more_keeps_the_one_before_and_is_named() -> None:
    plan = plan_access([grant("uid:a", 1001)], [person("uid:a", None), person("uid:b", None)])
    assert plan.grants == (grant("uid:a", 1001), grant("uid:b", None))
    assert plan.revoked == ()
    assert plan.unknown == ("uid:a", "uid:b")


def test_another_number_takes_the_access_from_the_one_before() -> None:
    plan = plan_access(
        [grant("uid:a", 1001), grant("uid:b", 7), grant("uid:c", 8)],
        [person("uid:a", 2001), person("uid:b", 7), person("uid:c", 8)],
    )
    assert plan.revoked == (grant("uid:a", 1001),)


@pytest.mark.parametrize(("left", "waits"), [(3, False), (2, False), (1, True), (0, True)])
def test_more_than_half_at_once_waits_for_a_person(left: int, waits: bool) -> None:
    applied = [grant(f"uid:{n}", 1000 + n) for n in range(4)]
    plan = plan_access(applied, [person(f"uid:{n}", 1000 + n) for n in range(left)])
    assert plan.must_be_confirmed is waits


@pytest.mark.parametrize("number", [0, -5, 2**32 - 1, 2**40])
def test_numbers_that_are_nobodys_or_roots_are_not_believed(number: int) -> None:
    plan = plan_access([], [person("uid:a", number)])
    assert plan.grants == (grant("uid:a", None),)
    assert plan.unknown == ("uid:a",)
