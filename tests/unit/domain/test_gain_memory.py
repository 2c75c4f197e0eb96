"""What a camera's movies showed of its gain reference is believed, until several in a row show another thing."""

from __future__ import annotations

from cryodaq.domain.gain_memory import BELIEVED_AFTER, SETTLED_AFTER, GainMemory, kind_of


def after(memory: GainMemory, *seen: str) -> GainMemory:
    for one in seen:
        memory = memory.after(one)
    return memory


def test_one_movie_that_shows_another_orientation_changes_nothing() -> None:
    memory = after(GainMemory(orientation="as stored"), "as stored", "rows reversed", "as stored")
    assert memory == GainMemory(orientation="as stored", agreed=1, against=0)


def test_several_in_a_row_are_believed() -> None:
    usual = after(GainMemory(orientation="as stored"), *["as stored"] * 40)
    assert after(usual, *["rows reversed"] * (BELIEVED_AFTER - 1)).orientation == "as stored"
    assert after(usual, *["rows reversed"] * BELIEVED_AFTER) == GainMemory(orientation="rows reversed")


def test_a_contradiction_is_history_after_many_that_agree() -> None:
    memory = after(GainMemory(orientation="as stored"), "rows reversed", *["as stored"] * (SETTLED_AFTER - 1))
    assert not memory.is_settled
    assert memory.after("as stored").is_settled


def test_each_pair_of_formats_is_remembered_apart() -> None:
    assert kind_of(".MRC", ".tif") == ".mrc for .tif" != kind_of(".dm4", ".tif")
