"""A file is copied when it is finished, and not before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.domain.completeness import (
    Acceptance,
    CompletenessState,
    Look,
    Verdict,
    as_accepted,
    expected_frames,
    judge,
    unchanged_since,
)
from cryodaq.domain.names import FileRole

FINISHED = Look(size_bytes=1000, mtime_ns=5, closed=True, frame_count=20, taken_at_s=100.0)


def after(seconds: float, look: Look = FINISHED, **changes: object) -> Look:
    return replace(look, taken_at_s=look.taken_at_s + seconds, **changes)  # type: ignore[arg-type]  # test helper


def verdict(
    previous: Look | None, latest: Look, *, role: FileRole = FileRole.MOVIE, expected: int | None = 20
) -> Verdict:
    return judge(previous, latest, role=role, expected_frames=expected, now_s=latest.taken_at_s)


def test_a_movie_seen_once_waits_for_a_second_look() -> None:
    found = verdict(None, FINISHED)
    assert found.state is CompletenessState.SETTLING
    assert found.until_s == 102.0


def test_a_movie_with_its_frames_is_complete_after_two_quiet_seconds() -> None:
    assert verdict(FINISHED, after(1.9)).state is CompletenessState.SETTLING
    assert verdict(FINISHED, after(2.0)).complete


def test_a_movie_of_unknown_length_needs_ten_quiet_seconds() -> None:
    assert verdict(FINISHED, after(9.9), expected=None).until_s == 110.0
    assert verdict(FINISHED, after(10.0), expected=None).complete


def test_metadata_that_ends_itself_needs_half_a_second_between_two_looks() -> None:
    sealed = replace(FINISHED, frame_count=None, sealed=True)
    found = verdict(None, sealed, role=FileRole.METADATA)
    assert found.state is CompletenessState.SETTLING
    assert found.until_s == 100.5
    assert not verdict(sealed, after(0.4, sealed), role=FileRole.METADATA).complete
    assert verdict(sealed, after(0.5, sealed), role=FileRole.METADATA).complete
    assert not verdict(sealed, after(0.5, sealed, mtime_ns=6), role=FileRole.METADATA).complete


def test_no_movie_and_no_metadata_that_could_go_on_is_taken_earlier() -> None:
    open_ended = replace(FINISHED, frame_count=None)
    assert not verdict(open_ended, after(1.9, open_ended), role=FileRole.METADATA).complete
    sealed = replace(FINISHED, sealed=True)
    assert not verdict(sealed, after(1.9, sealed)).complete
    unsure = replace(FINISHED, closed=None, sealed=True)
    assert not verdict(unsure, after(9.9, unsure), role=FileRole.METADATA).complete


def test_a_format_that_cannot_say_needs_ten_quiet_seconds() -> None:
    unsure = replace(FINISHED, closed=None)
    assert not verdict(unsure, after(5, unsure)).complete
    assert verdict(unsure, after(10, unsure)).complete


def test_a_validly_closed_movie_that_lacks_frames_is_held_as_short() -> None:
    early = replace(FINISHED, frame_count=19)
    assert verdict(early, after(3, early)).state is CompletenessState.SETTLING
    held = verdict(early, after(10, early))
    assert held.state is CompletenessState.SHORT
    assert (held.frames_found, held.frames_expected) == (19, 20)
    assert verdict(after(10, early), after(20)).state is CompletenessState.GROWING


def test_a_movie_with_more_frames_than_expected_waits_longer_and_goes() -> None:
    long = replace(FINISHED, frame_count=25)
    assert not verdict(long, after(5, long)).complete
    found = verdict(long, after(10, long))
    assert found.complete
    assert "25" in found.why


@pytest.mark.parametrize("change", [{"size_bytes": 1001}, {"mtime_ns": 4}, {"mtime_ns": 6}, {"frame_count": 21}])
def test_any_change_between_two_looks_begins_the_wait_again(change: dict[str, int]) -> None:
    changed = after(60, **change)
    found = verdict(FINISHED, changed)
    assert found.state is CompletenessState.GROWING
    assert unchanged_since(FINISHED, changed) is changed


@pytest.mark.parametrize("mtime_ns", [0, -1, 2**62])
def test_a_microscope_with_a_wrong_clock_is_waited_for_no_longer(mtime_ns: int) -> None:
    odd = replace(FINISHED, mtime_ns=mtime_ns)
    assert verdict(odd, after(2, odd)).complete


def test_a_torn_movie_is_held_after_a_minute_and_never_complete() -> None:
    torn = replace(FINISHED, closed=False)
    assert verdict(torn, after(59, torn)).state is CompletenessState.GROWING
    held = verdict(torn, after(60, torn))
    assert held.state is CompletenessState.SHORT
    assert "not finished" in held.why
    assert verdict(torn, after(3600, torn)).state is CompletenessState.SHORT


@pytest.mark.parametrize("role", [FileRole.PREVIEW, FileRole.HOLE_PICTURE, FileRole.ATLAS, FileRole.OTHER])
def test_a_picture_that_only_looks_unfinished_is_taken_as_it_is(role: FileRole) -> None:
    odd = replace(FINISHED, closed=False, frame_count=None)
    assert verdict(odd, after(59, odd), role=role).state is CompletenessState.GROWING
    assert verdict(odd, after(60, odd), role=role).complete


@pytest.mark.parametrize("role", [FileRole.METADATA, FileRole.GAIN, FileRole.SUM])
def test_what_is_computed_with_is_held_when_it_is_torn(role: FileRole) -> None:
    torn = replace(FINISHED, closed=False, frame_count=None)
    assert verdict(torn, after(3600, torn), role=role).state is CompletenessState.SHORT


def test_an_empty_file_is_growing() -> None:
    empty = replace(FINISHED, size_bytes=0, closed=None)
    assert verdict(empty, after(3600, empty)).state is CompletenessState.GROWING


def test_a_look_from_before_a_restart_of_our_clock_proves_nothing() -> None:
    from_another_boot = after(1e6)
    assert verdict(from_another_boot, FINISHED).state is CompletenessState.SETTLING
    assert unchanged_since(from_another_boot, FINISHED) is FINISHED


def test_metadata_needs_no_frames() -> None:
    xml = replace(FINISHED, frame_count=None)
    assert verdict(xml, after(2, xml), role=FileRole.METADATA).complete
    assert not verdict(xml, after(1, xml), role=FileRole.METADATA).complete


def test_a_living_file_is_taken_as_it_is() -> None:
    assert verdict(None, replace(FINISHED, closed=None), role=FileRole.LIVING).complete


def test_quiet_time_adds_up_over_many_looks() -> None:
    anchor = None
    states = []
    for step in range(6):
        look = after(0.5 * step)
        anchor = unchanged_since(anchor, look)
        states.append(verdict(anchor, look).complete)
    assert states == [False] * 4 + [True] * 2


@given(sizes=st.lists(st.integers(1, 3), min_size=2, max_size=30), step_s=st.floats(0.1, 4))
def test_no_file_is_complete_that_changed_within_two_seconds(sizes: list[int], step_s: float) -> None:
    anchor = None
    changed_at = 0.0
    for index, size in enumerate(sizes):
        now_s = index * step_s
        if index and size != sizes[index - 1]:
            changed_at = now_s
        look = Look(size_bytes=size, mtime_ns=0, closed=True, frame_count=20, taken_at_s=now_s)
        anchor = unchanged_since(anchor, look)
        assert verdict(anchor, look).complete == (now_s - changed_at >= 2.0)


def test_the_metadata_knows_the_frames_best_then_the_operator_then_the_siblings() -> None:
    assert expected_frames(metadata=40, parameters=50, siblings=[60] * 3) == 40
    assert expected_frames(metadata=None, parameters=50, siblings=[60] * 3) == 50
    assert expected_frames(metadata=None, parameters=None, siblings=[10, 60, 60, 60]) == 60
    assert expected_frames(metadata=None, parameters=None, siblings=[60, 60, 50]) is None
    assert expected_frames(metadata=0, parameters=None, siblings=[60, 60]) is None


SHORT = replace(FINISHED, frame_count=17)
WORD = Acceptance(size_bytes=1000, mtime_ns=5, frame_count=17, accepted_by="operator")


def test_a_short_movie_that_a_person_accepted_is_complete() -> None:
    found = verdict(SHORT, after(10, SHORT))
    assert found.state is CompletenessState.SHORT
    accepted = as_accepted(found, after(10, SHORT), WORD)
    assert accepted.complete
    assert (accepted.frames_found, accepted.frames_expected) == (17, 20)
    assert "operator accepted it" in accepted.why
    assert as_accepted(found, after(10, SHORT), None) is found


@pytest.mark.parametrize("changes", [{"size_bytes": 1001}, {"mtime_ns": 6}, {"frame_count": 18}, {"closed": False}])
def test_the_word_counts_only_for_the_file_as_it_was(changes: dict[str, object]) -> None:
    changed = replace(SHORT, **changes)  # type: ignore[arg-type]  # test helper
    found = verdict(changed, after(100, changed))
    assert not as_accepted(found, after(100, changed), WORD).complete


def test_a_word_makes_no_growing_file_complete() -> None:
    found = verdict(None, SHORT)
    assert as_accepted(found, SHORT, WORD).state is CompletenessState.SETTLING
