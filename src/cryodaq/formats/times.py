"""Times as acquisition programs write them, brought to ISO 8601: with an offset where the file says one."""

from __future__ import annotations

import re
from datetime import datetime

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LONGEST = 60
"""Characters of a text that is kept as it is."""

_ISO = re.compile(r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2})(?:[.,](\d{1,9}))?\s*(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2}):(?P<second>\d{2})"
_DAY_FIRST = re.compile(rf"(?P<day>\d{{1,2}})-(?P<month>[A-Za-z]{{3}})-(?P<year>\d{{4}}|\d{{2}})\s+{_CLOCK}", re.ASCII)
_MONTH_FIRST = re.compile(
    rf"(?P<month>[A-Za-z]{{3}})-(?P<day>\d{{1,2}})-(?P<year>\d{{4}}|\d{{2}})\s+{_CLOCK}", re.ASCII
)


def iso_time(text: str | None) -> str | None:
    """Return a time in ISO 8601, without an offset where none is said; what is no known time stays as it is.

    Two-digit years are of this century: SerialEM writes such.
    """
    if text is None or not (stripped := text.strip()):
        return None
    try:
        found = _parsed(stripped)
    except ValueError:  # such as the 31st of June
        found = None
    return stripped[:LONGEST] if found is None else found.isoformat()


def to_the_second(text: str) -> str:
    """Return what `iso_time` gave without fractions of seconds, as people read it."""
    try:
        return datetime.fromisoformat(text).isoformat(sep=" ", timespec="seconds")
    except ValueError:
        return text


def _parsed(text: str) -> datetime | None:
    iso = _ISO.fullmatch(text)
    if iso is not None:
        moment, fraction, offset = iso.groups()
        digits = f".{fraction[:6]:0<6}" if fraction else ""
        return datetime.fromisoformat(f"{moment.replace(' ', 'T')}{digits}{(offset or '').replace('Z', '+00:00')}")
    named = _DAY_FIRST.fullmatch(text) or _MONTH_FIRST.fullmatch(text)
    if named is None or named["month"].lower() not in MONTHS:
        return None
    year = int(named["year"]) + (2000 if len(named["year"]) == 2 else 0)
    month = MONTHS.index(named["month"].lower()) + 1
    hour, minute, second = (int(named[part]) for part in ("hour", "minute", "second"))
    return datetime(year, month, int(named["day"]), hour, minute, second)  # noqa: DTZ001  # the file says no zone
