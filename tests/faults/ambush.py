"""What happens at the worst moment: a few acts of the world, each between two system calls where it matters."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tests.faults.points import Plan, at_rest
from tests.faults.world import World, movie_states

from cryodaq.domain.file_roles import FileRole, classify

CHANCE = 0.4
"""That a schedule has an ambush of one kind."""
Arguments = dict[str, Any]


@dataclass
class Ambush:
    """One act, once, before or after one call of one job."""

    job: str
    call: str
    act: Callable[[Arguments], bool]
    """Returns False when there was nothing to do; then the next occasion is taken."""
    passed: int
    """So many occasions are let pass first."""


class Ambushes:
    """Those of one schedule."""

    def __init__(self, plan: Plan, world: World) -> None:
        self._plan, self._world = plan, world
        kinds: tuple[tuple[str, str, Callable[[Arguments], bool]], ...] = (
            ("copy", "open", self._begins_again),
            ("copy", "readv", self._rewritten),
            ("copy", "after readv", self._rewritten),
            ("copy", "fsync", self._replaced),
            ("publish", "renameat2", self._source_of_target_replaced),
            ("verify", "open", self._rots),
            ("remove", "renameat2", self._replaced_before_removal),
            ("scan", "after scandir", self._any_replaced),
        )
        self._left = [
            Ambush(job, call, act, plan.rng.choice([0, 0, 1, 3, 6]))
            for job, call, act in kinds
            if plan.rng.random() < CHANCE
        ]

    def pass_by(self, call: str) -> None:
        """Do what waits for this point."""
        job = self._plan.job
        if job is None or not self._plan.rate or not self._left:
            return
        for one in [one for one in self._left if (one.job, one.call) == (job.what, call)]:
            if one.passed > 0:
                one.passed -= 1
                continue
            with at_rest(self._plan):
                done = one.act(job.arguments)
            if done:
                self._left.remove(one)
                self._plan.happened[f"ambush: {one.act.__name__.strip('_')}"] += 1

    # what the microscope does

    def _finished(self, path: str) -> bool:
        source = self._world.sources.get(path)
        there = (self._world.disk / path).exists()
        return source is not None and source.finished and there and path.endswith(".tif")

    def _other(self) -> list[bytes]:
        return movie_states(self._world._pixels)

    def _begins_again(self, arguments: Arguments) -> bool:
        """The file was judged complete; before it is opened the camera writes another one from its first frame on."""
        path, world = str(arguments["order"]["source"]), self._world
        if not self._finished(path) or classify(PurePosixPath(path)).role is not FileRole.MOVIE:
            return False  # of a file that is no movie nothing says how it ends: it must not pause for so long
        first, *_, last = self._other()
        world.write(path, first, whole=False)
        world.at(world.t + 20, lambda: world.write(path, last, whole=True))
        return True

    def _rewritten(self, arguments: Arguments) -> bool:
        path = str(arguments["order"]["source"])
        if not self._finished(path):
            return False
        before = (self._world.disk / path).read_bytes()
        other = self._other()[-1]
        same_size = other[: len(before)] + before[len(other) :]
        self._world.write(path, same_size, whole=True)
        return True

    def _replaced(self, arguments: Arguments) -> bool:
        return self._replace(str(arguments["order"]["source"]))

    def _source_of_target_replaced(self, arguments: Arguments) -> bool:
        targets = [str(one["target"]) for one in arguments["copies"]]
        return any(self._replace(path) for path in self._world.sources if any(t.endswith(path) for t in targets))

    def _replaced_before_removal(self, arguments: Arguments) -> bool:
        return self._replace(str(arguments["path"]))

    def _any_replaced(self, _: Arguments) -> bool:
        paths = [path for path in self._world.sources if self._finished(path)]
        return bool(paths) and self._replace(self._plan.rng.choice(paths))

    def _replace(self, path: str) -> bool:
        if not self._finished(path):
            return False
        self._world.replace(path, self._other()[-1])
        return True

    # what the storage does

    def _rots(self, arguments: Arguments) -> bool:
        """The storage damages a copy that nobody has verified yet; its source is still there."""
        target = Path(arguments["copies"][-1]["target"])  # of those in one request the last to be read
        path = next((path for path in self._world.sources if str(target).endswith(path)), None)
        source = None if path is None else self._world.sources[path]
        if source is None or source.living or source.taken or not target.is_file():
            return False
        content = bytearray(target.read_bytes())
        if not content or bytes(content) != (self._world.disk / source.path).read_bytes():
            return False
        self._world.rotten.add(bytes(content))
        content[len(content) // 2] ^= 0x10
        status = target.stat()
        target.write_bytes(content)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        self._world.note(f"rot {target.name}")
        return True
