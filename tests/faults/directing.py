"""A schedule in which one thing happens at exactly its moment, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.schedule import Schedule
from tests.faults.world import movie_states

from cryodaq.app.transfer_movies import transfer_window
from cryodaq.errors import TransferError

MOVIE = "one/grid_00001.tif"
LOG = "one/session.log"
SETTLED_S = 400.0
"""Longer than anything takes to be noticed, judged and copied when nothing happens to it."""


class Directed(Schedule):
    """A schedule without faults but for one act at one point."""

    def crash_at_the_commit_after(self, wanted: str, act: Callable[[], None] = lambda: None) -> None:
        """Let the process end at the first commit after a request, or a call of a worker; do something then."""
        seen: list[str] = []

        def between(name: str) -> None:
            self.world.between(name)
            if name == wanted:
                seen.append(name)
            elif name == "commit" and seen:
                self.plan.between = self._between
                act()
                self.plan.crash(name)

        self.plan.between = between

    def crash_after(self, points: int) -> None:
        """Let the process end after so many points."""
        passed: list[str] = []

        def between(name: str) -> None:
            self.world.between(name)
            passed.append(name)
            if len(passed) > points:
                self.plan.between = self._between
                self.plan.crash(name)

        self.plan.between = between

    def crashed(self, act: Callable[[], object]) -> None:
        """Run something as a process that must crash."""
        before = self.plan.happened.total()
        self.plan.rate = 1e-12  # faults are allowed; none is drawn
        self.process(act)
        self.plan.rate = 0.0
        assert self.plan.happened.total() > before, "nothing crashed"

    def refused(self, act: Callable[[], object]) -> None:
        """Do something that must fail, and is carried on later."""
        try:
            act()
        except TransferError as error:
            self.world.note(f"it failed: {error}")
            return
        message = "nothing failed"
        raise AssertionError(message)

    def window(self, seconds: float) -> None:
        ends = self.world.t + seconds
        self.prepare()
        self.process(lambda: self._window(ends))

    def _window(self, ends: float) -> None:
        transfer_window(self.transfer(), 1e9, lambda: self.world.t > ends)

    def whole(self, path: str, content: bytes) -> None:
        self.world.write(path, content, whole=True)

    def contents(self) -> tuple[bytes, bytes]:
        """Two movies."""
        return movie_states(self.world._pixels)[-1], movie_states(self.world._pixels)[-1]
