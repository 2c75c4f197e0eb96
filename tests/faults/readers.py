"""Who may read: collaborators who come and go in the elogbook, and what the files' access says about them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.experiment import Collaborator
from cryodaq.store.access import Readers
from cryodaq.store.acl import READ, read_access

if TYPE_CHECKING:
    from tests.faults.world import World

STAFF = Readers(gids=frozenset({65_000}))
"""Who reads every experiment."""
PEOPLE = {"ada": 65_001, "ben": 65_002, "cleo": 65_003, "dana": 65_004, "lab": 65_101, "guests": 65_102}
GROUPS = frozenset({"lab", "guests"})
Numbers = frozenset[tuple[bool, int]]
"""People and groups, by whether they are groups and by number."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Who can read a file or folder."""

    path: Path
    readers: Numbers


class Collaborations:
    """The elogbook's lists of two experiments, and the truth about who was ever on them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(f"readers of {world.plan.seed}")  # of its own: the other events stay as they are
        self._ever: dict[str, set[tuple[bool, int]]] = {one: set() for one in self.experiments}

    @property
    def experiments(self) -> tuple[str, str]:
        return self._world.experiment, self._world.other_experiment

    def plan(self, until_s: float) -> None:
        """Have people on the lists from the beginning, and have them come, go and lose their numbers."""
        rng, world = self._rng, self._world
        for experiment in self.experiments:
            for name in rng.sample(sorted(PEOPLE), rng.randint(1, 3)):
                self.join(experiment, name)
        for _ in range(rng.randint(0, 6)):
            experiment, name = rng.choice(self.experiments), rng.choice(sorted(PEOPLE))
            act = rng.choice([self.join, self.join, self.leave, self.leave, self._forget_number])
            world.at(rng.uniform(world.t, until_s), lambda act=act, e=experiment, n=name: act(e, n))
        if rng.random() < 0.3:
            began = rng.uniform(world.t, until_s)
            world.at(began, lambda: self._cut(True))
            world.at(began + rng.uniform(5, 90), lambda: self._cut(False))

    def join(self, experiment: str, name: str) -> None:
        """Put somebody on a list."""
        is_group, number = name in GROUPS, PEOPLE[name]
        self._world.logbook.set_collaborator(
            experiment, Collaborator(uid=name, is_group=is_group, posix_id=number, roles=("LogBook/Reader",))
        )
        self._ever[experiment].add((is_group, number))
        self._happened(f"{name} joins {experiment}")

    def leave(self, experiment: str, name: str) -> None:
        """Take somebody from a list."""
        self._world.logbook.remove_collaborator(experiment, name)
        self._happened(f"{name} leaves {experiment}")

    def _forget_number(self, experiment: str, name: str) -> None:
        """The directory does not know somebody's number any more, or somebody without one joins."""
        person = Collaborator(uid=name, is_group=name in GROUPS, posix_id=None, roles=("LogBook/Reader",))
        self._world.logbook.set_collaborator(experiment, person)
        self._happened(f"{name} of {experiment} has no number")

    def _cut(self, cut: bool) -> None:  # on and off of one state
        """The elogbook cannot say all of a list."""
        self._world.logbook.lists_are_cut = cut
        self._happened(f"lists are cut: {cut}")

    def _happened(self, what: str) -> None:
        self._world.plan.happened["collaborators change"] += 1
        self._world.note(what)

    # what must hold

    def strangers(self) -> list[str]:
        """Return what somebody can read who never was on its experiment's list; at any time."""
        broken = []
        for experiment in self.experiments:
            allowed = _numbers(STAFF) | self._ever[experiment]
            broken += [
                f"{sorted(one.readers - allowed)} can read {one.path} and never were in {experiment}"
                for one in self._opened(experiment)
                if one.readers - allowed
            ]
        return broken

    def differences(self, experiment: str) -> list[str]:
        """Return what others can read than those on a list, all with numbers, just after the program has set it."""
        listed = self._world.logbook.listed(experiment)
        numbers = {(one.is_group, one.posix_id) for one in listed if one.posix_id is not None}
        wanted = _numbers(STAFF) | numbers
        return [
            f"{sorted(one.readers)} can read {one.path}, not {sorted(wanted)}"
            for one in self._opened(experiment)
            if one.readers != wanted
        ]

    def _opened(self, experiment: str) -> list[Opened]:
        folder = self._world.folder_of(experiment)
        paths = [] if not folder.exists() else [folder, *folder.rglob("*")]
        return [_opened(path) for path in paths if not path.is_symlink() and not _is_aside(path)]


def _is_aside(path: Path) -> bool:
    return path.name.endswith((".part", ".damaged"))


def _opened(path: Path) -> Opened:
    found = read_access(path)
    named = [(False, number, given) for number, given in found.users.items()]
    named += [(True, number, given) for number, given in found.groups.items()]
    readers = {(group, number) for group, number, given in named if found.effective(given) & READ}
    return Opened(path, frozenset(readers))


def _numbers(readers: Readers) -> Numbers:
    return frozenset({(False, uid) for uid in readers.uids} | {(True, gid) for gid in readers.gids})
