"""What happens around the transfer: a microscope that writes, an operator, clocks; and the truth about all of it."""

from __future__ import annotations

import heapq
import itertools
import os
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import numpy as np
from tests.faults.inline import InlineWorker
from tests.faults.points import Crash, Plan, at_rest

from cryodaq.domain.experiment import Collaborator, CurrentState
from cryodaq.domain.file_roles import exposure_stem
from cryodaq.domain.layout import experiment_layout
from cryodaq.errors import LogbookError
from cryodaq.simulator.camera import GrowingTiff
from cryodaq.testing.fake_logbook import FakeLogbook

FRAMES = 3
EPOCH = datetime(2026, 1, 1, 8, tzinfo=UTC)
START_S = 1000.0


def movie_states(rng: np.random.Generator) -> list[bytes]:
    """Return what a growing TIFF is after each of its frames."""
    from io import BytesIO

    handle = BytesIO()
    movie = GrowingTiff(handle)
    states = []
    for _ in range(FRAMES):
        movie.append(rng.integers(0, 9, (16, 16), dtype=np.uint8))
        states.append(handle.getvalue())
    return states


def allocated_states(rng: np.random.Generator) -> list[bytes]:
    """Return what an MRC movie is whose space was taken beforehand, at first and after each of its frames."""
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, 16, 16, FRAMES, 0)
    struct.pack_into("<4s4B", header, 208, b"MAP ", 0x44, 0x44, 0, 0)
    frames = [rng.integers(1, 9, 256, dtype=np.uint8).tobytes() for _ in range(FRAMES)]
    return [bytes(header) + b"".join(frames[:n]) + bytes(256 * (FRAMES - n)) for n in range(FRAMES + 1)]


@dataclass
class Source:
    """The truth about one path on the share."""

    path: str
    first_s: float
    whole: list[bytes] = field(default_factory=list)
    """Every complete content it ever had, in order."""
    finished: bool = False
    """Its present content is complete."""
    living: bool = False
    taken: bool = False
    """The microscope's people removed or renamed it."""
    held_for_good: bool = False
    """It will never be complete."""


class RecordingLogbook(FakeLogbook):
    """Remembers when it answered."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self.last_s: float | None = None
        self.answered: list[float] = []
        """When those answers were given that the ledger has on record."""
        self.lists_are_cut = False
        """It cannot say all of who may read."""

    def current_state(self, instrument: str, *, station: int) -> CurrentState:
        self.last_s = None
        state = super().current_state(instrument, station=station)
        self.last_s = self._clock()
        return state

    def collaborators(self, experiment: str) -> Sequence[Collaborator]:
        if self.lists_are_cut:
            raise LogbookError("the answer broke off")
        return super().collaborators(experiment)

    def listed(self, experiment: str) -> Sequence[Collaborator]:
        """Return who may read, whether or not the elogbook can say it."""
        return self._collaborators[experiment]

    def on_record(self) -> None:
        """The ledger has the last answer."""
        if self.last_s is not None:
            self.answered.append(self.last_s)


class World:
    """One schedule's world, moved by `pass_time` and by points."""

    def __init__(self, plan: Plan, root: Path, number: int) -> None:
        self.plan, self.root, self.number = plan, root, number
        self.t, self.skew_s = START_S, 0.0
        self.share, self.storage = root / "share", root / "storage"
        for folder in (self.share, self.storage):
            folder.mkdir(parents=True)
        (self.share / ".online").touch()
        self.sources: dict[str, Source] = {}
        self.lag_s = plan.rng.choice([0.0, 0.0, 2.0, 6.0])
        """Listings of the share do not have what is younger."""
        self.last_scan_s, self.copies_made = 0.0, 0
        self.scans: list[float] = []
        """When those scans were asked for that the ledger has on record."""
        self.reborn: set[str] = set()
        """Exposures with a file that came again: without any other file there it is another exposure."""
        self.rotten: set[bytes] = set()
        """What the copies were that the storage damaged, wherever they lie by now."""
        self.strays: list[str] = []
        """What was written into the empty mount point of a share."""
        self.workers: list[InlineWorker] = []
        self.unmounting: Callable[[], None] = lambda: None
        """Called when the share goes."""
        self.mounting: Callable[[Path], None] = lambda _: None
        """Called with where its files are, just before it comes back."""
        self.instrument, self.server = f"TEM{number}", f"//camera{number}/x"  # whose share is mounted
        self.experiment, self.other_experiment = f"20260101-F{number}", f"20260102-F{number}"
        self.logbook = self._open_logbook()
        self.samples, self.log = dict[str, str](), list[str]()
        self.current: list[tuple[float, str | None]] = [(0.0, None)]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order, self._acting = itertools.count(), False
        self._pixels = np.random.default_rng(plan.seed)

    def _open_logbook(self) -> RecordingLogbook:
        logbook = RecordingLogbook(lambda: self.t)
        logbook._ids = self.number * 100
        logbook.add_instrument(self.instrument)
        for experiment in (self.experiment, self.other_experiment):
            logbook.add_experiment(experiment, instrument=self.instrument)
        logbook.switch(self.experiment, instrument=self.instrument)
        return logbook

    # clocks

    def clock(self) -> float:
        self.plan.point("clock")
        return self.t

    def now(self) -> datetime:
        self.plan.point("clock")
        if self.plan.draw(0.02):
            self.jump(self.plan.rng.choice([-7200, -30, -1, 1, 30, 7200]))
        return EPOCH + timedelta(seconds=self.t + self.skew_s)

    def jump(self, seconds: float) -> None:
        self.skew_s += seconds
        self.plan.happened["clock jump"] += 1
        self.note(f"clock jump {seconds}")

    def pass_time(self, seconds: float) -> None:
        self.t += seconds
        self.act()

    def remember_scan(self, asked_s: float) -> None:
        self.last_scan_s = asked_s

    def on_record(self, what: str) -> None:
        """Something was committed to the ledger."""
        if what == "scan":
            self.scans.append(self.last_scan_s)
        else:
            self.logbook.on_record()

    def run_workers(self) -> None:
        for worker in list(self.workers):
            worker.work()

    def note(self, what: str) -> None:
        self.log.append(f"{self.t:9.2f} {what}")

    # the microscope's and the operator's acts

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), act))

    @property
    def last_event_s(self) -> float:
        return max((when for when, _, _ in self._events), default=self.t)

    def between(self, _name: str) -> None:
        """At a point: now and then time has passed, and the microscope went on."""
        if self.plan.armed and self.plan.rate and self.plan.rng.random() < 0.01:
            self.t += self.plan.rng.uniform(0, 2)
        self.act()

    def act(self) -> None:
        """Do what is due."""
        if self._acting or not self._events or self._events[0][0] > self.t:
            return
        self._acting = True
        try:
            with at_rest(self.plan):
                while self._events and self._events[0][0] <= self.t:
                    _, _, act = heapq.heappop(self._events)
                    act()
        finally:
            self._acting = False

    def write(self, path: str, content: bytes, *, whole: bool) -> None:
        """Have a path contain something; the microscope's clock is 7 hours wrong and only moves on."""
        target = self.disk / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() and path in self.sources:
            self.sources[path].taken = False
            self.reborn.add(stem_of(path))
        self._known(path)
        target.write_bytes(content)
        self._stamp(target)
        self._contains(path, content, whole=whole)
        self.note(f"write {path} {len(content)} {'whole' if whole else 'unfinished'}")

    def replace(self, path: str, content: bytes) -> None:
        """Put another file in the place of one."""
        if not (self.disk / path).exists():
            return
        other = self.disk / path
        other = other.with_name(f".cryodaq-other{next(self._order)}")
        other.write_bytes(content)
        self._stamp(other)
        other.replace(self.disk / path)
        self._contains(path, content, whole=True)
        self.note(f"replace {path}")

    def _known(self, path: str) -> Source:
        if path not in self.sources:
            self.sources[path] = Source(path=path, first_s=self.t)
        return self.sources[path]

    def _contains(self, path: str, content: bytes, *, whole: bool) -> None:
        source = self._known(path)
        source.finished = whole
        if whole and (not source.whole or source.whole[-1] != content):
            source.whole.append(content)

    def _stamp(self, target: Path) -> None:
        stamp = int((self.t + next(self._order) * 1e-3 + 7 * 3600) * 1e9)
        os.utime(target, ns=(stamp, stamp))
        os.utime(target.parent, ns=(stamp, stamp))

    def take(self, path: str) -> None:
        """The people at the microscope remove a file."""
        target = self.disk / path
        if target.exists():
            target.unlink()
            self._stamp_folder(target.parent)
        self.sources[path].taken = True
        self.note(f"take {path}")

    def mounted_from(self, root: Path) -> str | None:
        """Say what the kernel says of a folder."""
        return self.server if root.is_relative_to(self.share) else None

    def unlisted(self, folder: Path) -> set[str]:
        """Return the names that a listing of a folder of the share does not have yet."""
        if not self.lag_s or not folder.is_relative_to(self.share):
            return set()
        young = [path for path, source in self.sources.items() if source.first_s > self.t - self.lag_s]
        hidden = {path.rpartition("/")[2] for path in young if self.share / path.rpartition("/")[0] == folder}
        self.plan.happened["a listing lags"] += bool(hidden)
        return hidden

    def rename_folder(self, folder: str, other: str) -> None:
        """People rename a folder of the share; what the microscope writes later makes it anew."""
        source, target = self.disk / folder, self.disk / other
        if not source.exists() or target.exists():
            return
        moved = [path for path in self.sources if path.startswith(f"{folder}/") and (self.disk / path).exists()]
        if not all(self.sources[path].finished or path.endswith(".tif") for path in moved):
            return  # of others nothing says that no more will come
        source.rename(target)
        self._stamp_folder(target.parent)
        for path in moved:
            known, new = self.sources[path], self._known(other + path.removeprefix(folder))
            new.whole += known.whole[-1:]
            new.finished, new.living = known.finished, known.living
            known.taken = True
            self.reborn.add(stem_of(path))
        self.plan.happened["a folder was renamed"] += 1
        self.note(f"rename folder {folder} {other}")

    def rename(self, path: str, other: str) -> None:
        source, target = self.disk / path, self.disk / other
        if not source.exists() or target.exists():
            return
        source.rename(target)
        self._stamp_folder(target.parent)
        self.sources[path].taken = True
        known = self.sources[path]
        self._known(other).whole.append(known.whole[-1]) if known.whole else None
        self._known(other).finished = known.finished
        self.note(f"rename {path} {other}")

    def _stamp_folder(self, folder: Path) -> None:
        stamp = int((self.t + next(self._order) * 1e-3 + 7 * 3600) * 1e9)
        os.utime(folder, ns=(stamp, stamp))

    def folder_of(self, experiment: str) -> Path:
        """Return where an experiment's copies lie."""
        root = PurePosixPath(self.storage)
        return Path(experiment_layout(root, experiment, instrument=self.instrument).root)

    def experiment_of(self, name: str) -> str:
        """Return the experiment of a sample."""
        return self.other_experiment if name == "other" else self.experiment

    def choose(self, name: str | None) -> None:
        """The operator makes a sample current, or none."""
        if name is None:
            self.logbook.standby(self.instrument)
        else:
            experiment = self.experiment_of(name)
            if name not in self.samples:
                params = {"total_frames": FRAMES}
                self.samples[name] = self.logbook.add_sample(experiment, name, params=params)
            self.logbook.make_current(experiment, name)
            self.logbook.switch(experiment, instrument=self.instrument)
        self.current.append((self.t, None if name is None else self.samples[name]))
        self.note(f"current {name}")

    def owners_between(self, since: float, until: float) -> set[str | None]:
        """Return what was current at any time between two."""
        found = {sample for when, sample in self.current if since <= when <= until}
        if found:
            found.add(None)  # where the operator did something, nobody may be the right answer
        return found | {next(sample for when, sample in reversed(self.current) if when <= since)}

    def possible_owners(self, paths: Sequence[str]) -> set[str | None]:
        """Return who may own an exposure, from when its files appeared and what could be seen then.

        It is new in a scan after it appeared (the one under way then, or the next that could read its folder), and
        was not in the one on record before; around these the elogbook's answers on record count.
        """
        begun = [self.sources[path].first_s for path in paths]
        scans_before = [when for when in self.scans if when <= min(begun)]
        since = scans_before[-2] if len(scans_before) > 1 else 0.0
        scans_after = [when for when in self.scans if when > max(begun) + self.lag_s]
        until = scans_after[1] if len(scans_after) > 1 else float("inf")
        answered = sorted(self.logbook.answered)
        since = max((when for when in answered if when < since), default=0.0)
        later = [when for when in answered if when > until + 3]
        possible = self.owners_between(since, later[1] if len(later) > 1 else float("inf"))
        if not answered or min(begun) <= answered[0]:
            possible.add(None)  # it was there before anybody knew whose it could be
        return possible

    # the schedule's events

    def plan_exposures(self, count: int, until_s: float) -> None:
        rng = self.plan.rng
        for n in range(1, count + 1):
            folder = rng.choice(["one", "one", "two", "deep/er/three"])
            self._plan_exposure(f"{folder}/grid_{n:05}", rng.uniform(self.t + 5, until_s))
        self._plan_log(rng.uniform(self.t, until_s))
        if rng.random() < 0.1:
            name = rng.choice(["one", "two", "deep/er"])
            self.at(rng.uniform(self.t + 60, until_s + 60), lambda: self.rename_folder(name, f"{name}-renamed"))

    def _plan_exposure(self, stem: str, when: float) -> None:
        rng = self.plan.rng
        if rng.random() < 0.1:
            self._plan_allocated(f"{stem}.mrc", when)
            return
        movie, states = f"{stem}.tif", movie_states(self._pixels)
        frames = states[:2] if rng.random() < 0.15 else states
        for k, state in enumerate(frames):
            whole = k + 1 == FRAMES
            self.at(when, lambda state=state, whole=whole: self.write(movie, state, whole=whole))
            when += rng.choice([0.01, 0.5, 3.0, 20.0, 70.0]) * rng.uniform(0.5, 1.5)
        for suffix, begin, end in ((".jpg", b"\xff\xd8", b"\xff\xd9"), (".xml", b"<a>", b"</a>")):
            if rng.random() < 0.6:
                text = begin + str(rng.random()).encode() * 40 + end
                moment = when + rng.uniform(-3, 12)
                path = stem + suffix
                self.at(moment, lambda path=path, text=text: self.write(path, text[:-3], whole=False))
                self.at(moment + rng.choice([0.01, 4]), lambda path=path, text=text: self.write(path, text, whole=True))
        if rng.random() < 0.5:
            self._plan_unknown(f"{stem}.raw", when + rng.uniform(-3, 12))
        if len(frames) < FRAMES:
            return
        self._plan_later(movie, when + rng.uniform(0, 90))

    def _plan_allocated(self, movie: str, when: float) -> None:
        """Plan a movie that has its whole size from the beginning; it never rests for as long as the quiet time is."""
        for n, state in enumerate(allocated_states(self._pixels)):
            whole = n == FRAMES
            self.at(when, lambda state=state, whole=whole: self.write(movie, state, whole=whole))
            when += self.plan.rng.uniform(0.1, 8.0)

    def _plan_unknown(self, path: str, when: float) -> None:
        """Plan a file whose format says nothing: it never rests for as long as the quiet time is."""
        text, rng = b"", self.plan.rng
        pieces = rng.randint(2, 5)
        for n in range(pieces):
            text += rng.randbytes(300)
            whole = n + 1 == pieces
            self.at(when, lambda text=text, whole=whole: self.write(path, text, whole=whole))
            when += rng.uniform(0.5, 8.0)

    def _plan_later(self, movie: str, when: float) -> None:
        """Plan what becomes of a finished movie."""
        rng, other = self.plan.rng, movie_states(self._pixels)[-1]
        fate = rng.random()
        if fate < 0.12:
            self.at(when, lambda: self.replace(movie, other))
            if fate < 0.06:  # the name that our copy of the second version gets, taken by another movie
                second, third = movie.replace(".tif", ".v2.tif"), movie_states(self._pixels)[-1]
                self.at(when + rng.uniform(-30, 30), lambda: self.write(second, third, whole=True))
        elif fate < 0.2:
            self.at(when, lambda: self._rewrite(movie, other))
        elif fate < 0.27:
            self.at(when, lambda: self.rename(movie, movie.replace("grid", "moved")))
        elif fate < 0.34:
            self.at(when, lambda: self.take(movie))
            if rng.random() < 0.5:
                self.at(when + rng.uniform(1, 60), lambda: self.write(movie, other, whole=True))

    def _rewrite(self, movie: str, content: bytes) -> None:
        if (self.disk / movie).exists():
            self.write(movie, content, whole=True)

    def _plan_log(self, when: float) -> None:
        text = b""
        for n in range(4):
            text += f"line {n}\n".encode()
            self.at(when, lambda text=text: self._append("one/session.log", text))
            when += self.plan.rng.uniform(1, 60)

    def _append(self, path: str, text: bytes) -> None:
        self.write(path, text, whole=True)
        self.sources[path].living = True

    def plan_operator(self, until_s: float) -> None:
        rng = self.plan.rng
        self.choose("first")
        for name in rng.sample(["second", "first", None, "third", "other"], rng.randint(0, 3)):
            self.at(rng.uniform(self.t + 20, until_s), lambda name=name: self.choose(name))
        if rng.random() < 0.3:
            began = rng.uniform(self.t, until_s)
            self.at(began, lambda: setattr(self.logbook, "is_down", True))
            self.at(began + rng.uniform(2, 60), lambda: setattr(self.logbook, "is_down", False))
        if rng.random() < 0.2:
            began = rng.uniform(self.t + 10, until_s)
            self.at(began, lambda: self._unmount(away=True))
            self.at(began + rng.uniform(2, 30), lambda: self._unmount(away=False))

    @property
    def disk(self) -> Path:
        """Where the microscope writes: its own disk, whether we have it mounted or not."""
        aside = self.root / "unmounted"
        return aside if aside.exists() else self.share

    def _unmount(self, *, away: bool) -> None:
        """The share goes, with everything, and comes back; the microscope goes on meanwhile."""
        aside = self.root / "unmounted"
        if away and not aside.exists():
            self.unmounting()
            self.share.rename(aside)
            self.share.mkdir()
        elif not away and aside.exists():
            self.mounting(aside)
            self.strays += [str(path) for path in self.share.rglob("*")]
            shutil.rmtree(self.share)
            aside.rename(self.share)
        self.note(f"unmount {away}")


def stem_of(path: str) -> str:
    """Return the exposure that a path belongs to."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{exposure_stem(name)}"


__all__ = ["EPOCH", "FRAMES", "Crash", "World", "stem_of"]
