"""How a camera's gain references lie against its movies: what movies showed, and when to believe another."""

from __future__ import annotations

from dataclasses import dataclass, replace

BELIEVED_AFTER = 3
"""Movies that show another orientation one after another until it is the usual one."""
SETTLED_AFTER = 25
"""Movies that agree one after another until a contradiction is history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GainMemory:
    """The usual orientation, and what the latest movies said of it."""

    orientation: str
    agreed: int = 0
    """Movies that showed it, one after another."""
    against: int = 0
    """Movies that showed another, one after another."""

    def after(self, seen: str) -> GainMemory:
        """Return what is known after one more movie showed an orientation for certain."""
        if seen == self.orientation:
            return replace(self, agreed=self.agreed + 1, against=0)
        if self.against + 1 >= BELIEVED_AFTER:
            return GainMemory(orientation=seen)
        return replace(self, agreed=0, against=self.against + 1)

    @property
    def is_settled(self) -> bool:
        """Whether so many movies agreed that a contradiction before them is history."""
        return self.agreed >= SETTLED_AFTER


def kind_of(gain_suffix: str, movie_suffix: str) -> str:
    """Return under what an orientation is remembered: programs store the rows of each format in their own order."""
    return f"{gain_suffix.lower()} for {movie_suffix.lower()}"
