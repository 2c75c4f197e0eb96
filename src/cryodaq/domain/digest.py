"""What collaborators are told of their experiment while it is collected, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SETTLED = timedelta(minutes=10)
"""A session is over when nothing was published for so long and nothing is left to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleNews:
    """How far one sample is; medians are over its published micrographs, None where nothing was measured."""

    name: str
    movies: int
    published: int
    failed: int
    new: int
    """Published since the last digest."""
    fit_resolution_ang: float | None
    defocus_ang: float | None
    motion_total_ang: float | None
    particle_count: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentNews:
    """What happened in an experiment since its last digest."""

    experiment: str
    told_at: datetime | None
    """When the last digest was made; None: never."""
    last_published_at: datetime
    samples: tuple[SampleNews, ...]
    picture: str | None
    """The newest micrograph's preview."""
    sample_id: str
    """Of the newest micrograph."""

    @property
    def new(self) -> int:
        """Micrographs that the last digest did not know."""
        return sum(one.new for one in self.samples)

    @property
    def is_at_rest(self) -> bool:
        """Whether every movie is published or failed."""
        return all(one.published + one.failed >= one.movies for one in self.samples)


def is_due(news: ExperimentNews, *, every: timedelta, now: datetime) -> bool:
    """Whether collaborators are told now: of the first micrograph, every few hours, and when all is done."""
    if not news.new:
        return False
    if news.told_at is None or now - news.told_at >= every:
        return True
    return news.is_at_rest and now - news.last_published_at >= SETTLED


def digest_text(news: ExperimentNews, *, page: str | None) -> str:
    """Return the sentences of a digest; `page` is the address of the newest micrograph's sample."""
    lines = [f"{news.experiment}: {_count(news.new, 'new micrograph')}."]
    lines += [_sample_line(one) for one in news.samples]
    if page is not None:
        lines.append(f"All of them: {page}")
    return "\n".join(lines)


def _sample_line(one: SampleNews) -> str:
    facts: list[str] = []
    if one.fit_resolution_ang is not None:
        facts.append(f"fit to {one.fit_resolution_ang:.1f} Å")
    if one.defocus_ang is not None:
        facts.append(f"defocus {one.defocus_ang / 1e4:.2f} µm")
    if one.motion_total_ang is not None:
        facts.append(f"drift {one.motion_total_ang:.1f} Å")
    if one.particle_count is not None:
        facts.append(f"{one.particle_count:.0f} particles a micrograph")
    line = f"{one.name}: {one.published} of {_count(one.movies, 'movie')} processed"
    line += f" ({one.new} new)" if one.new else ""
    line += f", {one.failed} could not be" if one.failed else ""
    return line + ("; medians: " + ", ".join(facts) if facts else "") + "."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def addresses(uids: Sequence[str], pattern: str) -> list[str]:
    """Return each person's address; `pattern` has `{uid}` where the user name goes.

    What is no plain user name has no address: with a comma in it, it would be several.
    """
    return [pattern.replace("{uid}", uid) for uid in uids if USER_NAME.fullmatch(uid)]
