"""The only place that builds adapters: from the active facility file and the environment."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.domain.home import Home
from cryodaq.errors import ConfigError, LedgerError, StoreError, TransferError
from cryodaq.wiring.connections import Connections

if TYPE_CHECKING:
    from cryodaq.app.adopt_share import Adopting
    from cryodaq.app.clear_microscope import Cleared, Clearing
    from cryodaq.app.follow_logbook import Following
    from cryodaq.app.moving_copies import Refiling
    from cryodaq.app.notify_people import Notifying
    from cryodaq.app.prepare_sample import Preparation
    from cryodaq.app.rebuild_ledger import Rebuilding
    from cryodaq.app.reconcile_access import AccessKeeping
    from cryodaq.app.reconcile_movies import Reconciled
    from cryodaq.app.reprocess_sample import Reprocessing
    from cryodaq.app.transfer_movies import Transfer, WindowSummary
    from cryodaq.app.trigger_preprocessing import Admission
    from cryodaq.app.watch_facility import Watching
    from cryodaq.ledger.samples import SampleRecord
    from cryodaq.store.access import Readers

log = logging.getLogger(__name__)
HOME_VARIABLE = "CRYODAQ_HOME"
ADMIT_EVERY_S = 5.0
"""Between two looks at movies that wait for values, a gain or a person."""
RECONCILE_EVERY_S = 60.0
"""Between two comparisons of a microscope's movies with the scheduler's runs."""


def utc_now() -> datetime:
    """Return the time, in UTC with its offset."""
    return datetime.now(UTC)


@dataclass
class System(Connections):
    """One facility's system: what each use case needs, made of its connections and settings."""

    _reconcile_at_s: float = field(default=0.0, init=False)
    """When the runs are compared next, on the clock that never jumps; first at once."""
    _admit_at_s: float = field(default=0.0, init=False)
    """When movies that wait for a person are looked at next."""

    @property
    def dag_folder(self) -> Path:
        """Where samples' DAG files go."""
        return self.facility.storage.dag_folder or self.home.dag_folder

    @property
    def state_folders(self) -> list[Path]:
        """Where logs, backups and the active facility file are."""
        backups = self.facility.maintenance.backup_folder or self.home.backups
        return [self.home.root, self.home.logs, backups]

    def template_for(self, imaging_method: str) -> Path | None:
        """Return the template of an imaging method, the site's own first; None: copied only."""
        from cryodaq.app.sample_dag import packaged_templates, template_for

        return template_for(imaging_method, folders=[self.home.templates, packaged_templates()])

    def preparation(self, microscope: str) -> Preparation:
        """Return what preparing a sample needs."""
        from cryodaq.app.prepare_sample import Preparation

        return Preparation(
            engine=self.engine,
            logbook=self.logbook,
            scheduler=self.scheduler,
            microscope=self.facility.microscope(microscope),
            template_for=self.template_for,
            dag_folder=self.dag_folder,
            access=self.access_keeping(),
            now=utc_now,
        )

    def access_keeping(self) -> AccessKeeping:
        """Return what keeping experiments' access needs."""
        from cryodaq.app.reconcile_access import AccessKeeping

        return AccessKeeping(
            engine=self.engine,
            logbook=self.logbook,
            storage_root=self.facility.storage.root,
            always=self.always_readers,
            now=utc_now,
        )

    @property
    def always_readers(self) -> Readers:
        """Who reads every experiment."""
        from cryodaq.store.access import Readers

        table = self.facility.storage
        return Readers(uids=frozenset(table.readers_uids), gids=frozenset(table.readers_gids))

    def admission(self, microscope: str) -> Admission:
        """Return what handing movies to the scheduler needs."""
        from zoneinfo import ZoneInfo

        import psutil

        from cryodaq.app.trigger_preprocessing import Admission

        return Admission(
            engine=self.engine,
            scheduler=self.scheduler,
            microscope=self.facility.microscope(microscope),
            has_template=lambda method: self.template_for(method) is not None,
            calibrated_pixel_size_ang=self.facility.calibrated_pixel_size_ang,
            now=utc_now,
            zone=ZoneInfo(self.facility.site.zone),
            in_flight_limit=self.facility.pools.in_flight(
                cores=os.cpu_count() or 1, memory_bytes=psutil.virtual_memory().total
            ),
        )

    def following(self, microscope: str) -> Following:
        """Return what following the elogbook needs."""
        from cryodaq.app.follow_logbook import Following

        return Following(
            engine=self.engine,
            logbook=self.logbook,
            microscope=self.facility.microscope(microscope),
            experiment_pattern=self.facility.site.experiment_name_pattern,
            storage_root=PurePosixPath(self.facility.storage.root),
            now=utc_now,
            poll_s=self.facility.elogbook.poll_s,
        )

    def transfer_parts(self, microscope: str) -> Transfer:
        """Return what transferring a microscope's files needs; triggers and deliveries are sent between ticks."""
        from cryodaq.app.reconcile_access import grant_as_applied
        from cryodaq.app.transfer_movies import Transfer

        return Transfer(
            following=self.following(microscope),
            grant_access=partial(grant_as_applied, self.engine, self.always_readers),
            floor_fraction=self.facility.storage.copying_floor,
            processing_floor_fraction=self.facility.storage.processing_floor,
            verify_max_bytes_per_s=self.facility.storage.verify_max_bytes_per_s,
            on_tick=partial(self.pump, microscope),
        )

    def pump(self, microscope: str) -> None:
        """Hand over what is ready: movies to the scheduler, results to the elogbook; now and then look for losses."""
        from cryodaq.app.deliver_results import deliver_due
        from cryodaq.app.trigger_preprocessing import admit_movies, admit_new_movies, send_triggers

        if self.facility.microscope(microscope).shadow:
            return
        admission = self.admission(microscope)
        if time.monotonic() >= self._reconcile_at_s:
            self._reconcile_at_s = time.monotonic() + RECONCILE_EVERY_S
            self.reconcile(microscope)
        if time.monotonic() >= self._admit_at_s:
            self._admit_at_s = time.monotonic() + ADMIT_EVERY_S
            admit_movies(admission)
        else:
            admit_new_movies(admission)
        send_triggers(admission)
        deliver_due(self.engine, self.logbook, clock=utc_now)

    def reconcile(self, microscope: str) -> Reconciled:
        """Find movies that were never handed over or that the scheduler lost, and hand them over."""
        from cryodaq.app.compare_clocks import tell_clock_of_transfer
        from cryodaq.app.reconcile_movies import Reconciliation, reconcile_movies

        with self.engine.begin() as connection:
            tell_clock_of_transfer(connection, microscope, at=utc_now())
        return reconcile_movies(
            Reconciliation(
                engine=self.engine,
                scheduler=self.scheduler,
                microscope=self.facility.microscope(microscope).name,
                notes_failures=self.facility.elogbook.alarms,
                now=utc_now,
            )
        )

    def wait_for_current_sample(self, microscope: str, *, stop: Callable[[], bool]) -> str | None:
        """Return the current sample's id, or None after up to a minute in which nothing was current."""
        from cryodaq.app.transfer_movies import wait_for_work

        current = wait_for_work(self.transfer_parts(microscope), stop=stop)
        return None if current is None else current.sample_id

    def prepare_samples(self, microscope: str) -> list[str]:
        """Prepare the current sample, and those whose movies wait for parameters or DAG; return what is not ready.

        Raises
        ------
        StoreError
            The current sample's folders cannot be made.
        """
        from cryodaq.app.tell_failing_task import telling_failure

        with telling_failure(self.engine, microscope, "prepare_sample", now=utc_now):
            return self._prepare_samples(microscope)

    def _prepare_samples(self, microscope: str) -> list[str]:
        from cryodaq.app.prepare_sample import prepare_dag, prepare_sample, refresh_parameters
        from cryodaq.app.reconcile_access import keep_access_of_others
        from cryodaq.ledger import observations, samples, triggers

        if self.facility.microscope(microscope).shadow:
            return []
        self._resume_giving(microscope)
        preparation = self.preparation(microscope)
        with self.engine.connect() as connection:
            answer = observations.last_answer(connection, microscope)
            current = samples.find_sample(connection, answer.sample_id) if answer and answer.sample_id else None
            waiting = triggers.samples_with_unsent_triggers(connection, microscope)
            others = [samples.find_sample(connection, one) for one in waiting if not current or one != current.id]
            incomplete = {one.sample_id for one in triggers.waiting_samples(connection, microscope)}
            stale = [samples.find_sample(connection, one) for one in incomplete if not current or one != current.id]
        for sample in filter(None, stale):
            refresh_parameters(preparation, sample)
        unready = [] if current is None or prepare_sample(preparation, current) else [current.dag_id]
        keep_access_of_others(preparation.access, microscope, current=current.experiment if current else None)
        return unready + [one.dag_id for one in others if one is not None and not prepare_dag(preparation, one)]

    def _resume_giving(self, microscope: str) -> None:
        """Carry on what a crash interrupted; what is in the way has an alarm of its own and stops no copying."""
        from cryodaq.app.assign_exposures import resume_assignments
        from cryodaq.app.reassign_exposures import resume_reassignments

        def assign() -> None:
            resume_assignments(self.refiling(microscope))

        def reassign() -> None:
            resume_reassignments(self.refiling(microscope))

        for carry_on in (assign, reassign):
            try:
                carry_on()
            except (LedgerError, OSError, StoreError, TransferError) as error:
                log.warning(
                    "something given to another sample is not there yet",
                    extra={"microscope": microscope, "problem": str(error)},
                )

    def transfer(self, microscope: str, *, stop: Callable[[], bool]) -> WindowSummary:
        """Stream one window."""
        from cryodaq.app.tell_failing_task import telling_failure
        from cryodaq.app.transfer_movies import transfer_pass

        with telling_failure(self.engine, microscope, "transfer", now=utc_now):
            parts = self.transfer_parts(microscope)
            return transfer_pass(parts, parts.microscope.window_s, stop)

    def clearing(self, microscope: str) -> Clearing:
        """Return what clearing a microscope needs."""
        from cryodaq.app.clear_microscope import Clearing

        return Clearing(
            engine=self.engine,
            microscope=self.facility.microscope(microscope),
            storage_root=PurePosixPath(self.facility.storage.root),
            now=utc_now,
            verify_max_bytes_per_s=self.facility.storage.verify_max_bytes_per_s,
        )

    def clear_microscope(self, microscope: str, *, stop: Callable[[], bool]) -> Cleared:
        """Remove from the shares what retention allows, write manifests, and retire the DAGs that nobody uses."""
        from cryodaq.app.clear_microscope import Cleared, clear_microscope
        from cryodaq.app.prove_copies import write_manifests
        from cryodaq.app.sample_dag import retire_sample_dags
        from cryodaq.app.tell_failing_task import telling_failure

        if self.facility.microscope(microscope).shadow:
            return Cleared(removed=(), removed_bytes=0, kept=())
        with telling_failure(self.engine, microscope, "clear_microscope", now=utc_now):
            with self.engine.begin() as connection:
                retire_sample_dags(connection, microscope, dag_folder=self.dag_folder, now=utc_now())
            write_manifests(self.engine, microscope)
            return clear_microscope(self.clearing(microscope), stop=stop)

    def adopting(self, microscope: str) -> Adopting:
        """Return what adopting a microscope's shares needs."""
        from cryodaq.app.adopt_share import Adopting

        return Adopting(engine=self.engine, microscope=self.facility.microscope(microscope), now=utc_now)

    def rebuilding(self, progress: Callable[[str], None]) -> Rebuilding:
        """Return what restoring the ledger from the storage needs."""
        from cryodaq.app.rebuild_ledger import Rebuilding

        return Rebuilding(
            engine=self.engine,
            microscopes=[self.facility.microscope(table.name) for table in self.facility.microscopes],
            storage_root=PurePosixPath(self.facility.storage.root),
            now=utc_now,
            progress=progress,
        )

    def reprocessing(self) -> Reprocessing:
        """Return what processing a sample once more needs."""
        from cryodaq.app.reprocess_sample import Reprocessing

        return Reprocessing(
            engine=self.engine,
            calibrated_pixel_size_ang=self.facility.calibrated_pixel_size_ang,
            now=utc_now,
        )

    def refiling(self, microscope: str) -> Refiling:
        """Return what giving exposures to another sample, or out of quarantine, needs."""
        from cryodaq.app.moving_copies import Refiling
        from cryodaq.app.prepare_sample import prepare_sample
        from cryodaq.app.reconcile_access import grant_as_applied

        return Refiling(
            engine=self.engine,
            microscope=self.facility.microscope(microscope).name,
            storage_root=PurePosixPath(self.facility.storage.root),
            now=utc_now,
            prepare=partial(prepare_sample, self.preparation(microscope)),
            grant_access=partial(grant_as_applied, self.engine, self.always_readers),
        )

    def find_or_register_sample(self, experiment: str, name: str, *, microscope: str | None = None) -> SampleRecord:
        """Return a sample by name or id; one that was never current is registered as the elogbook has it.

        Raises
        ------
        LedgerError
            Neither ledger nor elogbook knows it, or nobody says on which microscope it is.
        """
        from cryodaq.app.register_sample import find_or_register

        return find_or_register(
            self.logbook, self.following, experiment, name=name, microscope=microscope, engine=self.engine
        )

    def notifying(self) -> Notifying:
        """Return what telling people outside needs. Raises `ConfigError`."""
        from cryodaq.wiring.channels import notifying_of

        mail = self.entry_mail
        return notifying_of(
            self.facility,
            self.engine,
            self.logbook,
            entries_since=None if mail is None else mail.since,
            now=utc_now,
        )

    def watching(self) -> Watching:
        """Return what watching the facility needs. Raises `ConfigError`."""
        from cryodaq.app.watch_facility import Watching
        from cryodaq.config import problem_of_source

        return Watching(
            notifying=self.notifying(),
            filling_alarm_h={one.name: one.filling_alarm_h for one in self.facility.microscopes if one.filling_alarm_h},
            state_folders=self.state_folders,
            microscopes=[table.name for table in self.facility.microscopes],
            facility_problem=partial(problem_of_source, self.home.root),
        )

    def run_stage(self, stage: str, movie_id: int, branch_id: int) -> dict[str, object]:
        """Run one stage of one movie."""
        from cryodaq.app.preprocess_movie import Processing, run_stage
        from cryodaq.ledger.results import movie_to_process
        from cryodaq.wiring.engines import engines_for

        with self.engine.connect() as connection:
            movie = movie_to_process(connection, movie_id, branch_id)
        processing = Processing(
            engine=self.engine,
            engines=engines_for(self.facility, movie),
            now=utc_now,
            keep_unaligned_sum=self.facility.products.unaligned_sum,
        )
        return run_stage(processing, stage, movie_id=movie_id, branch_id=branch_id)


def open_system(home: Path | None = None) -> System:
    """Return the system below `home`, by default the one that `CRYODAQ_HOME` names. Raises `ConfigError`."""
    folder = home or (Path(os.environ[HOME_VARIABLE]) if HOME_VARIABLE in os.environ else None)
    if folder is None:
        message = f"no system is named; give --home or set {HOME_VARIABLE}"
        raise ConfigError(message)
    return System(Home(folder))
