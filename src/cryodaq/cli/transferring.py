"""`cryodaq transfer SOURCE TARGET`: the copy engine alone, with its ledger, its proofs and a live display."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from cryodaq.cli.places import home_folder
from cryodaq.cli.running import HomeOption
from cryodaq.domain.wording import say_size

if TYPE_CHECKING:
    from cryodaq.ledger.custody import Backlog

RATE_OVER_S = 30.0
LONGEST_LEFT_S = 360_000.0
"""A longer time left says only that nothing was copied yet."""
LINE_EVERY_S = 5.0


def transfer(
    source: Annotated[Path, typer.Argument(help="Folder that is written to, such as a mounted share.")],
    target: Annotated[Path, typer.Argument(help="Folder that gets the copies; made when it is not there.")],
    once: Annotated[bool, typer.Option("--once", help="End when everything is copied and verified.")] = False,
    sentinel: Annotated[str | None, typer.Option(help="A file in SOURCE that proves that it is mounted.")] = None,
    mounted_from: Annotated[
        str | None, typer.Option(help="What must be mounted at SOURCE, such as //camera1/x; default: as the last time.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Name pattern that is not looked at; repeatable.")] = None,
    home: HomeOption = None,
) -> None:
    """Copy a growing folder: only complete files, hashed, read again from storage, never replacing anything.

    The ledger is the database of CRYODAQ_DATABASE_URL, else the embedded one. A second start goes on where the first
    one ended. Ctrl-C ends it. SOURCE is only read.
    """
    from cryodaq.app.transfer_folder import FolderTransfer, transfer_folder
    from cryodaq.database import open_engine
    from cryodaq.wiring import utc_now

    with ledger_url(home) as url, told_to_stop() as stop:
        engine = open_engine(url)
        folder = FolderTransfer(
            engine=engine,
            source=source.expanduser().resolve(),
            target=target.expanduser().resolve(),
            now=utc_now,
            sentinel=sentinel,
            mounted_from=mounted_from,
            excludes=tuple(exclude or ()),
        )
        with display() as show:
            left = transfer_folder(folder, once=once, stop=stop, show=show)
        print(f"{left.verified} of {left.files} files are verified; hashes are in {folder.target / 'manifest.xxh128'}")
        engine.dispose()
    if left.held or left.waiting:
        held = f"{left.held} file{'s are' if left.held != 1 else ' is'} held"
        place = "" if home is None else f" --home {home}"
        print(f"{held}, {left.waiting} wait{'s' * (left.waiting == 1)}: `cryodaq where NAME{place}` says why")
        sys.exit(1)


@contextmanager
def ledger_url(home: Path | None) -> Iterator[str]:
    """Give the URL of the named database, else of the embedded one, which is started if it does not run."""
    from cryodaq.launch.ledger_alone import embedded_ledger
    from cryodaq.wiring.connections import DATABASE_VARIABLE

    if named := os.environ.get(DATABASE_VARIABLE):
        yield named
        return
    with embedded_ledger(home_folder(home)) as url:
        yield url


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Say whether Ctrl-C or SIGTERM came; copies under way get a few seconds then. A second one ends at once."""
    told = False

    def hear(number: int, _: FrameType | None) -> None:
        nonlocal told
        told = True
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Rate:
    """Bytes a second over the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, copied_bytes: int) -> float:
        now = time.monotonic()
        self._seen.append((now, copied_bytes))
        while now - self._seen[0][0] > RATE_OVER_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return (copied_bytes - before) / (now - since) if now > since else 0.0


def sentence(found: Backlog, *, bytes_per_s: float) -> str:
    """Say how far it is, at what rate, and when it will be done."""
    said = f"{found.copied}/{found.files} files, {say_size(found.copied_bytes)} of {say_size(found.size_bytes)} copied"
    said += f", {found.verified} verified, {say_size(int(bytes_per_s))}/s"
    left = found.files - found.copied
    if left:
        said += f", backlog {left} file{'s' * (left != 1)} {say_size(found.left_bytes)}"
    if found.left_bytes > 0 and bytes_per_s > 0:
        left_s = found.left_bytes / bytes_per_s
        minutes, seconds = divmod(int(left_s), 60)
        said += f", {minutes}:{seconds:02} min left" if left_s < LONGEST_LEFT_S else ""
    return said + (f", {found.held} held" if found.held else "")


@contextmanager
def display() -> Iterator[Callable[[Backlog], None]]:
    """Give what shows a backlog: one line that changes in a terminal, a line every few seconds elsewhere."""
    rate, said_at, live = _Rate(), [float("-inf")], sys.stdout.isatty()

    def show(found: Backlog) -> None:
        text = sentence(found, bytes_per_s=rate.add(found.copied_bytes))
        if live:
            print(f"\r\x1b[K{text}", end="", flush=True)
        elif time.monotonic() - said_at[0] >= LINE_EVERY_S:
            said_at[0] = time.monotonic()
            print(text, flush=True)

    yield show
    if live:
        print()
