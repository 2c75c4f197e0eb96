"""Fuzz the parsers, guided by the lines that an input reaches: `scripts/fuzz [--seconds S] [--seed N] [NAME ...]`.

An input that reaches a new line is kept and damaged further. What is found lies in `tests/fuzz/findings`; move it to
`tests/fuzz/seeds/<parser>/` once it is mended, and every test run tries it.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.mutation import mutated
from tests.fuzz.parsers import SEEDS, Target, targets

from cryodaq.errors import FormatError

FINDINGS = Path(__file__).parent / "findings"
SLOW_S = 2.0


class Lines:
    """The lines of `cryodaq.formats` that ran."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, int]] = set()

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:  # Any: the tracing protocol of sys
        """Follow calls into the parsers only."""
        if "cryodaq/formats" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self.trace


def fuzz(target: Target, *, seconds: float, chance: random.Random) -> tuple[int, int, list[str]]:
    """Return how many inputs were tried, how many lines they reached, and what was found."""
    lines, corpus, findings, tried = Lines(), list(target.seeds), [], 0
    with tempfile.TemporaryDirectory() as name:
        for seed in target.seeds:  # compiles what is compiled, and a seed may well be refused
            with suppress(FormatError):
                target.parse(seed, Path(name))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            data = mutated(corpus, chance) if tried >= len(target.seeds) else target.seeds[tried]
            tried += 1
            before, begun = len(lines.seen), time.monotonic()
            problem = _problem(target, data, Path(name), lines)
            if problem is None and time.monotonic() - begun > SLOW_S:
                problem = f"took {time.monotonic() - begun:.1f} s"
            if problem is not None and problem not in findings:
                findings.append(problem)
                FINDINGS.mkdir(exist_ok=True)
                (FINDINGS / f"{target.name}-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)
            if len(lines.seen) > before:
                corpus.append(data)
    return tried, len(lines.seen), findings


def _problem(target: Target, data: bytes, folder: Path, lines: Lines) -> str | None:
    sys.settrace(lines.trace)
    try:
        target.parse(data, folder)
    except FormatError:
        return None
    except Exception as error:  # noqa: BLE001  # whatever else comes is the finding
        return f"{type(error).__name__}: {str(error)[:120]}"
    finally:
        sys.settrace(None)
    return None


def main() -> int:
    """Fuzz one parser after another; return 1 when something was found."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("names", nargs="*", help="parsers; default: all")
    words.add_argument("--seconds", type=float, default=600.0, help="for each parser")
    words.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    given = words.parse_args()
    print(f"seed {given.seed}")
    found = 0
    for target in targets():
        if given.names and target.name not in given.names:
            continue
        kept = tuple(path.read_bytes() for path in sorted((SEEDS / target.name).glob("*")))
        whole = Target(name=target.name, parse=target.parse, seeds=(*target.seeds, *kept))
        tried, reached, findings = fuzz(whole, seconds=given.seconds, chance=random.Random(given.seed))
        print(f"{target.name}: {tried} inputs, {reached} lines, {len(findings)} findings", flush=True)
        for problem in findings:
            print(f"  {problem}")
        found += len(findings)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
