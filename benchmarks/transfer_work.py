"""What whole transfers cost, ledger, workers and verification included: microscopes that collect, and a backlog."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import psutil
import sqlalchemy as sa
from transfer_restart import EXPERIMENT, ledger, new_transfer

from cryodaq.app.transfer_movies import Transfer, transfer_window
from cryodaq.domain.layout import experiment_layout
from cryodaq.simulator.camera import encode_tiff
from cryodaq.testing.fake_logbook import FakeLogbook

FRAMES = 3
FILES_PER_MOVIE = 4
MOVIES_PER_HOUR = 1000
PER_FOLDER = 200
WARM_UP_S = 15.0
LIMIT_S = 300.0
EVER = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Camera:
    """A microscope with its share, transferred by a thread of this process."""

    name: str
    share: Path
    transfer: Transfer
    written: int = 0

    def expose(self) -> None:
        """Write a movie with its small files, all tiny, in EPU's tree."""
        stem = self.write_small_files()
        pixels = np.random.default_rng(self.written).integers(0, 9, (FRAMES, 32, 32), dtype=np.uint8)
        stem.with_name(f"{stem.name}_fractions.tiff").write_bytes(encode_tiff(list(pixels)))

    def write_small_files(self) -> Path:
        """Write what lies beside a movie; return what its name begins with."""
        self.written += 1
        square = f"Session/Images-Disc1/GridSquare_{self.written // PER_FOLDER}"
        stem = self.share / square / "Data" / f"FoilHole_{self.written}_Data_1_2_20260101_{self.written:06}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_name(f"{stem.name}_Fractions.xml").write_text(f"<a>{self.written}</a>")
        stem.with_suffix(".xml").write_text(f"<a>{self.written}</a>")
        stem.with_suffix(".jpg").write_bytes(b"\xff\xd8" + bytes(5000) + b"\xff\xd9")
        return stem


def new_camera(engine: sa.Engine, folder: Path, number: int) -> Camera:
    """A microscope whose sample is current and prepared."""
    name = f"tem{number}"
    share, storage = folder / name, folder / f"{name}-storage"
    share.mkdir()
    storage.mkdir()
    (share / ".online").touch()
    made = new_transfer(engine, share, storage)
    logbook = FakeLogbook()
    logbook._ids = number * 1000  # noqa: SLF001  # the ledger is one, the logbooks are not
    experiment = f"{EXPERIMENT}{number}"
    logbook.add_instrument(name)
    logbook.add_experiment(experiment, instrument=name)
    logbook.switch(experiment, instrument=name)
    sample = logbook.add_sample(experiment, "grid", params={"total_frames": FRAMES})
    for path in experiment_layout(PurePosixPath(storage), experiment, instrument=name).sample(sample).folders:
        Path(path).mkdir(parents=True)
    logbook.make_current(experiment, "grid")
    microscope = replace(made.microscope, name=name, instrument=name, queue=name)
    return Camera(name, share, replace(made, following=replace(made.following, microscope=microscope, logbook=logbook)))


@contextmanager
def transferring(cameras: list[Camera]) -> Iterator[None]:
    """Run a window for each microscope."""
    ended = threading.Event()
    threads = [
        threading.Thread(target=transfer_window, args=(one.transfer, 1e6, ended.is_set), daemon=True) for one in cameras
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)


def measure_work(folder: Path, *, minutes: float, backlog: int) -> None:
    """Print what four microscopes cost for some minutes, and then what a backlog on one of them does."""
    folder.chmod(0o711)
    with ledger(folder) as engine:
        cameras = [new_camera(engine, folder, number) for number in range(1, 5)]
        with transferring(cameras):
            wait(engine, scanned=len(cameras))
            for camera in cameras:
                camera.expose()
            time.sleep(WARM_UP_S)
            collect(engine, cameras, minutes=minutes)
        with transferring(cameras[:1]):
            wait(engine, scanned=len(cameras), after=datetime.now(UTC), of=cameras[0].name)
            catch_up(engine, cameras[0].expose, f"{backlog} movies", times=backlog, files=FILES_PER_MOVIE)
            catch_up(engine, cameras[0].write_small_files, "no movie", times=backlog, files=FILES_PER_MOVIE - 1)


def collect(engine: sa.Engine, cameras: list[Camera], *, minutes: float) -> None:
    began, before, files = time.perf_counter(), cpu(), verified(engine)
    pause_s = 3600 / MOVIES_PER_HOUR / len(cameras)
    exposures = int(minutes * 60 / pause_s)
    for number in range(exposures):
        cameras[number % len(cameras)].expose()
        time.sleep(max(0.0, began + (number + 1) * pause_s - time.perf_counter()))
    wall_s, after = time.perf_counter() - began, cpu()
    parts = ", ".join(f"{name} {100 * (after[name] - before[name]) / wall_s:.1f} %" for name in after)
    whole = 100 * (sum(after.values()) - sum(before.values())) / wall_s
    print(
        f"{len(cameras)} microscopes, {MOVIES_PER_HOUR} movies an hour each, {FILES_PER_MOVIE} files a movie, for "
        f"{wall_s:.0f} s: {whole:.1f} % of one core ({parts}); {verified(engine) - files} files verified, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def catch_up(engine: sa.Engine, write: Callable[[], object], what: str, *, times: int, files: int) -> None:
    """Have so many exposures written at once, and wait until all of it is brought and verified."""
    done, copied, waiting = verified(engine), copied_count(engine), times * files
    for _ in range(times):
        write()
    before, began = cpu(), time.perf_counter()
    wait(engine, copied=copied + waiting)
    copied_s = time.perf_counter() - began
    wait(engine, verified_files=done + waiting)
    verified_s, after = time.perf_counter() - began, cpu()
    spent_ms = {name: 1000 * (after[name] - before[name]) / waiting for name in after}
    bookkeeping_ms = spent_ms["transferers"] + spent_ms["ledger"]
    print(
        f"a backlog of {waiting} small files with {what} on one microscope: copied after {copied_s:.1f} s "
        f"({1000 * copied_s / waiting:.2f} ms a file, {3600 * times / copied_s / MOVIES_PER_HOUR:.0f} times the rate of"
        f" collection), verified after {verified_s:.1f} s; bookkeeping {bookkeeping_ms:.2f} CPU ms a file (transferer "
        f"{spent_ms['transferers']:.2f}, ledger {spent_ms['ledger']:.2f}), looking, copying and reading again "
        f"{spent_ms['workers']:.2f}, load {os.getloadavg()[0]:.1f}"
    )


def cpu() -> dict[str, float]:
    """CPU time of the transferers, of their workers, and of the ledger's server, s."""
    me = psutil.Process()
    found = {"transferers": _used(me), "workers": 0.0, "ledger": 0.0}
    for child in me.children(recursive=True):
        try:
            kind = "workers" if "cryodaq.transfer.worker" in child.cmdline() else "ledger"
            found[kind] += _used(child)
        except psutil.NoSuchProcess:
            continue
    return found


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def wait(
    engine: sa.Engine,
    *,
    scanned: int = 0,
    after: datetime = EVER,
    of: str = "%",
    copied: int = 0,
    verified_files: int = 0,
) -> None:
    """Wait until so many shares were scanned, so many files copied and verified."""
    query = sa.text("select count(*) from ledger.share_state where scan_began_at > :after and microscope like :of")
    deadline = time.monotonic() + LIMIT_S
    while True:
        with engine.connect() as connection:
            found = connection.execute(query, {"after": after, "of": of}).scalar_one()
        enough = found >= (scanned if of == "%" else min(scanned, 1))
        if enough and copied_count(engine) >= copied and verified(engine) >= verified_files:
            return
        if time.monotonic() > deadline:
            message = f"after {LIMIT_S:.0f} s it was not done"
            raise TimeoutError(message)
        time.sleep(0.5)


def copied_count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        query = "select count(*) from ledger.file where state in ('copied', 'verified')"
        return int(connection.exec_driver_sql(query).scalar_one())


def verified(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("select count(*) from ledger.file where state = 'verified'").scalar_one())
