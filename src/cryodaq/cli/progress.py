"""The demo's progress: bars in a terminal, a line at each change elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryodaq.cli.demo_summary import Progress


@contextmanager
def progress_display(total: int) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows a progress of so many movies."""
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with _bars(total) as show:
            yield show
    else:
        yield _lines(total)


@contextmanager
def _bars(total: int) -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    with Bars(TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TextColumn("movies")) as bars:
        tasks: dict[str, object] = {}

        def show(progress: Progress) -> None:
            for name, count in asdict(progress).items():
                if name not in tasks:
                    tasks[name] = bars.add_task(name, total=total)
                bars.update(tasks[name], completed=count)  # type: ignore[arg-type]  # rich's own TaskID

        yield show


def _lines(total: int) -> Callable[[Progress], None]:
    shown: list[str] = [""]

    def show(progress: Progress) -> None:
        line = ", ".join(f"{name} {count}" for name, count in asdict(progress).items())
        if line != shown[0]:
            shown[0] = line
            print(f"of {total} movies: {line}", flush=True)

    return show
