"""One schedule: a transferer that fails and starts again, others beside it, then peace, then the invariants."""

from __future__ import annotations

import logging
import random
import shutil
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from tests.faults.ambush import Ambushes
from tests.faults.inline import InlineBackground, InlineWake, InlineWorker
from tests.faults.invariants import broken_invariants, gone_files, lost_copies, rows_of, unsettled
from tests.faults.points import Crash, Plan, Points, at_rest
from tests.faults.power import Power
from tests.faults.readers import STAFF, Collaborations
from tests.faults.world import EPOCH, World

from cryodaq.app.assign_exposures import assign_exposures, resume_assignments
from cryodaq.app.clear_microscope import Clearing, clear_microscope
from cryodaq.app.follow_logbook import Following
from cryodaq.app.moving_copies import Refiling
from cryodaq.app.reassign_exposures import Wish, reassign_exposures, resume_reassignments
from cryodaq.app.reconcile_access import AccessKeeping, grant_as_applied, keep_access
from cryodaq.app.transfer_movies import Transfer, transfer_window, wait_for_work
from cryodaq.domain.layout import SampleLayout, experiment_layout
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.errors import LeaseLostError, LedgerError, LogbookError, ShareStalledError, StoreError, TransferError
from cryodaq.ledger import assignments, reassignments
from cryodaq.ledger.samples import SampleRecord
from cryodaq.store.folders import make_folders

ACTIVE_S = 180.0
PEACE_S = 4000.0
SLEEP_S = 3600.0
LATEST_SLEEP = 3000
"""Points."""
ENDINGS = (Crash, OperationalError, LeaseLostError)
"""What may end a process while faults happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one schedule."""

    seed: int
    points: int
    happened: dict[str, int]
    broken: list[str]
    log: list[str]


class Schedule:
    """Runs the system in its world."""

    def __init__(self, seed: int, points: Points, *, engine: sa.Engine, folder: Path, number: int) -> None:
        self.plan = points.plan = Plan(seed)
        self.world = World(self.plan, folder, number)
        self.engine = engine
        self.plan.between = self._between
        self._depth = 0
        self._sleeper = random.Random(f"sleeper of {seed}")  # of its own: the other events stay as they are
        self._sleeps_from = self._sleeper.randint(100, LATEST_SLEEP) if self._sleeper.random() < 0.4 else None
        """At the next point after so many a process sleeps for an hour."""
        self.collaborations = Collaborations(self.world)
        self._clears = self.plan.rng.random() < 0.5
        self._reassigns = self.plan.rng.random() < 0.3
        self._meets = self.plan.rng.choice([0, 0, 1, 3])
        """So many times another process acts while a copy of this one waits for its name."""
        self._broken: list[str] = []
        self.plan.ambush = Ambushes(self.plan, self.world).pass_by
        self.plan.on_record, self.plan.unlisted = self.world.on_record, self.world.unlisted
        self._gone_before: Collection[int] = set()
        self.world.unmounting, self.world.mounting = self._remember_the_gone, self._compare_with_the_unmounted
        self.plan.power = Power(self.world.storage)
        self.microscope = Microscope(
            name=f"tem{number}",
            instrument=self.world.instrument,
            station=0,
            shares=(Share(root=PurePosixPath(self.world.share)),),
            gain_root=None,
            detector="",
            defaults=InstrumentDefaults(voltage_kv=300, cs_mm=2.7, amplitude_contrast=0.1),
            retention=RetentionRule(enabled=True, older_than_h=0.0, larger_than_mb=0.0),
            queue="q",
        )

    def transfer(self) -> Transfer:
        world = self.world
        following = Following(
            engine=self.engine,
            logbook=world.logbook,
            microscope=self.microscope,
            experiment_pattern=r"\d{8}-F\d+",
            storage_root=PurePosixPath(world.storage),
            now=world.now,
            background=partial(InlineBackground, world),
        )
        return Transfer(
            following=following,
            floor_fraction=0.0,
            clock=world.clock,
            open_worker=self._open_worker,
            grant_access=partial(grant_as_applied, self.engine, STAFF),
            new_wake=partial(InlineWake, world),
        )

    def _open_worker(self, root: PurePosixPath, **settings: Any) -> InlineWorker:
        worker = InlineWorker(self.world, root, **settings)
        self.world.workers.append(worker)
        return worker

    # processes

    def _between(self, name: str) -> None:
        self.world.between(name)
        if self._sleeps_from is not None and self.plan.number >= self._sleeps_from and self._may_sleep():
            self._sleeps_from = None
            self._sleep()
            return
        resting = name in {"rest", "clock"} or name.startswith("request")
        if not resting or self._depth != 1 or self.plan.open_transactions or not self.plan.rate:
            return
        if self.world.copies_made and name == "clock" and self._meets and self.plan.rng.random() < 0.3:
            self._meets -= 1
            self.plan.happened["beside a made copy"] += 1
            self._beside()
        elif self.plan.draw(1.0):
            self._beside()

    def _may_sleep(self) -> bool:
        return self.plan.rate > 0 and self._depth in {1, 2} and not self.plan.dead

    def _sleep(self) -> None:
        """This process stands still, wherever it is; another one transfers, and more may happen."""
        others = [self._clear, self._assign, *[self._reassign] * self._reassigns]
        acts = [self._another_window, *self._sleeper.sample(others, self._sleeper.randint(0, len(others)))]
        acts += [self._another_window] * (self._sleeper.random() < 0.5)
        self.sleep(acts, rest_s=self._sleeper.choice([0.0, 40.0, 600.0]))

    def sleep(self, acts: Sequence[Callable[[], object]], *, rest_s: float) -> None:
        """Let others act while this process stands still for an hour; the server gives its transaction up.

        Parameters
        ----------
        rest_s
            What passes before they come; its lease runs out after 30 s.
        """
        plan, wakes = self.plan, self.world.t + SLEEP_S
        plan.happened["a process slept for an hour"] += 1
        self.world.note("a process falls asleep")
        plan.give_up_transactions()
        job, plan.job = plan.job, None
        self.world.pass_time(rest_s)
        for act in acts:
            self.process(act)
        plan.job = job
        self.world.pass_time(max(0.0, wakes - self.world.t))
        self.world.note("a process wakes")

    def _beside(self) -> None:
        """Another process does something while the first one is asleep."""
        acts = [self._another_window, self._clear, self._assign, *[self._reassign] * self._reassigns]
        act = self.plan.rng.choice(acts)
        self.plan.happened[f"beside: {act.__name__.strip('_')}"] += 1
        self.process(act)

    def process(self, act: Callable[[], object]) -> bool:
        """Run something as a process of its own; return whether it crashed."""
        workers, self.world.workers = self.world.workers, []
        armed, transactions = self.plan.armed, self.plan.open_transactions
        heard = self.world.last_scan_s, self.world.logbook.last_s
        asleep, self.plan.transactions = self.plan.transactions, []
        self.plan.armed = self.plan.open_transactions = 0
        copies, self.world.copies_made = self.world.copies_made, 0
        self._depth += 1
        crashed = False
        try:
            act()
        except ENDINGS as error:
            crashed = isinstance(error, Crash)
            if not self.plan.rate and not isinstance(error, LeaseLostError):
                raise
            self.world.note(f"a process ended: {type(error).__name__}")
        finally:
            self.plan.dead = False
            self._depth -= 1
            self.plan.armed, self.plan.open_transactions, self.plan.transactions = armed, transactions, asleep
            self.world.workers, self.world.copies_made = workers, copies
            self.world.last_scan_s, self.world.logbook.last_s = heard
        return crashed

    def _another_window(self) -> None:
        ends = self.world.t + self.plan.rng.uniform(1, 60)
        transfer_window(self.transfer(), 1e9, lambda: self.world.t > ends)

    def _clear(self) -> None:
        if not self._clears:
            return
        clearing = Clearing(
            engine=self.engine,
            microscope=self.microscope,
            storage_root=PurePosixPath(self.world.storage),
            now=self.world.now,
            open_worker=self._open_worker,
        )
        try:
            clear_microscope(clearing)
        except (ShareStalledError, TransferError) as error:
            self.world.note(f"clearing ended: {error}")

    def _samples(self) -> list[str]:
        query = sa.text("select id from ledger.sample where microscope = :m order by id")
        with at_rest(self.plan), self.engine.connect() as connection:
            return list(connection.execute(query, {"m": self.microscope.name}).scalars())

    def _prepare_sample(self, sample: SampleRecord) -> None:
        layout = SampleLayout(root=PurePosixPath(sample.folder))
        make_folders([Path(sample.experiment_folder), Path(layout.raw), Path(layout.gain_references)])
        self._keep_access(sample.experiment)

    def refiling(self) -> Refiling:
        return Refiling(
            engine=self.engine,
            microscope=self.microscope.name,
            storage_root=PurePosixPath(self.world.storage),
            now=self.world.now,
            prepare=self._prepare_sample,
            grant_access=partial(grant_as_applied, self.engine, STAFF),
            open_worker=self._open_worker,
        )

    def _reassign(self) -> None:
        """Go on with what was begun; else give everything of one sample, or of one folder, to another."""
        rng, known = self.plan.rng, self._samples()
        if len(known) < 2:
            return
        giver, taker = rng.sample(known, 2)
        folder = rng.choice([None, "one", "two"])
        wish = Wish(to_sample=taker, asked_by="operator", folder=folder, since=EPOCH, from_sample=giver)
        with at_rest(self.plan), self.engine.connect() as connection:
            begun = reassignments.open_plans(connection, self.microscope.name)
        try:
            if begun:
                resume_reassignments(self.refiling())
            else:
                reassign_exposures(self.refiling(), wish)
        except LeaseLostError:
            raise
        except (LedgerError, TransferError, TimeoutError) as error:
            self.world.note(f"reassigning ended: {error}")

    def _assign(self) -> None:
        """Give everything in quarantine to a sample; what was begun goes on first."""
        known = self._samples()
        if not known:
            return
        try:
            assign_exposures(self.refiling(), sample_id=self.plan.rng.choice(known), by="operator")
        except LeaseLostError:
            raise
        except (LedgerError, TransferError, TimeoutError) as error:
            self.world.note(f"assigning ended: {error}")

    def is_assigning(self) -> bool:
        """Whether an assignment was begun and is not done."""
        with at_rest(self.plan), self.engine.connect() as connection:
            return bool(assignments.open_assignments(connection, self.microscope.name))

    def _keep_access(self, experiment: str) -> None:
        """Set an experiment's access as preparing does; where that succeeds, exactly those who are listed can read."""
        folder = self.world.folder_of(experiment)
        keeping = AccessKeeping(
            engine=self.engine,
            logbook=self.world.logbook,
            storage_root=self.world.storage,
            always=STAFF,
            now=self.world.now,
        )
        try:
            keep_access(keeping, experiment, folder=folder)
        except (LogbookError, StoreError) as error:
            self.world.note(f"access: {error}")
            return
        if not self._is_giving():
            with at_rest(self.plan):
                self._broken += self.collaborations.differences(experiment)

    def _keep_all_access(self) -> None:
        query = sa.text("select name from ledger.experiment where name in (:one, :other) order by name")
        one, other = self.collaborations.experiments
        with at_rest(self.plan), self.engine.connect() as connection:
            known = connection.execute(query, {"one": one, "other": other}).scalars().all()
        for experiment in known:
            if self.world.folder_of(experiment).exists():
                self._keep_access(experiment)

    def _look_for_strangers(self) -> None:
        """Nobody reads what never was theirs."""
        if not self._is_giving():
            with at_rest(self.plan):
                self._broken += self.collaborations.strangers()

    def _is_giving(self) -> bool:
        """Whether files are being given to others, or were until a crash: they have the readers of a moment ago."""
        with at_rest(self.plan), self.engine.connect() as connection:
            begun = reassignments.open_plans(connection, self.microscope.name)
        return bool(begun) or self.is_assigning()

    def prepare(self) -> None:
        """Make the folders of all samples that are current or were."""
        root, instrument = PurePosixPath(self.world.storage), self.world.instrument
        for name, sample_id in self.world.samples.items():
            layout = experiment_layout(root, self.world.experiment_of(name), instrument=instrument)
            sample = layout.sample(sample_id)
            make_folders([Path(layout.root), Path(sample.raw), Path(sample.gain_references)])

    def _pass(self) -> None:
        """Run once as a pass of the microscope's DAG does: wait for a sample, then a window."""
        rng, world = self.plan.rng, self.world
        ends = world.t + rng.uniform(5, 90)
        transfer = self.transfer()
        with at_rest(self.plan):
            self.prepare()
        if self._sleeper.random() < 0.5:
            self._go_on_giving()
        self._keep_all_access()
        current = wait_for_work(transfer, stop=lambda: world.t > ends, wait_s=30)
        if current is not None and current.sample_id is not None:
            transfer_window(transfer, rng.uniform(5, 60), lambda: world.t > ends)

    def _go_on_giving(self) -> None:
        """Do what each pass does first: carry on what a crash interrupted."""
        for carry_on in (
            lambda: resume_assignments(self.refiling()),
            lambda: resume_reassignments(self.refiling()),
        ):
            try:
                carry_on()
            except LeaseLostError:
                raise
            except (LedgerError, TransferError, TimeoutError) as error:
                self.world.note(f"giving ended: {error}")

    def run(self) -> Outcome:
        plan, world = self.plan, self.world
        until = world.t + ACTIVE_S
        world.plan_operator(until)
        world.plan_exposures(plan.rng.randint(2, 7), until - 60)
        self.collaborations.plan(until)
        rate = 10 ** plan.rng.uniform(-3.5, -1.6)
        while world.t < until:
            plan.rate = rate
            if self.process(self._pass) and plan.rng.random() < 0.5:
                self._lose_power()
            self._look_for_strangers()
            world.pass_time(plan.rng.choice([0.5, 3.0, 20.0]))
        plan.rate = 0.0
        world.logbook.is_down = world.logbook.lists_are_cut = False
        self.process(lambda: resume_assignments(self.refiling()))
        self.process(lambda: resume_reassignments(self.refiling()))
        self._settle()
        self.process(self._clear)
        self.process(self._keep_all_access)
        self._look_for_strangers()
        broken = self._broken + broken_invariants(world, self.engine, self.microscope.name)
        return Outcome(seed=plan.seed, points=plan.number, happened=dict(plan.happened), broken=broken, log=world.log)

    def _remember_the_gone(self) -> None:
        with at_rest(self.plan):
            self._gone_before = gone_files(self.engine, self.microscope.name).keys()

    def _compare_with_the_unmounted(self, aside: Path) -> None:
        """A share that is away is not an empty one."""
        with at_rest(self.plan):
            gone = gone_files(self.engine, self.microscope.name)
        paths = [path for number, path in gone.items() if number not in self._gone_before]
        self._broken += [
            f"{path} is called gone while its share is unmounted" for path in paths if (aside / path).exists()
        ]

    def _lose_power(self) -> None:
        """After a crash: what was not synced is gone. What the ledger has on record must be there."""
        assert self.plan.power is not None
        with at_rest(self.plan):
            self.plan.power.goes(self.plan.rng)
            self._broken += lost_copies(self.world, self.engine, self.microscope.name)
        self.plan.happened["the power went"] += 1

    def _settle(self) -> None:
        """Let everything end: no faults, until nothing is left to do."""
        world = self.world
        world.logbook.is_down = False
        world.pass_time(max(0.0, world.last_event_s - world.t) + 1)
        world._unmount(away=False)
        self.process(self._clear)  # a removal that was interrupted ends: what is aside goes, or gets its name back
        self.prepare()
        ends, asked = world.t + PEACE_S, [world.t]

        def done() -> bool:
            if world.t > ends:
                return True
            if world.t < asked[0]:
                return False
            asked[0] = world.t + 15
            with at_rest(self.plan):
                return world.t > ends - PEACE_S + 80 and not unsettled(world, self.engine, self.microscope.name)

        while world.t < ends and not done():
            self.process(lambda: transfer_window(self.transfer(), 1e9, done))
            asked[0] = world.t
            self.prepare()


class _Notes(logging.Handler):
    """Notes what the program says among what happens in its world."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        facts = [str(record.__dict__[name]) for name in ("path", "problem", "reason") if name in record.__dict__]
        self._world.note("  " + ": ".join([record.getMessage(), *facts]))


@contextmanager
def _noted(world: World) -> Iterator[None]:
    logger, notes = logging.getLogger("cryodaq"), _Notes(world)
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(notes)


def run_schedule(seed: int, points: Points, *, engine: sa.Engine, folder: Path, number: int) -> Outcome:
    """Run one schedule in an empty folder, which is removed afterwards."""
    schedule = Schedule(seed, points, engine=engine, folder=folder, number=number)
    try:
        with _noted(schedule.world):
            outcome = schedule.run()
        if outcome.broken:
            outcome.log.extend(map(str, rows_of(engine, schedule.microscope.name)))
    except Exception:  # noqa: BLE001  # what nobody expects to end a process is an error that the schedule found
        plan = schedule.plan
        broken = [traceback.format_exc()]
        outcome = Outcome(
            seed=seed, points=plan.number, happened=dict(plan.happened), broken=broken, log=schedule.world.log
        )
    shutil.rmtree(folder)
    return outcome
