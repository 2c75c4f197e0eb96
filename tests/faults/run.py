"""Runs schedules of faults: `python -m tests.faults.run --schedules 300 --seed 1`; scripts/faults calls it."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from tests.faults.directed import run_directed
from tests.faults.kills import kill_and_compare
from tests.faults.points import Points
from tests.faults.schedule import run_schedule

from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.migrations import upgrade
from cryodaq.transfer import copy

BUFFER_BYTES = 512
"""So small that tiny files are read in many pieces."""


@contextmanager
def ledger(folder: Path) -> Iterator[sa.Engine]:
    """A PostgreSQL of its own that does not care about its own safety."""
    server = EmbeddedPostgres(folder / "ledger")
    server.home.mkdir()
    server.initialise()
    hasty = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]
    with (folder / "postgres.log").open("w") as log:
        process = subprocess.Popen([*server.command(), *hasty], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not server.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit((folder / "postgres.log").read_text())
            time.sleep(0.05)
        server.create_databases(["faults"])
        engine = sa.create_engine(server.url("faults"), connect_args={"options": "-c timezone=UTC"})
        upgrade(engine)
        yield engine
        engine.dispose()
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(20)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=300)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of the first schedule; the next has the next"
    )
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="begin no schedule after so long")
    parser.add_argument("--log", action="store_true", help="print what happened in each schedule")
    parser.add_argument("--kills", type=int, default=0, help="instead: kill real processes so many times")
    parser.add_argument("--directed", action="store_true", help="instead: what once went wrong, at its moment")
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets are walked in one order then, and a seed repeats its schedule
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606  # no shell is wanted
    memory = Path("/dev/shm")  # noqa: S108  # a private folder is made in it
    folder = Path(tempfile.mkdtemp(prefix="cryodaq-faults-", dir=memory if memory.is_dir() else None))
    folder.chmod(0o711)
    copy.BUFFER_BYTES = BUFFER_BYTES
    print(f"{given.kills or given.schedules} {'kills' if given.kills else 'schedules'}, seed {given.seed}", flush=True)
    try:
        with ledger(folder) as engine:
            if given.kills:
                return kill_and_compare(folder, engine, kills=given.kills, seed=given.seed)
            return run(given, engine, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(given: argparse.Namespace, engine: sa.Engine, folder: Path) -> int:
    """Run the schedules; return 1 when an invariant was broken."""
    points, happened = Points(), Counter[str]()
    points.listen(engine)
    began, done, passed, bad = time.monotonic(), 0, 0, 0
    with points.installed():
        if given.directed:
            return 1 if run_directed(points, engine=engine, folder=folder) else 0
        for number in range(1, given.schedules + 1):
            if time.monotonic() - began > given.limit_s:
                break
            seed = given.seed + number - 1
            outcome = run_schedule(seed, points, engine=engine, folder=folder / str(number), number=number)
            done, passed = done + 1, passed + outcome.points
            happened.update(outcome.happened)
            if outcome.broken or given.log:
                print(f"seed {seed}: {len(outcome.broken)} invariants broken", *outcome.broken, sep="\n  ")
                print("what happened:", outcome.happened, *outcome.log, sep="\n  ", flush=True)
            bad += bool(outcome.broken)
    seconds = time.monotonic() - began
    print(f"{done} schedules, {passed} points, {sum(happened.values())} faults in {seconds:.0f} s; {bad} broken")
    for name, count in happened.most_common():
        print(f"  {count:6} {name}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
