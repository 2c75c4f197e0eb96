"""Values as people read them: every number with its unit, every time with its offset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from cryodaq.domain.wording import say_size
from cryodaq.web.settings import WebSettings

if TYPE_CHECKING:
    from jinja2 import Environment

NOTHING = "–"
_NUMBER_AND_UNIT = re.compile(r"(\d) (e⁻|Å|s\b|kV|mm|[kMGT]?B\b|px|frames?\b|movies?\b)")
MOVIE_STATES: Mapping[str, tuple[str, str]] = {
    "registered": ("copied", "calm"),
    "waiting": ("waiting", "wait"),
    "queued": ("queued", "calm"),
    "triggered": ("handed over", "calm"),
    "processing": ("processing", "busy"),
    "published": ("published", "good"),
    "failed": ("failed", "bad"),
    "kept": ("kept, not processed", "calm"),
}
FILE_STATES: Mapping[str, tuple[str, str]] = {
    "seen": ("being written", "calm"),
    "held": ("held", "wait"),
    "complete": ("waits for its copy", "calm"),
    "copying": ("copying", "busy"),
    "copied": ("copied", "calm"),
    "verified": ("verified", "good"),
    "removed": ("verified, removed from the microscope", "good"),
    "vanished": ("vanished from the microscope", "wait"),
}
ATTEMPT_STATES: Mapping[str, tuple[str, str]] = {
    "running": ("running", "busy"),
    "succeeded": ("succeeded", "good"),
    "failed": ("failed", "bad"),
}
MICROSCOPE_STATES: Mapping[str, tuple[str, str]] = {
    "sample": ("sample current", "good"),
    "no_sample": ("no sample current", "wait"),
    "standby": ("standby", "calm"),
    "nothing": ("not in use", "calm"),
    "unreachable": ("elogbook does not answer", "bad"),
    "unknown": ("not asked yet", "calm"),
}
STAGES: Mapping[str, str] = {"align": "alignment", "ctf": "CTF", "pick": "picking", "publish": "publication"}


def number(value: float | None, unit: str = "", digits: int = 1) -> str:
    """Return a number with its unit, thousands set apart by narrow spaces."""
    if value is None:
        return NOTHING
    text = f"{value:,.{digits}f}".replace(",", "\u202f")
    if not unit:
        return text
    return f"{text}{unit}" if unit == "°" else f"{text}\u00a0{unit}"


def count(value: int | None, one: str = "", many: str = "") -> str:
    """Return a count, with the thing counted."""
    if value is None:
        return NOTHING
    text = f"{value:,}".replace(",", "\u202f")
    word = one if value == 1 else (many or (f"{one}s" if one else ""))
    return f"{text}\u00a0{word}" if word else text


def size(value: int | None) -> str:
    """Return a size in the unit that suits it."""
    return NOTHING if value is None else say_size(value).replace(" ", "\u00a0")


def micrometres(value_ang: float | None) -> str:
    """Return a defocus given in Å as µm."""
    return number(None if value_ang is None else value_ang / 1e4, "µm", 2)


def moment(value: datetime | None, zone: ZoneInfo) -> Markup:
    """Return a time in the site's zone with its offset, as a `<time>`."""
    if value is None:
        return escape(NOTHING)
    return Markup('<time datetime="{}">{}</time>').format(value.astimezone(zone).isoformat(), stamp(value, zone))


def stamp(value: datetime, zone: ZoneInfo) -> str:
    """Return a time as `moment` does, for places that take text only."""
    local = value.astimezone(zone)
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def age(value: datetime | None, now: datetime, zone: ZoneInfo) -> Markup:
    """Return how long ago something was; the script keeps it true, the whole time is in its title."""
    if value is None:
        return escape(NOTHING)
    local = value.astimezone(zone)
    return Markup('<time datetime="{}" title="{}" data-age>{}</time>').format(
        local.isoformat(),
        local.isoformat(sep=" ", timespec="seconds"),
        duration((now - value).total_seconds()) + " ago",
    )


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None:
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}\u00a0s"
    if whole < 3600:
        return f"{whole // 60}\u00a0min"
    if whole < 86400:
        return f"{whole // 3600}\u00a0h {whole % 3600 // 60}\u00a0min"
    return f"{whole // 86400}\u00a0d {whole % 86400 // 3600}\u00a0h"


def state_badge(state: str, words: Mapping[str, tuple[str, str]], more: str = "") -> Markup:
    """Return a state as a badge: said in words, coloured besides."""
    text, tone = words.get(state, (state, "calm"))
    text = f"{text}: {more}" if more else text
    return Markup('<span class="badge {}">{}</span>').format(tone, text)


def breakable(name: str) -> Markup:
    """Return a long name that may be broken after its underscores."""
    return Markup("<wbr>").join(escape(part) for part in _split_after(name, "_/"))


def unbroken(sentence: str) -> str:
    """Return a sentence whose numbers stay on one line with their units."""
    return _NUMBER_AND_UNIT.sub("\\1\u00a0\\2", sentence)


def _split_after(text: str, separators: str) -> list[str]:
    parts, start = [], 0
    for index, character in enumerate(text):
        if character in separators:
            parts.append(text[start : index + 1])
            start = index + 1
    return [*parts, text[start:]]


def environment(settings: WebSettings) -> Environment:
    """Return the templates with everything that they use to say values."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("cryodaq.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "count": count,
        "size": size,
        "micrometres": micrometres,
        "duration": duration,
        "breakable": breakable,
        "unbroken": unbroken,
        "moment": partial(moment, zone=settings.zone),
        "stamp": partial(stamp, zone=settings.zone),
        "age": lambda value: age(value, settings.clock(), settings.zone),
    }
    made.globals |= {
        "site_name": settings.site_name,
        "elogbook_url": settings.elogbook_url,
        "has_desk": settings.desk is not None,
        "movie_badge": partial(state_badge, words=MOVIE_STATES),
        "file_badge": partial(state_badge, words=FILE_STATES),
        "attempt_badge": partial(state_badge, words=ATTEMPT_STATES),
        "microscope_badge": partial(state_badge, words=MICROSCOPE_STATES),
        "stage_names": STAGES,
    }
    return made
