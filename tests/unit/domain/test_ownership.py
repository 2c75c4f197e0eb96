"""Whose an exposure is: decided by our clock, by the folder, or by people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cryodaq.domain.ownership import Decision, Ownership, Poll, decide_owner

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
A, B = "a" * 24, "b" * 24
NOBODY = frozenset[str]()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def poll(seconds: float, sample: str | None, *, answered: bool = True) -> Poll:
    return Poll(asked_at=at(seconds), answered=answered, sample_id=sample)


def decide(*polls: Poll, seen: tuple[float, float] = (10, 12), owners: frozenset[str] = NOBODY) -> Ownership | None:
    return decide_owner(at(seen[0]), first_seen_until=at(seen[1]), polls=polls, folder_owners=owners)


def test_two_polls_that_agree_decide() -> None:
    assert decide(poll(8, A), poll(13, A)) == Ownership(sample_id=A, decision=Decision.CURRENT)


def test_nothing_is_decided_before_the_poll_after_the_scan() -> None:
    assert decide(poll(8, A), poll(11, A)) is None


def test_around_a_switch_the_folder_decides() -> None:
    found = decide(poll(8, A), poll(13, B), owners=frozenset({A}))
    assert found == Ownership(sample_id=A, decision=Decision.FOLDER)


def test_around_a_switch_a_mixed_folder_is_for_people() -> None:
    found = decide(poll(8, A), poll(13, B), owners=frozenset({A, B}))
    assert found == Ownership(sample_id=None, decision=Decision.QUARANTINE)


def test_a_folder_of_a_third_sample_is_for_people() -> None:
    found = decide(poll(8, A), poll(13, B), owners=frozenset({"c" * 24}))
    assert found == Ownership(sample_id=None, decision=Decision.QUARANTINE)


def test_around_a_switch_a_new_folder_waits_for_its_next_exposures() -> None:
    assert decide(poll(8, A), poll(13, B)) is None
    found = decide(poll(8, A), poll(13, B), poll(20, B), owners=frozenset({B}))
    assert found == Ownership(sample_id=B, decision=Decision.FOLDER)


def test_a_new_folder_that_stays_without_an_owner_is_for_people_after_a_minute() -> None:
    found = decide(poll(8, A), poll(13, B), poll(73, B))
    assert found == Ownership(sample_id=None, decision=Decision.QUARANTINE)


def test_what_becomes_current_after_nothing_takes_a_new_folder_at_once() -> None:
    assert decide(poll(8, None), poll(13, A)) == Ownership(sample_id=A, decision=Decision.FOLDER)


def test_collecting_in_standby_is_for_people() -> None:
    found = decide(poll(8, None), poll(13, None))
    assert found == Ownership(sample_id=None, decision=Decision.QUARANTINE)


def test_what_lay_there_before_the_first_poll_is_for_people() -> None:
    assert decide(poll(13, A)) == Ownership(sample_id=None, decision=Decision.QUARANTINE)


def test_without_an_answer_the_sample_last_known_goes_on() -> None:
    found = decide(poll(8, A), poll(13, None, answered=False))
    assert found == Ownership(sample_id=A, decision=Decision.LAST_KNOWN)


def test_a_short_change_between_two_equal_polls_is_seen() -> None:
    found = decide(poll(8, A), poll(11, B), poll(13, A), owners=frozenset({A, B}))
    assert found == Ownership(sample_id=None, decision=Decision.QUARANTINE)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from([A, B, None]), st.booleans()), max_size=12),
    st.floats(0, 50),
    st.floats(0, 10),
    st.frozensets(st.sampled_from([A, B]), max_size=2),
)
def test_an_owner_is_always_one_that_was_said_to_be_current(
    said: list[tuple[float, str | None, bool]], seen: float, length: float, owners: frozenset[str]
) -> None:
    polls = [poll(when, sample, answered=answered) for when, sample, answered in sorted(said, key=lambda p: p[0])]
    found = decide(*polls, seen=(seen, seen + length), owners=owners)
    if found is not None and found.sample_id is not None:
        assert found.sample_id in {one.sample_id for one in polls if one.answered}


@given(
    switches=st.lists(st.floats(0, 1000), max_size=4),
    seen=st.tuples(st.floats(0, 1000), st.floats(0.1, 5)),
    pause_s=st.floats(0.5, 10),
    born=st.floats(0, 1),
)
def test_an_exposure_never_goes_to_a_sample_that_was_not_current_when_it_appeared(
    switches: list[float], seen: tuple[float, float], pause_s: float, born: float
) -> None:
    """Whatever the moments of switches, scans and polls: the decision is right, or people decide."""
    moments = sorted(switches)

    def current(second: float) -> str:
        return f"{sum(moment <= second for moment in moments):024x}"

    first, until = seen[0], seen[0] + seen[1]
    appeared = first + born * (until - first)
    polls = [poll(i * pause_s, current(i * pause_s)) for i in range(-1, int(1100 / pause_s) + 2)]
    found = decide(*polls, seen=(first, until))
    assert found is not None
    assert found.sample_id in {None, current(appeared)}
