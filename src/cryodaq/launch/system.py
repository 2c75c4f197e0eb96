"""The whole system on one machine: PostgreSQL, elogbook, pages and Airflow, started in the order of their needs."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, TypeVar

import psutil

from cryodaq.config import ACTIVE_NAME, Facility, read_secret
from cryodaq.domain.home import AIRFLOW_OPERATOR, Home
from cryodaq.errors import LaunchError, SchedulerUnreachableError
from cryodaq.launch import sessions
from cryodaq.launch.airflow import CPU_QUEUE, GPU_QUEUE, CeleryWorkers, EmbeddedAirflow
from cryodaq.launch.airflow import DATABASE as AIRFLOW_DATABASE
from cryodaq.launch.cluster import make_cluster
from cryodaq.launch.migration import Migration
from cryodaq.launch.ports import PortClaims
from cryodaq.launch.postgres import EmbeddedPostgres
from cryodaq.launch.redis import EmbeddedRedis
from cryodaq.launch.schema import bring_up_to_date
from cryodaq.launch.services import Service, own_services
from cryodaq.launch.socket_folders import remove_socket_folder
from cryodaq.launch.supervisor import Child, ChildEvent, Supervisor, stop_sessions
from cryodaq.launch.swarm.preparing import copy_dag_files

DATABASE = "cryodaq"
START_LIMIT_S = 120.0
LOOK_S = 0.2
NOT_PASSED_ON = frozenset({"PYTHONDONTWRITEBYTECODE", "CRYODAQ_DATABASE_URL"})
"""Without byte code every start of Airflow takes 3 s longer; the database is named by us."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM and a closed terminal raise KeyboardInterrupt in the main thread, so that all ends as by Ctrl-C.

    A hang-up that is ignored (`nohup`) stays ignored.
    """

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class EmbeddedSystem:
    """Everything below one home; a context manager that starts and stops it, once.

    Parameters
    ----------
    home
        The folder of all its state; made when absent. Its active facility file must be there (`config.activate`).
    facility
        The same facility, as settings.
    on_event
        Told when a child starts, dies and recovers, on another thread; must not raise.
    services
        Our own web servers; `own_services(facility)` by default.
    on_database
        Called with the database's URL once its tables are up to date, before anything uses them.
    claims
        Claims on its ports that are held already; given back when it stops.
    """

    def __init__(
        self,
        home: Path,
        facility: Facility,
        *,
        on_event: Callable[[ChildEvent], None] = lambda _: None,
        services: Sequence[Service] | None = None,
        on_database: Callable[[str], None] = lambda _: None,
        claims: PortClaims | None = None,
    ) -> None:
        self.home = Home(home.resolve())
        self._on_database = on_database
        self._facility = facility
        self._services = own_services(facility) if services is None else list(services)
        self.postgres = EmbeddedPostgres(self.home.root)
        self.redis = EmbeddedRedis(self.home.root)
        self.airflow = EmbeddedAirflow(
            home=self.home,
            port=facility.ports.airflow,
            dag_folder=facility.storage.dag_folder or self.home.dag_folder,
            postgres=self.postgres,
            parallelism=2 * (len(facility.microscopes) + self.compute_slots) + 4,
            celery=self._celery_workers(),
        )
        self._supervisor = Supervisor(self.home, on_event=on_event)
        self._claims = claims or PortClaims()
        self._migration: Migration | None = None
        self._lock_descriptor: int | None = None

    @property
    def compute_slots(self) -> int:
        """Processing tasks at once."""
        return self._facility.pools.slots(cores=os.cpu_count() or 1, memory_bytes=psutil.virtual_memory().total)

    def _celery_workers(self) -> CeleryWorkers | None:
        """Return the workers of this machine: those of microscopes, which copy while they clear, and that compute."""
        table, pools = self._facility.airflow, self._facility.pools
        if table.executor != "celery":
            return None
        queues = Counter[str]()
        for microscope in self._facility.microscopes:
            queues[microscope.queue or microscope.name] += 2
        queues[CPU_QUEUE] = self.compute_slots + 1  # and the maintenance
        if pools.gpu_slots:
            queues[GPU_QUEUE] = pools.gpu_slots
        foreign = table.broker_url_file
        url = self.redis.url if foreign is None else read_secret(foreign).get_secret_value()
        return CeleryWorkers(broker_url=url, concurrency=queues)

    @property
    def _has_own_redis(self) -> bool:
        return self.airflow.celery is not None and self._facility.airflow.broker_url_file is None

    @property
    def database_url(self) -> str:
        """The database of the ledger: the facility's, else the embedded one. Raises `ConfigError`."""
        url_file = self._facility.database.url_file
        return self.postgres.url(DATABASE) if url_file is None else read_secret(url_file).get_secret_value()

    @property
    def process_ids(self) -> dict[str, int]:
        """The process id of each child by name."""
        return self._supervisor.process_ids()

    def start(self) -> None:
        """Start everything and return when it answers and the microscopes' DAGs are known.

        What an earlier start left running, because it was killed, is ended first.

        Raises
        ------
        LaunchError
            Another system runs on this home, a port is taken, or a part does not start.
        ConfigError
            The home has no active facility file, or a file with a secret cannot be read.
        SchemaVersionError
            A newer cryodaq made the database.
        """
        self._make_home()
        self._lock()
        try:
            self._clear_up()
            self._claim_ports()
            make_cluster(self.postgres)
            self.airflow.prepare()
            brokers = [self.redis.child()] if self._has_own_redis else []
            for child in [self._postgres_child(), *brokers]:
                self._supervisor.start(child)
            self._supervisor.wait_until_healthy(
                ["postgres", *(child.name for child in brokers)], timeout_s=START_LIMIT_S
            )
            self._start_parts()
            self._get_ready()
        except BaseException:  # an interrupt too must leave no process
            self.stop()
            raise
        log.info("the system is ready", extra={"home": str(self.home.root)})

    def stop(self) -> None:
        """Stop everything within 15 s; no process is left. A second call does nothing."""
        with _undisturbed():
            self._supervisor.stop()
            if self._migration is not None:
                self._migration.end()
                self._migration = None
            self._claims.release()
            if self._lock_descriptor is not None:
                self._end_recorded()  # what an interrupt in the middle of a start kept from being known
                for folder in (self.postgres.socket_folder, self.redis.socket.parent):
                    remove_socket_folder(folder)
                os.close(self._lock_descriptor)
                self._lock_descriptor = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_home(self) -> None:
        self.home.root.mkdir(parents=True, exist_ok=True)
        for folder in (self.home.secrets, self.home.logs, self.home.run):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not (self.home.root / ACTIVE_NAME).exists():
            message = f"{self.home.root / ACTIVE_NAME} is missing; give a facility file with --config"
            raise LaunchError(message)

    def _lock(self) -> None:
        path = self.home.run / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", errors="replace").strip()
            os.close(descriptor)
            message = f"a system runs on {self.home.root} already (process {holder}); stop it, or choose another --home"
            raise LaunchError(message) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._lock_descriptor = descriptor

    def _clear_up(self) -> None:
        """End what a start that was killed left behind."""
        known = {child.name: child for child in [self._postgres_child(), *self._other_children()]}
        records = sessions.read_records(self.home.run)
        alive = [record for record in records if sessions.members(record)]
        if alive:
            log.warning("ending what an earlier start left", extra={"names": [record.name for record in alive]})
        stop_sessions([(known[record.name], record) for record in alive if record.name in known])
        self._end_recorded()

    def _end_recorded(self) -> None:
        for record in sessions.read_records(self.home.run):
            sessions.kill_session(record)
            sessions.forget_session(self.home.run, record.name)

    def _claim_ports(self) -> None:
        self._claims.require("airflow", self.airflow.port)
        for service in self._services:
            if service.port is not None:
                self._claims.require(service.name, service.port)

    def _environment(self) -> dict[str, str]:
        passed_on = {key: value for key, value in os.environ.items() if key not in NOT_PASSED_ON}
        threads = str(self._facility.pools.threads_per_task)
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
        own = {"CRYODAQ_HOME": str(self.home.root), **limits}
        if self._facility.database.url_file is None:
            own["CRYODAQ_DATABASE_URL"] = self.database_url  # without a password; a foreign one is read from its file
        return {**passed_on, **own}

    def _postgres_child(self) -> Child:
        return Child(
            name="postgres",
            command=self.postgres.command(),
            environment=dict(os.environ),
            folder=self.home.root,
            is_healthy=self.postgres.is_ready,
            stop_signal=signal.SIGINT,
            stop_rank=2,
            stop_grace_s=3.0,
        )

    def _other_children(self) -> list[Child]:
        environment = self._environment()
        own = [service.child(environment, self.home) for service in self._services]
        brokers = [self.redis.child()] if self._has_own_redis else []
        return [*brokers, *own, *self.airflow.children(environment)]

    def _start_parts(self) -> None:
        """Start our own servers while Airflow's tables are made, which takes the longest."""
        embedded = [] if self._facility.database.url_file else [DATABASE]
        self.postgres.create_databases([*embedded, AIRFLOW_DATABASE])
        environment = self._environment()
        if not self.airflow.is_migrated():
            settings = {**environment, **self.airflow.environment()}
            self._migration = Migration.begin(self.home, self.airflow.migrate_command(), environment=settings)
        bring_up_to_date(self.database_url, postgres=self.postgres, backups=self.home.backups)
        self._on_database(self.database_url)
        for service in self._services:
            self._supervisor.start(service.child(environment, self.home))
        copy_dag_files(self.airflow.dag_folder)
        if self._migration is not None:
            self._migration.finish(timeout_s=START_LIMIT_S)
            self._migration = None
            self.airflow.note_migrated()
        for child in self.airflow.children(environment):
            self._supervisor.start(child)

    def _get_ready(self) -> None:
        names = [service.name for service in self._services if service.port is not None]
        self._supervisor.wait_until_healthy([*names, "airflow-api"], timeout_s=START_LIMIT_S)
        deadline = time.monotonic() + START_LIMIT_S
        _while_unreachable(self._make_pools, deadline=deadline)
        workers = [f"worker-{queue}" for queue in self.airflow.celery.concurrency] if self.airflow.celery else []
        parts = ["airflow-scheduler", "airflow-dag-processor", *workers]
        self._supervisor.wait_until_healthy(parts, timeout_s=START_LIMIT_S)
        missing = [f"{microscope.name}-daq" for microscope in self._facility.microscopes]
        while missing := _while_unreachable(partial(self.airflow.require_parsed, missing), deadline=deadline):
            if time.monotonic() > deadline:
                message = f"Airflow did not read {', '.join(missing)} in {START_LIMIT_S:.0f} s; see {self.home.logs}"
                raise LaunchError(message)
            time.sleep(LOOK_S)

    def _make_pools(self) -> None:
        with self.airflow.scheduler(AIRFLOW_OPERATOR) as scheduler:
            transfers = len(self._facility.microscopes)
            scheduler.ensure_pool("transfer", transfers, description="one slot a microscope")
            scheduler.ensure_pool("compute", self.compute_slots, description="processing tasks at once")
            if self._facility.pools.gpu_slots:
                scheduler.ensure_pool("gpu", self._facility.pools.gpu_slots, description="tasks with a GPU at once")


def _while_unreachable(act: Callable[[], T], *, deadline: float) -> T:
    """Act, again and again as long as Airflow is too busy with its own start to answer in time."""
    while True:
        try:
            return act()
        except SchedulerUnreachableError as error:
            if time.monotonic() > deadline:
                message = f"Airflow started but does not answer: {error}"
                raise LaunchError(message) from error
            log.info("Airflow is still busy", extra={"problem": str(error)})
            time.sleep(LOOK_S)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM while things are stopped; a second Ctrl-C would leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
