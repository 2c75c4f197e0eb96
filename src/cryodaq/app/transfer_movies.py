"""Bring a microscope's files to the data centre, window after window, each going on where the last one ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryodaq.app.compare_clocks import holder_name
from cryodaq.app.follow_logbook import Current, Follower, followed, poll
from cryodaq.app.steady_clock import SteadyClock
from cryodaq.app.transfer_window.adopting import Adopter
from cryodaq.app.transfer_window.copying import Copier
from cryodaq.app.transfer_window.doubting import Doubter
from cryodaq.app.transfer_window.empty_folders import EmptyFolderKeeper
from cryodaq.app.transfer_window.gain_copying import GainKeeper
from cryodaq.app.transfer_window.judging import Judge
from cryodaq.app.transfer_window.mounts import Mount
from cryodaq.app.transfer_window.owning import decide_owners, needs_poll
from cryodaq.app.transfer_window.repairing import Repairer
from cryodaq.app.transfer_window.session import Session, Transfer
from cryodaq.app.transfer_window.suspecting import Suspecter
from cryodaq.app.transfer_window.telling import Teller
from cryodaq.app.transfer_window.verifying import Verifier
from cryodaq.domain.microscope import Share
from cryodaq.errors import LeaseLostError
from cryodaq.ledger import files, leases, movies, observations
from cryodaq.ledger.leases import Lease
from cryodaq.transfer.workers import ShareWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Transfer", "WindowSummary", "transfer_pass", "transfer_window", "wait_for_work"]

log = logging.getLogger(__name__)
TICK_S = 0.25
"""Longest pause between two ticks; answers of workers end it early, and so does a file whose quiet time is over."""
PUMP_EVERY_S = 0.5
"""Between two calls of the caller's hook."""
PUMP_REST_S = 0.1
"""Between two calls that copies ask for, so that a backlog of small files does not keep the ledger busy."""
DRAIN_S = 300.0
"""How long a window goes on, after its time, for large files that are under way."""
CHANGE_DRAIN_S = 3.0
"""How long it goes on for them when a new sample waits for its folders."""
STOP_DRAIN_S = 3.0
"""How long it goes on for them when it is told to stop."""
LAST_SCAN_S = 10.0
"""How long a change of the sample waits for the scan that tells its files from those before."""
WAIT_S = 60.0
"""How long a microscope with nothing current is watched in one go."""
STORAGE_NICENESS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSummary:
    """What one window did."""

    ended_because: str
    copied: int
    copied_bytes: int
    movies: int
    verified: int
    to_copy: int
    """Files with an owner that still wait."""
    given_up: int
    """Copies that were under way at the end; the next window begins them anew."""


def transfer_window(transfer: Transfer, window_s: float, stop: Callable[[], bool]) -> WindowSummary:
    """Scan, decide, copy, record and verify for a while.

    Ends early when `stop()` is true, and when a sample becomes current whose folders are not there yet.

    Raises
    ------
    LeaseLostError
        Another process transfers this microscope now; what was under way here was given up, unharmed.
    """
    transfer = _steadied(transfer)
    with _held_lease(transfer) as lease, _window(transfer, lease) as window:
        return window.run(window_s, stop=stop, ends=window.needs_preparation)


def transfer_pass(transfer: Transfer, window_s: float, stop: Callable[[], bool]) -> WindowSummary:
    """Do the same; give way where somebody takes the lease, as assigning what is in quarantine does.

    Whoever took it lets it go in a moment, or goes on with the transfer: neither is a failure.
    """
    try:
        return transfer_window(transfer, window_s, stop)
    except LeaseLostError as error:
        log.info("a window gave way", extra={"microscope": transfer.microscope.name, "reason": str(error)})
        return WindowSummary(
            ended_because=str(error), copied=0, copied_bytes=0, movies=0, verified=0, to_copy=0, given_up=0
        )


def wait_for_work(
    transfer: Transfer, *, stop: Callable[[], bool] = lambda: False, wait_s: float = WAIT_S
) -> Current | None:
    """Return at once when a sample is current, else as soon as one is, after `wait_s` at the latest.

    Meanwhile the shares are watched and what has an owner is copied, so that no exposure is seen too late to say
    whose it is, and a microscope in standby is drained. None: somebody else took the lease before there was an answer.
    """
    transfer = _steadied(transfer)
    current: Current | None = None
    try:
        with _held_lease(transfer) as lease:
            current = poll(transfer.following, under=lease)
            if current.sample_id is not None or stop():
                return current
            with _window(transfer, lease) as window:
                window.run(wait_s, stop=stop, ends=window.has_sample)
                return window.current or current
    except LeaseLostError as error:  # as in `transfer_pass`
        log.info("a watch gave way", extra={"microscope": transfer.microscope.name, "reason": str(error)})
        return current


def _steadied(transfer: Transfer) -> Transfer:
    """Have a transfer's times go on from those on record, though the wall clock was put back meanwhile."""
    with transfer.engine.connect() as connection:
        latest = observations.latest_moment(connection, transfer.microscope.name)
    clock = SteadyClock(transfer.now, not_before=latest)
    return replace(transfer, following=replace(transfer.following, now=clock.now))


@contextmanager
def _held_lease(transfer: Transfer) -> Iterator[Lease]:
    """Take the microscope's lease; let it go after the block, unless that failed."""
    with transfer.engine.begin() as connection:
        lease = leases.acquire(connection, transfer.microscope.name, holder=holder_name(), at=transfer.now())
    yield lease
    with transfer.engine.begin() as connection:
        leases.release(connection, lease, at=transfer.now())


@contextmanager
def _window(transfer: Transfer, lease: Lease) -> Iterator[_Window]:
    """Start the workers and the follower; end them all, whatever happens."""
    wake = transfer.new_wake()
    session = Session(transfer, lease, wake)
    session.load()
    with ExitStack() as stack:
        follower = stack.enter_context(followed(transfer.following, under=lease, wake=wake.set))
        window = _Window(session, follower)
        stack.callback(window.close)
        yield window


class _Window:
    """The parts of a window, and the order in which they take their turns."""

    def __init__(self, session: Session, follower: Follower) -> None:
        transfer = session.transfer
        self._session = session
        self._follower = follower
        self._storage_root = transfer.following.storage_root
        self._storage = self._new_storage_worker()
        self._mounts = {str(share.root): Mount(session, share) for share in transfer.microscope.shares}
        gain_root = None if transfer.microscope.shadow else transfer.microscope.gain_root
        self._gains = GainKeeper(session, Mount(session, Share(root=gain_root, sentinel=None))) if gain_root else None
        self._adopter = Adopter(session)
        self._judge = Judge(session)
        self._doubter = Doubter(session)
        self._copier = Copier(session)
        self._repairer = Repairer(session, make_version=self._doubter.make_version)
        self._verifier = Verifier(session, self._storage, self._repairer)
        self._folders = EmptyFolderKeeper(session)
        self._teller = Teller(session, self._storage)
        self._suspecter = Suspecter(session)
        self._pump = transfer.following.background(transfer.on_tick, every_s=PUMP_EVERY_S, name="pump")
        self._renewed_s = session.clock()
        self._pump_due_s = self._renewed_s
        self._asked_for: float = 0.0
        self._judge.learn_expected_frames(list(session.known.values()))

    @property
    def current(self) -> Current | None:
        """What the elogbook said last."""
        return self._follower.latest

    def _new_storage_worker(self) -> ShareWorker:
        transfer = self._session.transfer
        return transfer.open_worker(
            self._storage_root,
            threads=1,
            niceness=STORAGE_NICENESS,
            stall_s=transfer.stall_s,
            wake=self._session.wake.set,
        )

    def needs_preparation(self) -> str | None:
        """Say why the window ends: a sample is current that must be prepared first."""
        current = self.current
        if current is None or current.sample_id is None or self._session.transfer.microscope.shadow:
            return None
        sample = self._session.sample(current.sample_id)
        if sample is None:
            return None
        if self._session.folder_is_ready(self._session.transfer.raw_folder_of(sample)):
            return None
        return f"sample {sample.name} of {sample.experiment} is current and must be prepared"

    def has_sample(self) -> str | None:
        """Say why the watch ends: a sample is current."""
        current = self.current
        return None if current is None or current.sample_id is None else "a sample is current"

    def run(self, window_s: float, *, stop: Callable[[], bool], ends: Callable[[], str | None]) -> WindowSummary:
        """Take turns until the window ends, then finish or give up what is under way."""
        session = self._session
        ends_s = session.clock() + window_s
        self._storage.start()
        self._pump.start()
        self._copier.recover(self._storage)
        reason: str | None = None
        while reason is None:
            self._tick(orders=True)
            if stop():
                reason = "it was told to stop"
            elif (changed := ends()) is not None:
                self._see_the_change()
                reason = changed
            elif session.clock() >= ends_s:
                reason = "its time was over"
        drain_s = {"it was told to stop": STOP_DRAIN_S, "its time was over": DRAIN_S}.get(reason, CHANGE_DRAIN_S)
        given_up = self._finish(drain_s, stop=stop)
        summary = WindowSummary(
            ended_because=reason,
            copied=session.copied,
            copied_bytes=session.copied_bytes,
            movies=session.movies,
            verified=session.verified,
            to_copy=sum(tracked.record.state in {"seen", "complete"} for tracked in session.tracked.values()),
            given_up=given_up,
        )
        log.info("a window ended", extra={"microscope": session.microscope, "reason": reason, "copied": session.copied})
        return summary

    def _see_the_change(self) -> None:
        """Go on until a scan has begun after the poll that told of the change.

        What it finds was there about the time of the change; what the next window finds came after it.
        """
        current = self.current
        ends_s = self._session.clock() + LAST_SCAN_S
        while current is not None and self._session.clock() < ends_s:
            seen = [mount.scanned_since for mount in self._mounts.values() if mount.worker is not None]
            if all(since is not None and since > current.asked_at for since in seen):
                return
            self._tick(orders=False)

    def _finish(self, drain_s: float, *, stop: Callable[[], bool]) -> int:
        """Let copies that are under way end; give up those that take too long. Return how many those were."""
        session = self._session
        ends_s = session.clock() + drain_s
        while self._in_flight and session.clock() < ends_s:
            if stop():
                ends_s = min(ends_s, session.clock() + STOP_DRAIN_S)
            self._tick(orders=False)
        given_up = self._in_flight
        if given_up:
            self._copier.give_up()
            ends_s = session.clock() + 1.0
            while self._in_flight and session.clock() < ends_s:
                self._tick(orders=False)
        return given_up

    @property
    def _in_flight(self) -> int:
        return self._copier.in_flight + (self._gains.in_flight if self._gains else 0)

    def _tick(self, *, orders: bool) -> None:
        """Give every part its turn, then rest until something is heard."""
        session = self._session
        self._renew_lease()
        self._supervise_storage()
        current, pause_s = self._follower.latest, session.transfer.scan_pause_s
        for root, mount in self._mounts.items():
            mount.supervise()
            scan = mount.scan(hot=self._hot_folders(root), pause_s=pause_s, asked=current is not None)
            if scan is not None:
                self._adopter.adopt(root, scan)
                self._folders.note(root, scan.found["empty_folders"])
            self._doubter.ask(mount)
            self._judge.reread(mount)
            self._judge.look(mount)
        decide_owners(session)
        if needs_poll(session, None if current is None else current.asked_at):
            self._ask_again()
        self._judge.judge()
        self._doubter.answer()
        self._copier.collect(self._storage)
        self._register_late_movies()
        if orders and not session.transfer.microscope.shadow:
            self._work_on_storage()
        if self._gains is not None:
            self._gains.tick(self._storage)
        self._teller.tell(current)
        self._suspecter.look(current)
        self._hand_over()
        session.wake.wait(min(TICK_S, self._judge.due_in_s()))
        session.wake.clear()

    def _hand_over(self) -> None:
        """Have the caller's hook run at once after a movie, its metadata or a gain was copied."""
        session = self._session
        self._pump.check()
        if session.to_hand_over and session.clock() >= self._pump_due_s:
            session.to_hand_over = False
            self._pump_due_s = session.clock() + PUMP_REST_S
            self._pump.now()

    def _work_on_storage(self) -> None:
        """Copy, read again, repair."""
        self._copier.order(self._mounts)
        self._verifier.verify(busy=self._copier.in_flight > 0)
        self._repairer.repair(self._mounts, self._storage)
        self._folders.keep(self._storage)

    def _ask_again(self) -> None:
        """Have the elogbook asked once more, so that new exposures are decided about at once."""
        if self._session.clock() >= self._asked_for:
            self._asked_for = self._session.clock() + 1.0
            self._follower.ask_now()

    def _hot_folders(self, root: str) -> list[str]:
        """Return the folders of files that are not complete yet."""
        paths = (
            tracked.record.path
            for tracked in self._session.tracked.values()
            if tracked.record.share == root and tracked.record.state in {"seen", "held"}
        )
        return sorted({path.rpartition("/")[0] for path in paths})

    def _renew_lease(self) -> None:
        session = self._session
        if session.clock() - self._renewed_s > leases.TTL.total_seconds() / 4:
            with session.transfer.engine.begin() as connection:
                leases.renew(connection, session.lease, at=session.now())
            self._renewed_s = session.clock()

    def _supervise_storage(self) -> None:
        """A storage that does not answer stops copying, and nothing else; another worker tries again."""
        session = self._session
        if self._storage.alive and not self._storage.stalled:
            return
        if self._storage.alive:
            mark = self._storage.abandon()
            message = f"{self._storage_root} does not answer; copying waits (worker {mark} was given up)"
            session.alarm("storage", message, severity="error")
            session.paused_until_s = session.clock() + session.transfer.stall_s
        elif session.clock() >= session.paused_until_s:
            self._storage.start()
            session.alarm("storage", None)

    def _register_late_movies(self) -> None:
        """Make the rows of copied files that an mdoc named as movies afterwards."""
        session = self._session
        if not session.late_movies:
            return
        waiting, session.late_movies = session.late_movies, []
        for file_id in waiting:
            with session.transition() as connection:
                record = files.find_file(connection, file_id)
                owner = session.exposures.get(record.exposure_id) if record is not None else None
                if record is None or owner is None:
                    continue
                if owner.decision is None:
                    session.late_movies.append(file_id)
                    continue
                sample = session.sample(owner.sample_id) if owner.sample_id else None
                if sample is not None:
                    movies.register_movies(connection, [(record, sample)], at=session.now())
                    session.movies += 1

    def close(self) -> None:
        """End all workers and the pump; none is waited for without bound."""
        self._pump.end()
        for mount in self._mounts.values():
            mount.close()
        if self._gains is not None:
            self._gains.close()
        self._storage.close()
