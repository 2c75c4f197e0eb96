"""Real transferers and their workers, killed with SIGKILL while a microscope writes, and started again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import sqlalchemy as sa

from cryodaq.transfer.copy import hash_of

ROOT = Path(__file__).parents[2]
LAST_LIMIT_S = 240.0
START_LIMIT_S = 20.0
WORKERS = 2
"""One for the source, one for the target."""


class Microscope:
    """Writes files in pieces from a thread, until it is told to stop."""

    def __init__(self, share: Path, rng: random.Random) -> None:
        self._share, self._rng = share, rng
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.written = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stop.wait(self._rng.uniform(0.1, 0.6)):
            self.written += 1
            path = self._share / f"folder{self.written % 3}" / f"data_{self.written:05}.raw"
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as handle:
                for _ in range(self._rng.randint(1, 4)):
                    handle.write(self._rng.randbytes(self._rng.randint(1, 2_000_000)))
                    handle.flush()
                    time.sleep(0.02)


def kill_and_compare(folder: Path, engine: sa.Engine, *, kills: int, seed: int) -> int:
    """Kill so many times, then let it end; return 1 when anything is lost, half, or twice there."""
    rng = random.Random(seed)
    share, storage = folder / "share", folder / "storage"
    share.mkdir()
    microscope, began, killed = Microscope(share, rng), time.monotonic(), Counter[str]()
    url = engine.url.render_as_string(hide_password=False)
    microscope.start()
    running: list[subprocess.Popen[bytes]] = []
    try:
        while sum(killed.values()) < kills:
            running = [process for process in running if process.poll() is None]
            if not running or (len(running) == 1 and rng.random() < 0.15):
                running.append(_started(folder, url, share, storage))
            _wait_for_workers(running[-1])
            time.sleep(rng.uniform(0.0, 2.5))
            killed[_kill(running, rng)] += 1
    finally:
        microscope.stop()
        for process in running:
            _kill_all(process)
    last = _started(folder, url, share, storage, "--once")
    try:
        status = last.wait(LAST_LIMIT_S)
    finally:
        _kill_all(last)
    broken = _broken(share, storage, engine) + ([f"the last one ended with {status}"] if status else [])
    print(
        f"{kills} kills ({dict(killed)}), {microscope.written} files, {time.monotonic() - began:.0f} s",
        *broken,
        sep="\n  ",
    )
    return 1 if broken else 0


def _started(folder: Path, url: str, share: Path, storage: Path, *options: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (folder / "transferers.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.transferer", url, str(share), str(storage), *options],
            env=os.environ | {"PYTHONPATH": path},
            stdout=log,
            stderr=log,
        )


def _kill(running: list[subprocess.Popen[bytes]], rng: random.Random) -> str:
    """Kill a transferer, or only one of its workers; return which."""
    process = rng.choice(running)
    workers = _children(process)
    if workers and rng.random() < 0.4:
        rng.choice(workers).kill()
        return "worker"
    process.send_signal(signal.SIGKILL)  # its workers are left to notice
    process.wait()
    return "transferer"


def _wait_for_workers(process: subprocess.Popen[bytes]) -> None:
    """Starting takes most of a process's life here; what is worth killing comes afterwards."""
    deadline = time.monotonic() + START_LIMIT_S
    while len(_children(process)) < WORKERS and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def _children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    for child in _children(process):
        child.kill()
    process.kill()
    process.wait()


def _broken(share: Path, storage: Path, engine: sa.Engine) -> list[str]:
    """Compare the two trees and the ledger."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select path, version, state, target, xxh3_128 from ledger.file")).all()
    known = {row.target: row for row in rows}
    broken = [f"{row.path}@{row.version} is {row.state}" for row in rows if row.state != "verified"]
    for source in share.rglob("*.raw"):
        copies = [row for row in rows if row.path == str(source.relative_to(share))]
        if not copies or copies[-1].xxh3_128 != hash_of(source):
            broken.append(f"{source.name} was not brought in its last state")
    for copy in storage.rglob("*"):
        if not copy.is_file() or copy.name == "manifest.xxh128":
            continue
        if str(copy) not in known:
            broken.append(f"{copy} is in no row")
        elif known[str(copy)].xxh3_128 != hash_of(copy):
            broken.append(f"{copy} has another hash")
    return broken
