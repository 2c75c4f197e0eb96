"""Waits until the stack is prepared for this release, then becomes the program that it was asked to start.

    python3 -m cryodaq.launch.swarm.waiting [--until-answers URL] PROGRAM [ARGUMENT ...]

Swarm starts all services at once. Each of them would import Airflow, find no tables, end and be started again, and a
dozen of those leave `prepare` no processor time. This imports nothing of size and looks at a file of one line.

A worker waits for Airflow's API, too: a task that it takes before costs one of its tries.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import cryodaq
from cryodaq.domain.home import Home
from cryodaq.launch.swarm.healthy import page_answers

OPTION = "--until-answers"
LOOK_S = 1.0
TELL_EVERY_S = 60.0


def release() -> str:
    """Return what a stack must be prepared for: this program, its Airflow, and the tables that it needs."""
    revisions = (Path(cryodaq.__file__).parent / "migrations" / "versions").glob("[0-9]*.py")
    tables = max(path.stem.partition("_")[0] for path in revisions)
    return f"cryodaq {cryodaq.__version__}, Airflow {version('apache-airflow-core')}, tables {tables}"


def mark_prepared(home: Home) -> None:
    """Let the services of this release begin."""
    part = home.prepared.with_suffix(".part")
    part.write_text(f"{release()}\n", encoding="utf-8")
    part.replace(home.prepared)


def is_prepared(home: Home) -> bool:
    """Whether the services of this release may begin."""
    try:
        return home.prepared.read_text(encoding="utf-8").strip() == release()
    except OSError:  # not there yet, or the shared file system is away; both pass
        return False


def main() -> None:
    """Wait, then run the program in place of this one."""
    home, words = Home(Path(os.environ["CRYODAQ_HOME"])), sys.argv[1:]
    _wait(lambda: is_prepared(home), f"the service prepare has prepared {home.root} for {release()}")
    if words[0] == OPTION:
        _, url, *words = words
        _wait(lambda: page_answers(url), f"{url} answers")
    os.execvp(words[0], words)  # noqa: S606  # the stack's own command, no shell


def _wait(holds: Callable[[], bool], claim: str) -> None:
    tell_at = time.monotonic()
    while not holds():
        if time.monotonic() >= tell_at:
            sys.stderr.write(f"waiting until {claim}\n")
            tell_at += TELL_EVERY_S
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
