"""Numbered points: every system call of the I/O workers, every statement and commit, every look at the clock.

`installed` wraps the system calls once for the process; they do something only while a worker is at work.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from tests.faults.power import Power

ERRNOS = {
    "open": (errno.EIO, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.ESTALE),
    "readv": (errno.EIO, errno.ESTALE),
    "write": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "fsync": (errno.EIO, errno.EDQUOT, errno.ENOSPC),
    "mkdir": (errno.EACCES, errno.ENOSPC, errno.EDQUOT),
    "renameat2": (errno.EIO, errno.EACCES, errno.ENOSPC),
}
"""What each call may answer; the others answer EIO or EACCES."""
CALLS = ("open", "readv", "write", "fsync", "fstat", "utime", "stat", "scandir", "listdir", "mkdir", "unlink")
CALLS += ("replace", "link", "readlink", "statvfs", "chmod")
HARMLESS = frozenset({"readlink", "fstat", "chmod"})
"""Calls that do not fail on a living mount; a process may still crash there."""
WRITTEN = (
    ("INSERT INTO ledger.share_state ", "scan_began_at", "scan"),
    ("INSERT INTO ledger.current_state ", "", "poll"),
    ("UPDATE ledger.current_state ", "", "poll"),
)
"""Statements that tell what the ledger knows of the microscope and of the elogbook."""


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, no clean-up either."""


class WorkerGone(BaseException):
    """One worker ended, and nothing else."""


@dataclass
class Job:
    """One request to a worker."""

    number: int
    what: str
    arguments: dict[str, Any]
    future: Future[dict[str, Any]]
    asked_s: float


@dataclass
class Plan:
    """What happens at which point of one schedule."""

    seed: int
    rate: float = 0.0
    """Chance of a fault at a point."""
    number: int = 0
    """Points passed."""
    armed: int = 0
    """Depth of workers at work: only then do system calls pass points."""
    dead: bool = False
    """The process crashed; it does nothing any more until a new one starts."""
    open_transactions: int = 0
    transactions: list[sa.Connection] = field(default_factory=list)
    """Those that are open, of all processes."""
    happened: Counter[str] = field(default_factory=Counter)
    between: Callable[[str], None] = lambda _: None
    """What the rest of the world does at a point."""
    ambush: Callable[[str], None] = lambda _: None
    """What it does just before or after a call that matters."""
    unlisted: Callable[[Path], set[str]] = lambda _: set()
    """Names in a folder that a listing of it does not have."""
    on_record: Callable[[str], None] = lambda _: None
    """What the ledger has learnt: a scan, or a poll of the elogbook."""
    job: Job | None = None
    """What a worker does."""
    power: Power | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.longest_rest_s = self.rng.choice([3.0, 8.0, 16.0])
        """A window looks around so seldom, at the most: where it does so all the time, most looks find nothing new."""

    def draw(self, chance: float) -> bool:
        return self.rate > 0 and self.rng.random() < self.rate * chance

    def give_up_transactions(self) -> None:
        """Do what a server does with the transactions of a process that says nothing for minutes."""
        for connection in self.transactions:
            connection.connection.rollback()
            connection.info["given up"] = True

    def point(self, name: str) -> None:
        """Pass a point: the world goes on, and this process may end here."""
        if self.dead:
            raise Crash
        self.number += 1
        self.between(name)
        if self.draw(0.3):
            self.crash(name)

    def crash(self, name: str) -> None:
        self.happened[f"crash at {name}"] += 1
        self.dead = True
        raise Crash

    def answer(self, name: str) -> None:
        """Fail a system call, perhaps."""
        if name not in HARMLESS and self.draw(1.0):
            code = self.rng.choice(ERRNOS.get(name, (errno.EIO, errno.EACCES)))
            self.happened[f"{errno.errorcode[code]} from {name}"] += 1
            raise OSError(code, os.strerror(code))


class Listing:
    """A listing of a folder in which some names are missing."""

    def __init__(self, entries: Any, hidden: set[str]) -> None:
        self._entries, self._hidden = entries, hidden

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        return iter([entry for entry in self._entries if entry.name not in self._hidden])

    def __exit__(self, *_: object) -> None:
        self._entries.close()


class Points:
    """The plan of the schedule that runs, behind wrappers that are installed once."""

    def __init__(self) -> None:
        self.plan = Plan(0)

    def wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def through(*args: Any, **kwargs: Any) -> Any:
            plan = self.plan
            if not plan.armed:
                return call(*args, **kwargs)
            plan.point(name)
            plan.ambush(name)
            plan.answer(name)
            if name == "readv" and plan.draw(3.0):
                plan.happened["short read"] += 1
                return call(args[0], [args[1][0][: plan.rng.randint(1, len(args[1][0]))]])
            if name == "write" and plan.draw(3.0):
                plan.happened["short write"] += 1
                args = (args[0], args[1][: plan.rng.randint(1, len(args[1]))])
            result = call(*args, **kwargs)
            if name == "scandir" and (hidden := plan.unlisted(Path(args[0]))):
                result = Listing(result, hidden)
            if plan.power is not None:
                plan.power.called(name, args)
            plan.ambush(f"after {name}")
            if plan.draw(0.3):
                plan.crash(f"after {name}")
            return result

        return through

    def library(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the C library, of which only renameat2 is used."""
        points = self

        class Library:
            def __init__(self, real: Any) -> None:
                self._real = real

            def renameat2(self, *args: Any) -> int:
                def rename(*_: Any) -> int:
                    result = int(self._real.renameat2(*args))
                    if result:
                        raise OSError(ctypes.get_errno(), "renameat2")
                    return result

                try:
                    return int(points.wrapped("renameat2", rename)(*args))
                except OSError as error:
                    ctypes.set_errno(error.errno or errno.EIO)
                    return -1

        return lambda *args, **kwargs: Library(load(*args, **kwargs))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have all system calls pass points while the block runs."""
        originals = {name: getattr(os, name) for name in CALLS}
        load = ctypes.CDLL
        for name, call in originals.items():
            setattr(os, name, self.wrapped(name, call))
        ctypes.CDLL = self.library(load)  # type: ignore[assignment,misc]  # stands in for the class while it is called
        try:
            yield
        finally:
            ctypes.CDLL = load  # type: ignore[misc]  # as above
            for name, call in originals.items():
                setattr(os, name, call)

    @contextmanager
    def listening(self, engine: sa.Engine) -> Iterator[None]:
        """Have system calls, and statements and commits of an engine, pass points while the block runs."""
        self._listen(engine)
        with self.installed():
            yield

    def _listen(self, engine: sa.Engine) -> None:
        sa.event.listen(engine, "begin", self._began)
        sa.event.listen(engine, "rollback", self._ended)
        sa.event.listen(engine, "before_cursor_execute", self._statement)
        sa.event.listen(engine, "commit", self._commit)

    def _began(self, connection: sa.Connection) -> None:
        self.plan.open_transactions += 1
        self.plan.transactions.append(connection)
        connection.info["written"], connection.info["given up"] = set(), False

    def _ended(self, connection: sa.Connection) -> None:
        self.plan.open_transactions -= 1
        self.plan.transactions.remove(connection)

    def _statement(self, connection: sa.Connection, _cursor: object, statement: str, *_: Any) -> None:
        for begin, part, what in WRITTEN:
            if statement.startswith(begin) and part in statement:
                connection.info["written"].add(what)
        armed, self.plan.armed = self.plan.armed, 0
        try:
            self.plan.point("statement")
            self._still_there(connection)
            if self.plan.draw(0.3):
                raise self._lost("a statement")
        finally:
            self.plan.armed = armed

    def _commit(self, connection: sa.Connection) -> None:
        self.plan.point("commit")
        self._still_there(connection)
        if self.plan.draw(0.5):
            raise self._lost("a commit that was not made")
        if self.plan.draw(0.5):
            connection.connection.commit()  # it was made, and nobody hears of it
            self._on_record(connection)
            raise self._lost("a commit that was made")
        self.plan.open_transactions -= 1
        self.plan.transactions.remove(connection)
        self._on_record(connection)

    def _still_there(self, connection: sa.Connection) -> None:
        if connection.info["given up"]:
            raise self._lost("a transaction that the server gave up")

    def _on_record(self, connection: sa.Connection) -> None:
        for what in sorted(connection.info["written"]):
            self.plan.on_record(what)

    def _lost(self, when: str) -> OperationalError:
        self.plan.happened[f"ledger lost at {when}"] += 1
        return OperationalError("injected", None, OSError("the connection to the ledger broke"))


@contextmanager
def at_rest(plan: Plan) -> Iterator[None]:
    """Let the harness itself do something without passing points."""
    armed, rate, dead = plan.armed, plan.rate, plan.dead
    plan.armed, plan.rate, plan.dead = 0, 0.0, False
    try:
        yield
    finally:
        plan.armed, plan.rate, plan.dead = armed, rate, dead
