"""Sizes and counts as people read them."""

from __future__ import annotations

import pytest

from cryodaq.domain.wording import count_of, say_size


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (25_300_000, "25.3 MB"),
        (999_600_000, "1.00 GB"),
        (1_500_000_000, "1.50 GB"),
        (123_456_000_000_000, "123 TB"),
    ],
)
def test_sizes_have_the_unit_that_suits_them(size_bytes: int, said: str) -> None:
    assert say_size(size_bytes) == said


def test_one_is_singular() -> None:
    assert [count_of(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
