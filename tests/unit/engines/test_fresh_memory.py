"""Small pages are chosen where the host of a virtual machine takes free memory back, and only while asked for."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from cryodaq.engines.fresh_memory import fitting_pages, host_takes_free_memory

ARE_HUGE_PAGES_OFF = 42


def huge_pages_are_off() -> int:
    return int(ctypes.CDLL(None).prctl(ARE_HUGE_PAGES_OFF, *(ctypes.c_ulong(0) for _ in range(4))))


@pytest.mark.parametrize(("features", "takes"), [("011001", True), ("011000", False), ("01", False), ("", False)])
def test_a_host_takes_free_memory_when_its_balloon_asks_for_reports(tmp_path: Path, features, takes) -> None:
    balloon = tmp_path / "virtio3"
    balloon.mkdir()
    (balloon / "features").write_text(features + "\n")
    assert host_takes_free_memory(tmp_path) is takes


def test_a_machine_without_a_balloon_keeps_its_memory(tmp_path: Path) -> None:
    assert not host_takes_free_memory(tmp_path / "absent")


def test_huge_pages_are_off_only_while_asked_for_and_only_where_the_host_takes_memory() -> None:
    before = huge_pages_are_off()
    with fitting_pages():
        assert huge_pages_are_off() == int(host_takes_free_memory() or before)
    assert huge_pages_are_off() == before
