"""A selection of movies as the address of a page says it, and the other way round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.datastructures import QueryParams

from cryodaq.ledger.gallery import MOVIE_STATES
from cryodaq.ledger.limits import Limits
from cryodaq.ledger.measurements import QUANTITIES, Quantity
from cryodaq.ledger.said import SAID
from cryodaq.ledger.selection import Selection

MOST_PAGES = 100_000
VIEWS = ("gallery", "table", "squares", "holes")
TIMES = ("from", "until")
UTC_ZONE = ZoneInfo("UTC")
NO_LIMITS = "none"
"""Says in an address that the limits which are kept for the sample shall not hold there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitField:
    """The two fields of one quantity."""

    quantity: Quantity
    low: str
    """As shown; empty for no limit."""
    high: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a page of a sample's movies was asked for."""

    selection: Selection
    view: str
    page: int
    query: Mapping[str, str]
    """The address's query without what is as usual."""
    kept: Limits | None = None
    """The limits that are kept for the sample; in force where the address has none of its own."""

    def address(self, **changes: str) -> str:
        """Return the query of a page that differs in some values; an empty value is left out."""
        merged = {**self.query, **changes}
        if "page" not in changes:
            merged.pop("page", None)
        kept = {key: value for key, value in merged.items() if value}
        return f"?{urlencode(kept)}" if kept else "?"

    def meant(self) -> Selection:
        """Return the selection that is exported: what is in, unless what is out is asked for."""
        return replace(self.selection, which="out" if self.selection.which == "out" else "in")

    def limit_fields(self) -> list[LimitField]:
        """Return the fields of all quantities."""
        return _fields(QUANTITIES, self.selection.limits)

    def said_fields(self) -> list[LimitField]:
        """Return the fields of what acquisition programs say."""
        return _fields(SAID, self.selection.said)

    @property
    def looks_for(self) -> bool:
        """Whether movies are looked for by name, by what their program said, or by time."""
        return bool(self.selection.text or self.selection.said) or self.selection.taken != (None, None)

    def without_limits(self) -> str:
        """Return the query of the page without limits, and without what else narrows it."""
        unlimited = {f"{end}_{key}": "" for key in (*QUANTITIES, *SAID) for end in ("min", "max")}
        narrowing = dict.fromkeys(("state", "which", "square", "hole", "q", *TIMES), "")
        return self.address(**unlimited, **narrowing, limits="" if self.kept is None else NO_LIMITS)

    def with_kept_limits(self) -> str:
        """Return the query of the page with the limits that are kept for the sample."""
        return self.address(**{f"{end}_{key}": "" for key in QUANTITIES for end in ("min", "max")}, limits="")

    @property
    def limits_are_kept(self) -> bool:
        """Whether the limits in force are those that are kept for the sample."""
        return self.kept is not None and self.selection.limits is self.kept

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the order is asked for."""
        return any(key not in {"view", "sort", "order", "page", "branch", "limits"} for key in self.query)


def read_query(
    sent: QueryParams,
    *,
    sample_id: str,
    branch_name: str,
    current_branch: str | None = None,
    kept: Limits | None = None,
    zone: ZoneInfo = UTC_ZONE,
) -> Asked:
    """Read an address's query; what makes no sense counts as not said.

    Parameters
    ----------
    kept
        The sample's own limits, where it has any.
    zone
        Of times that name none.
    branch_name
        The branch that is meant; addresses say it where it is not `current_branch`.
    """
    said = {"branch": branch_name} if branch_name != (current_branch or branch_name) else {}
    limits, asked = read_limits(sent), _ranges(sent, SAID)
    said |= {**said_limits(limits), **_said_ranges(asked, SAID)}
    taken = {key: moment for key in TIMES if (moment := _moment(sent.get(key, ""), zone)) is not None}
    said |= {key: moment.replace(tzinfo=None).isoformat(timespec="minutes") for key, moment in taken.items()}
    if kept is not None and not limits:
        said |= _choice(sent, "limits", ("", NO_LIMITS), usual="")
    said |= _choice(sent, "state", tuple(MOVIE_STATES), usual="all")
    said |= _choice(sent, "which", ("all", "in", "out"), usual="all")
    said |= _choice(sent, "view", VIEWS, usual="gallery")
    said |= _choice(sent, "sort", ("time", *QUANTITIES), usual="time")
    said |= _choice(sent, "order", ("down", "up"), usual="down")
    said |= {key: text for key in ("square", "hole", "q") if (text := sent.get(key, "").strip()[:100])}
    page = _page(sent.get("page", ""))
    if page > 1:
        said["page"] = str(page)
    selection = Selection(
        sample_id=sample_id,
        branch_name=branch_name,
        state=said.get("state", "all"),
        limits=kept if kept is not None and not limits and "limits" not in said else limits,
        which=said.get("which", "all"),
        square=said.get("square"),
        hole=said.get("hole"),
        text=said.get("q", ""),
        said=asked,
        taken=(taken.get("from"), taken.get("until")),
        sort=said.get("sort", "time"),
        descending=said.get("order", "down") == "down",
    )
    return Asked(selection=selection, view=said.get("view", "gallery"), page=page, query=said, kept=kept)


def read_limits(sent: Mapping[str, str]) -> dict[str, tuple[float | None, float | None]]:
    """Return the limits that an address or a form names, in the columns' units."""
    return _ranges(sent, QUANTITIES)


def said_limits(limits: Limits) -> dict[str, str]:
    """Return limits as an address or a form names them, in the shown units."""
    return _said_ranges(limits, QUANTITIES)


def _fields(known: Mapping[str, Quantity], found: Limits) -> list[LimitField]:
    return [
        LimitField(quantity=one, low=_shown(low, one), high=_shown(high, one))
        for one in known.values()
        for low, high in [found.get(one.key, (None, None))]
    ]


def _ranges(sent: Mapping[str, str], known: Mapping[str, Quantity]) -> dict[str, tuple[float | None, float | None]]:
    ranges: dict[str, tuple[float | None, float | None]] = {}
    for one in known.values():
        low, high = (_limit(sent.get(f"{end}_{one.key}", "")) for end in ("min", "max"))
        if low is not None or high is not None:
            ranges[one.key] = (_in_column(low, one), _in_column(high, one))
    return ranges


def _said_ranges(ranges: Limits, known: Mapping[str, Quantity]) -> dict[str, str]:
    return {
        f"{end}_{key}": _shown(value, known[key])
        for key, pair in ranges.items()
        for end, value in zip(("min", "max"), pair, strict=True)
        if value is not None
    }


def _moment(text: str, zone: ZoneInfo) -> datetime | None:
    """Return a time as a browser's field writes it, in the facility's zone."""
    try:
        moment = datetime.fromisoformat(text.strip()[:40])
        return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)
    except (ValueError, OverflowError):
        return None


def _shown(value: float | None, quantity: Quantity) -> str:
    return "" if value is None else f"{value * quantity.scale:g}"


def _limit(text: str) -> float | None:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _in_column(value: float | None, quantity: Quantity) -> float | None:
    return None if value is None else value / quantity.scale


def _choice(sent: QueryParams, key: str, known: tuple[str, ...], *, usual: str) -> dict[str, str]:
    found = sent.get(key, usual)
    return {key: found} if found in known and found != usual else {}


def _page(text: str) -> int:
    return min(int(text), MOST_PAGES) if text.isascii() and text.isdigit() and 0 < len(text) < 8 and int(text) else 1
