"""A microscope with a share, a logbook whose operator the test plays, and transfer windows on a real ledger.

The monotonic clock of transfers runs ten times as fast, so that quiet times take tenths of a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from cryodaq.app.follow_logbook import Following
from cryodaq.app.transfer_movies import Transfer, WindowSummary, transfer_window
from cryodaq.database import open_engine
from cryodaq.domain.layout import SampleLayout, experiment_layout
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.ledger.events import Alarm, open_alarms
from cryodaq.ledger.movies import MovieRecord, movies_of_sample
from cryodaq.simulator.camera import encode_tiff
from cryodaq.testing.fake_logbook import FakeLogbook

EXPERIMENT = "20260101-CS01"
SPEED = 10.0
FRAMES = 4


def fast_clock() -> float:
    return time.monotonic() * SPEED


def frames(count: int, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 9, (32, 32), dtype=np.uint8) for _ in range(count)]


def movie_bytes(count: int = FRAMES, seed: int = 1) -> bytes:
    return encode_tiff(frames(count, seed))


@dataclass
class Stage:
    """What a test plays with."""

    engine: Engine
    share: Path
    gain_root: Path
    storage: Path
    logbook: FakeLogbook = field(default_factory=FakeLogbook)
    samples: dict[str, str] = field(default_factory=dict)
    stall_s: float = 30.0

    @property
    def microscope(self) -> Microscope:
        return Microscope(
            name="tem1",
            instrument="tem1",
            station=0,
            shares=(Share(root=PurePosixPath(self.share), camera_server="k3-one"),),
            gain_root=PurePosixPath(self.gain_root),
            detector="",
            defaults=InstrumentDefaults(voltage_kv=300, cs_mm=2.7, amplitude_contrast=0.1),
            retention=RetentionRule(),
            queue="tem1",
        )

    def transfer(self, **changes: object) -> Transfer:
        following = Following(
            engine=self.engine,
            logbook=self.logbook,
            microscope=self.microscope,
            experiment_pattern=r"\d{8}-C\w{3,4}",
            storage_root=PurePosixPath(self.storage),
            now=lambda: datetime.now(UTC),
            poll_s=0.3,
        )
        # How full the disk of these tests is, is not theirs to choose.
        made = Transfer(
            following=following,
            scan_pause_s=1.0,
            stall_s=self.stall_s,
            floor_fraction=0.0,
            processing_floor_fraction=0.0,
            clock=fast_clock,
        )
        return replace(made, **changes)  # type: ignore[arg-type]  # test helper

    def set_up(self) -> None:
        self.logbook.add_instrument("TEM1")
        self.logbook.add_experiment(EXPERIMENT, instrument="TEM1")
        self.logbook.switch(EXPERIMENT, instrument="TEM1")

    def make_current(self, name: str, *, prepared: bool = True, **params: object) -> str:
        """Make a sample (if it is new) current, and its folders."""
        if name not in self.samples:
            given = {"total_frames": FRAMES, **params}
            self.samples[name] = self.logbook.add_sample(EXPERIMENT, name, params=given)  # type: ignore[arg-type]
            if prepared:
                self.prepare(name)
        self.logbook.make_current(EXPERIMENT, name)
        return self.samples[name]

    def layout(self, name: str) -> SampleLayout:
        root = experiment_layout(PurePosixPath(self.storage), EXPERIMENT, instrument="TEM1")
        return root.sample(self.samples[name])

    def prepare(self, name: str) -> None:
        for folder in self.layout(name).folders:
            Path(folder).mkdir(parents=True, exist_ok=True)

    def raw(self, name: str) -> Path:
        return Path(self.layout(name).raw)

    @property
    def quarantine(self) -> Path:
        return self.storage / "quarantine" / "tem1" / "raw"

    def write(self, path: str, content: bytes) -> Path:
        target = self.share / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def movies(self, name: str) -> dict[str, MovieRecord]:
        with self.engine.connect() as connection:
            return {
                f"{movie.run_name}@{movie.version}": movie for movie in movies_of_sample(connection, self.samples[name])
            }

    def states(self) -> dict[str, str]:
        """Return the state of each file's versions by `path@version`."""
        query = sa.text("select path, version, state from ledger.file order by id")
        with self.engine.connect() as connection:
            return {f"{row.path}@{row.version}": row.state for row in connection.execute(query)}

    def problem(self, path: str) -> str | None:
        query = sa.text("select problem from ledger.file where path = :path order by version desc limit 1")
        with self.engine.connect() as connection:
            return connection.execute(query, {"path": path}).scalar_one_or_none()

    def decisions(self) -> dict[str, str | None]:
        query = sa.text("select key, decision from ledger.exposure")
        with self.engine.connect() as connection:
            return {row.key: row.decision for row in connection.execute(query)}

    def alarms(self) -> dict[str, Alarm]:
        with self.engine.connect() as connection:
            return {alarm.key.partition(":")[0]: alarm for alarm in open_alarms(connection)}

    def scanned_at(self) -> datetime | None:
        query = sa.text("select scan_began_at from ledger.share_state where share = :share")
        with self.engine.connect() as connection:
            return connection.execute(query, {"share": str(self.share)}).scalar_one_or_none()

    def wait_for_scans(self, count: int = 2) -> None:
        """Wait until scans have begun after now."""
        for _ in range(count):
            self._wait_for_scan(datetime.now(UTC))

    def _wait_for_scan(self, since: datetime) -> None:
        until(lambda: (self.scanned_at() or since) > since, "no scan")

    def polled(self) -> None:
        """Wait until the elogbook was asked after now."""
        now = datetime.now(UTC)
        query = sa.text("select max(last_asked_at) from ledger.current_state")

        def asked() -> bool:
            with self.engine.connect() as connection:
                last = connection.execute(query).scalar_one()
            return last is not None and last > now

        until(asked, "no poll")


@dataclass
class RunningWindow:
    """A window in a thread of its own."""

    ended: threading.Event
    thread: threading.Thread
    summary: list[WindowSummary]
    failure: list[BaseException]

    def end(self) -> WindowSummary:
        self.ended.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.failure:
            raise self.failure[0]
        return self.summary[0]


@contextmanager
def running(transfer: Transfer, window_s: float = 1e6) -> Iterator[RunningWindow]:
    """Run a window beside the test."""
    ended = threading.Event()
    summary: list[WindowSummary] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            summary.append(transfer_window(transfer, window_s, ended.is_set))
        except BaseException as error:  # noqa: BLE001  # handed to the test's thread
            failure.append(error)

    window = RunningWindow(ended, threading.Thread(target=body), summary, failure)
    window.thread.start()
    try:
        yield window
    finally:
        ended.set()
        window.thread.join(30)


def until(condition: Callable[[], object], what: str, *, wait_s: float = 20.0) -> None:
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def stage(database_url: str, tmp_path: Path) -> Iterator[Stage]:
    share, gain_root, storage = tmp_path / "share", tmp_path / "gains", tmp_path / "storage"
    for folder in (share, gain_root, storage):
        folder.mkdir()
    (share / ".online").touch()
    engine = open_engine(database_url)
    made = Stage(engine=engine, share=share, gain_root=gain_root, storage=storage)
    made.set_up()
    yield made
    engine.dispose()
