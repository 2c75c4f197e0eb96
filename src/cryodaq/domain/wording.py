"""Counts and sizes as sentences say them."""

from __future__ import annotations


def say_size(size_bytes: float) -> str:
    """Return a size in the unit that suits it, with three digits: 1.50 GB, 25.3 MB, 480 kB."""
    amount, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    digits = 0 if unit == "B" or amount >= 99.95 else 1 if amount >= 9.995 else 2
    return f"{amount:.{digits}f} {unit}"


def count_of(number: int, one: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{number} {one}{'s' * (number != 1)}"
