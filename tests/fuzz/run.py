"""Fuzz the parsers, guided by the lines that an input reaches: `scripts/fuzz [--seconds S] [--seed N] [NAME ...]`.

An input that reaches a new line is damaged further. With `--keep` the few inputs that together reach all lines become
seeds: `tests/fuzz/seeds/<format>/`, which every test run tries. What is found lies in
`tests/fuzz/findings`; move it to the seeds once it is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.fuzz.mutation import mutated
from tests.fuzz.parsers import SEEDS, Target, targets

from cryodaq.errors import FormatError

FINDINGS = Path(__file__).parent / "findings"
SLOW_S = 2.0
LONGEST_SEED_BYTES = 30_000
MOST_SEED_BYTES = 60_000
"""For each format, so that all seeds together stay small in the repository."""

Line = tuple[CodeType, int]


class Lines:
    """The lines of `cryodaq.formats` that ran."""

    def __init__(self) -> None:
        self.seen: set[Line] = set()

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:  # Any: the tracing protocol of sys
        """Follow calls into the parsers only."""
        if "cryodaq/formats" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.seen.add((frame.f_code, frame.f_lineno))
        return self.trace


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What fuzzing one format came to."""

    tried: int = 0
    reached: set[Line] = field(default_factory=set)
    findings: list[str] = field(default_factory=list)
    corpus: list[tuple[bytes, frozenset[Line]]] = field(default_factory=list)
    """Inputs that reached a new line, with all lines that each reached."""


def fuzz(target: Target, *, kept: Iterable[bytes], seconds: float, chance: random.Random) -> Outcome:
    """Try damaged inputs for some time, beginning with the sound ones and those kept from earlier."""
    outcome, first = Outcome(), [*target.seeds, *kept]
    with tempfile.TemporaryDirectory() as name:
        for seed in target.seeds:  # compiles what is compiled, and a seed may well be refused
            with suppress(FormatError):
                target.parse(seed, Path(name))
        end = time.monotonic() + seconds
        while outcome.tried < len(first) or time.monotonic() < end:
            fresh = outcome.tried >= len(first)
            data = mutated([one for one, _ in outcome.corpus], chance) if fresh else first[outcome.tried]
            _try(target, data, Path(name), outcome)
    return outcome


def _try(target: Target, data: bytes, folder: Path, outcome: Outcome) -> None:
    lines, begun = Lines(), time.process_time()
    problem = _problem(target, data, folder, lines)
    outcome.tried += 1
    if problem is None and time.process_time() - begun > SLOW_S:  # of the processor: another's load is no finding
        problem = f"slow: it took {time.process_time() - begun:.1f} CPU s"
    if problem is not None and problem.partition(":")[0] not in [one.partition(":")[0] for one in outcome.findings]:
        outcome.findings.append(problem)
        FINDINGS.mkdir(exist_ok=True)
        (FINDINGS / f"{target.name}-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)
    if not lines.seen <= outcome.reached:
        outcome.corpus.append((data, frozenset(lines.seen)))
        outcome.reached |= lines.seen


def _problem(target: Target, data: bytes, folder: Path, lines: Lines) -> str | None:
    sys.settrace(lines.trace)
    threading.settrace(lines.trace)  # frames are decoded in threads
    try:
        target.parse(data, folder)
    except FormatError:
        return None
    except Exception as error:  # noqa: BLE001  # whatever else comes is the finding
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = "" if at is None else f" ({Path(at.tb_frame.f_code.co_filename).name}, line {at.tb_lineno})"
        return f"{type(error).__name__}{where}: {str(error)[:120]}"
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]  # as the library documents it
    return None


def keep(target: Target, outcome: Outcome) -> None:
    """Write the inputs that reach what the sound ones do not, few and short."""
    sound = set(target.seeds)
    left = outcome.reached - {line for data, lines in outcome.corpus if data in sound for line in lines}
    candidates = [
        (data, lines) for data, lines in outcome.corpus if data not in sound and len(data) <= LONGEST_SEED_BYTES
    ]
    chosen: list[bytes] = []
    while candidates:
        data, lines = max(candidates, key=lambda one: (len(one[1] & left), -len(one[0])))
        if not lines & left or sum(map(len, chosen)) + len(data) > MOST_SEED_BYTES:
            break
        left -= lines
        chosen.append(data)
    folder = SEEDS / target.name
    folder.mkdir(parents=True, exist_ok=True)
    for data in chosen:
        (folder / f"line-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)


def fuzz_one(name: str, *, seconds: float, seed: int, keeping: bool) -> tuple[str, int]:
    """Fuzz one format; return what is to be said of it, and how much was found."""
    target = next(one for one in targets() if one.name == name)
    earlier = sorted((SEEDS / name).glob("*"))
    kept = [path.read_bytes() for path in earlier]
    outcome = fuzz(target, kept=kept, seconds=seconds, chance=random.Random(seed))
    if keeping:
        for path in earlier:
            if path.name.startswith("line-"):  # chosen anew from all that is known now
                path.unlink()
        keep(target, outcome)
    found = outcome.findings
    first = f"{name}: {outcome.tried} inputs, {len(outcome.reached)} lines, {len(found)} findings"
    return "\n".join([first, *(f"  {problem}" for problem in found)]), len(found)


def main() -> int:
    """Fuzz the formats, as many at once as there are cores; return 1 when something was found."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("names", nargs="*", help="formats; default: all")
    words.add_argument("--seconds", type=float, default=600.0, help="for each format")
    words.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    words.add_argument("--keep", action="store_true", help="make seeds of what reaches new lines")
    words.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="formats at once")
    given = words.parse_args()
    known = [target.name for target in targets()]
    unknown = sorted(set(given.names) - set(known))
    if unknown:
        words.error(f"there is no format {', '.join(unknown)}; there are {', '.join(known)}")
    print(f"seed {given.seed}", flush=True)
    task = partial(fuzz_one, seconds=given.seconds, seed=given.seed, keeping=given.keep)
    count = 0
    with ProcessPoolExecutor(given.jobs, max_tasks_per_child=1, mp_context=get_context("spawn")) as pool:
        for words_of_it, found in pool.map(task, given.names or known):
            print(words_of_it, flush=True)
            count += found
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
