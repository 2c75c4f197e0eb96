"""Runs schedules of faults: `python -m tests.faults.run --schedules 300 --seed 1`; scripts/faults calls it."""

from __future__ import annotations

import argparse
import json
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
from typing import TYPE_CHECKING

from tests.faults.plants import PLANTS, sow

if TYPE_CHECKING:
    import sqlalchemy as sa
    from tests.faults.schedule import Outcome

    from cryodaq.launch.postgres import EmbeddedPostgres

BUFFER_BYTES = 512
"""So small that tiny files are read in many pieces."""
TAIL_BYTES = 256
"""So small that the end of a tiny movie is one frame."""
PLANT_SCHEDULES = 50
"""In so many schedules an error that was planted must be found."""


@contextmanager
def ledger(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of its own that does not care about its own safety."""
    from cryodaq.launch.postgres import EmbeddedPostgres
    from cryodaq.launch.socket_folders import remove_socket_folder

    server = EmbeddedPostgres(folder / "ledger")
    server.home.mkdir()
    server.initialise()
    hasty = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "autovacuum=off"]
    with (folder / "postgres.log").open("w") as log:
        process = subprocess.Popen([*server.command(), *hasty], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not server.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit((folder / "postgres.log").read_text())
            time.sleep(0.05)
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(20)
        remove_socket_folder(server.socket_folder)


@contextmanager
def database(server: EmbeddedPostgres, name: str) -> Iterator[sa.Engine]:
    """A database with the ledger's tables."""
    import sqlalchemy as sa

    from cryodaq.migrations import upgrade

    server.create_databases([name])
    engine = sa.create_engine(server.url(name), connect_args={"options": "-c timezone=UTC"})
    upgrade(engine)
    yield engine
    engine.dispose()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, help=f"default: 300; with --plant {PLANT_SCHEDULES}")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of the first schedule; the next has the next"
    )
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="begin no schedule after so long")
    parser.add_argument("--at-least", type=int, default=0, help="so many schedules whatever the limit says")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at once")
    parser.add_argument("--log", action="store_true", help="print what happened in each schedule")
    parser.add_argument("--kills", type=int, default=0, help="instead: kill real processes so many times")
    parser.add_argument("--directed", action="store_true", help="instead: what once went wrong, at its moment")
    parser.add_argument(
        "--plant", choices=[*PLANTS, "all"], help="instead: put an error into the program, which must be found"
    )
    parser.add_argument("--one-of", type=int, default=0, help=argparse.SUPPRESS)  # a process that the others start
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    given = arguments().parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets are walked in one order then, and a seed repeats its schedule
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606  # no shell is wanted
    given.schedules = given.schedules or (PLANT_SCHEDULES if given.plant else 300)
    if given.folder is not None:
        return work(given)
    memory = Path("/dev/shm")  # noqa: S108  # a private folder is made in it
    folder = Path(tempfile.mkdtemp(prefix="cryodaq-faults-", dir=memory if memory.is_dir() else None))
    folder.chmod(0o711)
    try:
        with ledger(folder) as server:
            if given.kills or given.directed:
                return run_one_event_each(given, server, folder)
            if given.plant:
                return run_plants(given, folder)
            print(f"{given.schedules} schedules, seed {given.seed}", flush=True)
            return report(run_jobs(given, folder, "real"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_one_event_each(given: argparse.Namespace, server: EmbeddedPostgres, folder: Path) -> int:
    from tests.faults.directed import run_directed
    from tests.faults.kills import kill_and_compare
    from tests.faults.points import Points

    points = Points()
    with database(server, "faults") as engine:
        if given.kills:
            print(f"{given.kills} kills, seed {given.seed}", flush=True)
            return kill_and_compare(folder, engine, kills=given.kills, seed=given.seed)
        with points.listening(engine):
            return 1 if run_directed(points, engine=engine, folder=folder) else 0


def run_plants(given: argparse.Namespace, folder: Path) -> int:
    """Plant errors; return 1 when one was not found."""
    missed = 0
    for name in PLANTS if given.plant == "all" else [given.plant]:
        done = run_jobs(given, folder, name, "--plant", name)
        by = f"schedule {done['first']}" if done["first"] else "a directed schedule"
        found = f"found by {by}" if done["bad"] else f"NOT FOUND by {done['done']} schedules"
        print(f"{name}: {PLANTS[name].what}: {found}, {done['seconds']:.0f} s", *done["broken"][:2], sep="\n    ")
        sys.stdout.flush()
        missed += not done["bad"]
    return 1 if missed else 0


def run_jobs(given: argparse.Namespace, folder: Path, name: str, *options: str) -> dict[str, object]:
    """Run schedules in several processes, each every n-th; with a plant all end when one has found it."""
    began = time.monotonic()
    jobs = max(1, min(given.jobs, given.schedules))
    shared = ["--schedules", given.schedules, "--seed", given.seed, "--limit-s", given.limit_s, "--jobs", jobs]
    shared += ["--at-least", given.at_least]
    shared += ["--folder", folder, *options] + ["--log"] * given.log
    commands = [[sys.executable, "-m", "tests.faults.run", *map(str, shared), "--one-of", str(n)] for n in range(jobs)]
    running = [subprocess.Popen(command) for command in commands]
    try:
        while any(process.poll() is None for process in running):
            if options and any(process.poll() for process in running):
                break
            time.sleep(0.1)
    finally:
        for process in running:
            process.kill()
            process.wait()
    said = [_answer(folder, n, process.returncode) for n, process in enumerate(running)]
    firsts = [int(one["first"]) for one in said if one["first"]]
    happened = Counter[str]()
    for one in said:
        happened.update(one["happened"])
    return {
        "done": sum(int(one["done"]) for one in said),
        "points": sum(int(one["points"]) for one in said),
        "happened": happened,
        "broken": [sentence for one in said for sentence in one["broken"]],
        "bad": sum(int(one["bad"]) for one in said),
        "first": min(firsts, default=0),
        "seconds": time.monotonic() - began,
    }


def _answer(folder: Path, number: int, status: int | None) -> dict[str, object]:
    """Return what a process found; one that was ended because another had found the plant says nothing."""
    path = folder / f"answer-{number}"
    if path.exists():
        answer = json.loads(path.read_text())
        path.unlink()
        return answer
    bad = int(status not in {0, -signal.SIGKILL})
    return {"done": 0, "points": 0, "happened": {}, "broken": [f"it ended with {status}"] * bad, "bad": bad, "first": 0}


def report(done: dict[str, object]) -> int:
    """Print how it went; return 1 when an invariant was broken."""
    happened = done["happened"]
    assert isinstance(happened, Counter)
    print(
        f"{done['done']} schedules, {done['points']} points, {happened.total()} faults "
        f"in {done['seconds']:.0f} s; {done['bad']} broken"
    )
    for name, count in happened.most_common():
        print(f"  {count:6} {name}")
    return 1 if done["bad"] else 0


def say(outcome: Outcome) -> None:
    """Print what happened in a schedule."""
    print(f"seed {outcome.seed}: {len(outcome.broken)} invariants broken", *outcome.broken, sep="\n  ")
    print("what happened:", outcome.happened, *outcome.log, sep="\n  ", flush=True)


def read_in_many_pieces() -> None:
    """Have the program take tiny files for large ones."""
    from cryodaq.formats import closure
    from cryodaq.transfer import pour

    pour.BUFFER_BYTES, closure.TAIL_BYTES = BUFFER_BYTES, TAIL_BYTES


def work(given: argparse.Namespace) -> int:
    """Run every n-th schedule in this process; write what came of it."""
    if given.plant:
        sow(given.plant)
    from tests.faults.directed import run_directed
    from tests.faults.points import Points
    from tests.faults.schedule import run_schedule

    from cryodaq.launch.postgres import EmbeddedPostgres

    read_in_many_pieces()
    points, happened, name = Points(), Counter[str](), f"{given.plant or 'real'}-{given.one_of}"
    began, done, passed, first, sentences = time.monotonic(), 0, 0, 0, list[str]()
    with (
        database(EmbeddedPostgres(given.folder / "ledger"), name.replace("-", "_")) as engine,
        points.listening(engine),
    ):
        if given.plant and given.one_of == 0:
            sentences += [f"directed: {one}" for one in run_directed(points, engine=engine, folder=given.folder / name)]
        bad = len(sentences)
        for number in range(1 + given.one_of, 1 + given.schedules * (not bad), given.jobs):
            if time.monotonic() - began > given.limit_s and done * given.jobs >= given.at_least:
                break
            seed = given.seed + number - 1
            outcome = run_schedule(seed, points, engine=engine, folder=given.folder / f"{name}-{number}", number=number)
            done, passed = done + 1, passed + outcome.points
            happened.update(outcome.happened)
            if given.log or (outcome.broken and not given.plant):
                say(outcome)
            if outcome.broken:
                bad, first = bad + 1, first or number
                sentences += outcome.broken
                if given.plant:
                    break
    answer = {"done": done, "points": passed, "happened": happened, "broken": sentences, "bad": bad, "first": first}
    (given.folder / f"answer-{given.one_of}").write_text(json.dumps(answer))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
