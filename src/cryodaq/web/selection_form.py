"""A selection of movies as the address of a page says it, and the other way round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from cryodaq.ledger.gallery import MOVIE_STATES
from cryodaq.ledger.measurements import QUANTITIES, Quantity
from cryodaq.ledger.selection import Selection

MOST_PAGES = 100_000
VIEWS = ("gallery", "table", "squares", "holes")


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
        return [
            LimitField(
                quantity=one, low=self.query.get(f"min_{one.key}", ""), high=self.query.get(f"max_{one.key}", "")
            )
            for one in QUANTITIES.values()
        ]

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the order is asked for."""
        return any(key not in {"view", "sort", "order", "page", "branch"} for key in self.query)


def read_query(sent: QueryParams, *, sample_id: str, branch_name: str, current_branch: str | None = None) -> Asked:
    """Read an address's query; what makes no sense counts as not said.

    Parameters
    ----------
    branch_name
        The branch that is meant; addresses say it where it is not `current_branch`.
    """
    said = {"branch": branch_name} if branch_name != (current_branch or branch_name) else {}
    limits: dict[str, tuple[float | None, float | None]] = {}
    for one in QUANTITIES.values():
        low, high = (_limit(sent.get(f"{end}_{one.key}", "")) for end in ("min", "max"))
        for end, value in (("min", low), ("max", high)):
            if value is not None:
                said[f"{end}_{one.key}"] = f"{value:g}"
        if low is not None or high is not None:
            limits[one.key] = (_in_column(low, one), _in_column(high, one))
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
        limits=limits,
        which=said.get("which", "all"),
        square=said.get("square"),
        hole=said.get("hole"),
        text=said.get("q", ""),
        sort=said.get("sort", "time"),
        descending=said.get("order", "down") == "down",
    )
    return Asked(selection=selection, view=said.get("view", "gallery"), page=page, query=said)


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
