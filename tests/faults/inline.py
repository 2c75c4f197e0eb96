"""Workers, threads and rests of a transfer in one thread and on one clock, so that a seed repeats a schedule."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from tests.faults.points import Crash, Job, Plan, WorkerGone

from cryodaq.app.transfer_window.background import Background
from cryodaq.errors import CryodaqError, ShareStalledError, TransferError, WorkerEndedError
from cryodaq.transfer import wire
from cryodaq.transfer.worker import Reply, Worker
from cryodaq.transfer.workers import ShareWorker

PEACEFUL_REST_S = 20.0
"""Longest rest when no faults happen any more."""


class Time(Protocol):
    """The one clock."""

    t: float
    plan: Plan
    copies_made: int
    """Copies that wait for their names."""

    def mounted_from(self, root: Path) -> str | None: ...

    def pass_time(self, seconds: float) -> None: ...

    def clock(self) -> float: ...

    def remember_scan(self, asked_s: float) -> None: ...

    def run_workers(self) -> None: ...


class InlineFuture(Future[dict[str, Any]]):
    """A future whose waiting does the work."""

    def __init__(self, owner: InlineWorker) -> None:
        super().__init__()
        self._owner = owner

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        if not self.done():
            self._owner.wait_for(self, timeout)
        return super().result(0)


class InlineWorker(ShareWorker):
    """The worker's own code, behind the same messages, run when the schedule says so."""

    def __init__(self, world: Time, root: PurePosixPath, **settings: Any) -> None:
        super().__init__(root, **settings)
        self._world = world
        self._settings = settings
        self._alive = False
        self._jobs: list[Job] = []
        self._silent_since: float | None = None
        self._number = 0

    @property
    def alive(self) -> bool:
        return self._alive

    @property
    def pid(self) -> int | None:
        return None

    def start(self) -> None:
        self._alive, self._silent_since, self._jobs = True, None, []
        self._worker = Worker(
            root=Path(self.root),
            sentinel=self._settings.get("sentinel"),
            excludes=list(self._settings.get("excludes", ())),
            expected_source=self._settings.get("expected_source"),
            clock=lambda: self._world.t,
            source_of=self._world.mounted_from,
        )

    def request(self, what: str, **arguments: object) -> Future[dict[str, Any]]:
        self._world.plan.point(f"request {what}")
        if what == "publish":
            self._world.copies_made = 0
        future = InlineFuture(self)
        if not self._alive:
            future.set_exception(ShareStalledError(self.root, waited_s=0))
            return future
        self._number += 1
        self._jobs.append(Job(self._number, what, json.loads(json.dumps(arguments)), future, self._world.t))
        if self._silent_since is None and self._world.plan.draw(0.2):
            self._world.plan.happened["stall"] += 1
            self._silent_since = self._world.t
        return future

    def expect(self, source: str) -> None:
        self._settings["expected_source"] = source

    def cancel(self, future: Future[dict[str, Any]]) -> None:
        for job in self._jobs:
            if job.future is future:
                self._worker.cancel(job.number)

    def silent_s(self) -> float:
        return 0.0 if self._silent_since is None else self._world.t - self._silent_since

    @property
    def stalled(self) -> bool:
        return self.silent_s() > self._stall_s

    def abandon(self) -> str:
        self._end(ShareStalledError(self.root, waited_s=self.silent_s()))
        return "another-host 1 1"

    def close(self, *, wait_s: float = 2.0) -> bool:
        self._end(WorkerEndedError(self.root))
        return True

    def _end(self, error: TransferError) -> None:
        self._alive, jobs, self._jobs = False, self._jobs, []
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)

    def wait_for(self, future: InlineFuture, timeout: float | None) -> None:
        """Do what is waited for; a slow storage does it after the patience is over."""
        plan = self._world.plan
        job = next((job for job in self._jobs if job.future is future), None)
        slow = timeout is not None and timeout >= 1.0 and plan.draw(0.3)
        if job is None or self._silent_since is not None or slow:
            plan.happened["slow answer"] += slow
            self._world.pass_time(timeout or 1.0)
            raise TimeoutError
        self._jobs.remove(job)
        self._do(job)

    def work(self) -> None:
        """Do what waits, in any order; some of it later."""
        plan = self._world.plan
        if not self._alive or self._silent_since is not None:
            return
        jobs, self._jobs = self._jobs, []
        plan.rng.shuffle(jobs)
        for place, job in enumerate(jobs):
            if not self._alive or job.future.done():
                continue
            if plan.rate and plan.rng.random() < 0.15:
                self._jobs.append(job)
                continue
            self._jobs += jobs[place + 1 :]
            try:
                self._do(job)
            finally:
                self._jobs = [one for one in self._jobs if one not in jobs[place + 1 :]]

    def _do(self, job: Job) -> None:
        plan = self._world.plan
        parts: list[Any] = []

        def send(message: dict[str, Any]) -> None:
            if "part" in message:
                parts.append(wire.decode(wire.encode(message))["part"])

        plan.armed += 1
        before, plan.job = plan.job, job
        try:
            answer = getattr(self._worker, job.what)(Reply(job.number, send), **job.arguments)
        except CryodaqError as error:
            job.future.set_exception(wire.error_from_message(wire.decode(wire.encode(wire.error_to_message(error)))))
        except Crash:
            self._died(job)
        except WorkerGone:
            self._ended_alone(job)
        except Exception as error:  # noqa: BLE001  # as the real worker's threads do
            job.future.set_exception(TransferError(f"{job.what} failed: {type(error).__name__}: {error}"))
        else:
            if job.what == "scan":
                self._world.remember_scan(job.asked_s)
            if job.what == "copy":
                self._world.copies_made += 1
            job.future.set_result({**wire.decode(wire.encode(answer)), "parts": parts})
        finally:
            plan.armed -= 1
            plan.job = before

    def _died(self, job: Job) -> None:
        """Either this worker alone died, or the whole transferer did."""
        plan = self._world.plan
        if plan.rng.random() < 0.5 or self._world.t < 0:
            raise Crash
        plan.dead = False
        self._ended_alone(job)

    def _ended_alone(self, job: Job) -> None:
        self._world.plan.happened["a worker died alone"] += 1
        self._jobs.append(job)
        self._end(WorkerEndedError(self.root))


class InlineBackground(Background):
    """Does its act when the owner looks and the time has come."""

    def __init__(self, world: Time, act: Callable[[], None], *, every_s: float, name: str) -> None:
        super().__init__(act, every_s=every_s, name=name)
        self._world = world
        self._due = 0.0
        self._running = False

    def start(self) -> None:
        self._running = True

    def now(self) -> None:
        self._due = 0.0

    def check(self) -> None:
        if self._running and self._world.t >= self._due:
            self._due = self._world.t + self._every_s
            self._act()

    def end(self) -> None:
        self._running = False


class InlineWake(threading.Event):
    """Resting lets the world go on and the workers work."""

    def __init__(self, world: Time) -> None:
        super().__init__()
        self._world = world

    def wait(self, timeout: float | None = None) -> bool:
        plan = self._world.plan
        plan.point("rest")
        self._world.pass_time(plan.rng.uniform(timeout or 0.2, plan.longest_rest_s if plan.rate else PEACEFUL_REST_S))
        self._world.run_workers()
        return True
