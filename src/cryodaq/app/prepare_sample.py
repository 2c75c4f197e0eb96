"""Make everything ready for a sample's movies: folders, link, access, parameters, DAG file.

Only a folder that cannot be made stops a pass; everything else is an alarm that people see, and copying goes on.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq import __version__
from cryodaq.app.reconcile_access import AccessKeeping, keep_access
from cryodaq.app.sample_dag import install_sample_dag, template_hash
from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.layout import ExperimentLayout, SampleLayout
from cryodaq.domain.microscope import Microscope
from cryodaq.domain.names import LIVE_BRANCH
from cryodaq.domain.parameters import InstrumentDefaults, read_number
from cryodaq.errors import (
    LogbookError,
    ParameterError,
    SchedulerError,
    SchedulerUnreachableError,
    StoreError,
    UnsafeNameError,
)
from cryodaq.ledger import events, samples
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ports import Logbook, Scheduler
from cryodaq.store import folders

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
PARSE_WAIT_S = 20.0
"""How long a pass waits for the scheduler to read a new DAG file; later passes look again."""


WITHOUT_DEFAULT = {"apix": "calibrated_pixel_size_ang", "fmdose": "-", "kev": "voltage_kv", "cs": "cs_mm"}
"""The elogbook's keys without which a movie may have to wait, with the facility's value in their place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What preparing needs: adapters, and where DAG files come from and go to."""

    engine: Engine
    logbook: Logbook
    scheduler: Scheduler
    microscope: Microscope
    template_for: Callable[[str], Path | None]
    """The template of an imaging method; None for methods that are copied only."""
    dag_folder: Path
    access: AccessKeeping
    now: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep


def prepare_sample(preparation: Preparation, sample: SampleRecord) -> bool:
    """Prepare one sample. Return whether the scheduler would accept its runs (True where none are made).

    Raises
    ------
    StoreError
        The sample's folders cannot be made.
    """
    layout = SampleLayout(root=PurePosixPath(sample.folder))
    folders.make_folders([Path(sample.experiment_folder), *map(Path, layout.folders)])
    _or_alarm(preparation, sample, "link", lambda: _link(sample))
    _or_alarm(preparation, sample, "access", lambda: _keep_access(preparation, sample))
    _or_alarm(preparation, sample, "parameters", lambda: snapshot_parameters(preparation, sample))
    return prepare_dag(preparation, sample)


def _or_alarm(preparation: Preparation, sample: SampleRecord, what: str, act: Callable[[], None]) -> None:
    key = f"{what}:{sample.id}"
    try:
        act()
    except (StoreError, UnsafeNameError, LogbookError, ParameterError) as error:
        log.warning("preparing goes on without %s", what, extra={"sample": sample.id, "problem": str(error)})
        with preparation.engine.begin() as connection:
            events.raise_alarm(
                connection,
                key,
                severity="warning",
                message=f"{sample.experiment}, sample {sample.name}: {error}",
                at=preparation.now(),
                subject=sample.subject,
            )
    else:
        with preparation.engine.begin() as connection:
            events.clear_alarm(connection, key, at=preparation.now())


def _link(sample: SampleRecord) -> None:
    link = ExperimentLayout(root=PurePosixPath(sample.experiment_folder)).link(sample.name)
    folders.make_link(Path(link), Path(sample.folder))


def _keep_access(preparation: Preparation, sample: SampleRecord) -> None:
    keep_access(preparation.access, sample.experiment, folder=Path(sample.experiment_folder))


def snapshot_parameters(preparation: Preparation, sample: SampleRecord) -> None:
    """Keep what operator and facility say as the live branch; frozen once its first movie was handed over.

    What nobody had said is taken over at any time: movies wait for it.
    Raises `ParameterError` when the elogbook changed afterwards: that needs reprocessing, never a silent mix.
    """
    template = preparation.template_for(sample.imaging_method)
    settings = {
        "operator": dict(sample.params),
        "instrument": asdict(_instrument_defaults(preparation)),
        "detector": preparation.microscope.detector,
    }
    with preparation.engine.begin() as connection:
        live = samples.live_branch(connection, sample.id)
        if live is not None and live.settings == settings:
            return
        frozen = live if live is not None and samples.has_triggers(connection, live.id) else None
        kept = settings if frozen is None else _with_gaps_filled(frozen.settings, settings)
        samples.save_branch(
            connection,
            sample.id,
            name=live.name if live is not None else LIVE_BRANCH,
            settings=kept,
            template_hash=frozen.template_hash if frozen else template_hash(template) if template else "",
            software_version=frozen.software_version if frozen else __version__,
            at=preparation.now(),
        )
    if frozen is not None:
        _refuse_change(kept, settings)


def _with_gaps_filled(kept: Mapping[str, object], found: Mapping[str, object]) -> dict[str, object]:
    """Return the first settings, completed by what neither operator nor facility had said before.

    Only values without a default: without them movies wait, so nothing was processed with another value of theirs
    that was not in the movie's own metadata.
    """
    filled = dict(kept)
    before, after, instrument = kept.get("operator"), found.get("operator"), kept.get("instrument")
    if isinstance(before, Mapping) and isinstance(after, Mapping) and isinstance(instrument, Mapping):
        added = {
            key: after.get(key)
            for key, default in WITHOUT_DEFAULT.items()
            if _is_unsaid(before.get(key)) and instrument.get(default) is None
        }
        filled["operator"] = {**before, **{key: value for key, value in added.items() if value is not None}}
    return filled


def _is_unsaid(value: ParameterValue) -> bool:
    try:
        return read_number(value, name="the value") is None
    except ParameterError:
        return False


def refresh_parameters(preparation: Preparation, sample: SampleRecord) -> None:
    """Take over what was corrected in the elogbook at a sample that is not current any more, but has movies waiting.

    What cannot be had becomes an alarm.
    """

    def refresh() -> None:
        said = (one for one in preparation.logbook.samples(sample.experiment) if one.id == sample.id)
        for found in said:
            snapshot_parameters(preparation, replace(sample, params=found.params))

    _or_alarm(preparation, sample, "parameters", refresh)


def _instrument_defaults(preparation: Preparation) -> InstrumentDefaults:
    """Return the facility file's voltage and Cs, completed by the elogbook's instrument."""
    defaults = preparation.microscope.defaults
    params: Mapping[str, ParameterValue] = {}
    if defaults.voltage_kv is None or defaults.cs_mm is None:
        wanted = preparation.microscope.instrument.lower()
        params = next((i.params for i in preparation.logbook.instruments() if i.id.lower() == wanted), {})
    return InstrumentDefaults(
        voltage_kv=defaults.voltage_kv or read_number(params.get("keV"), name="the instrument's keV"),
        cs_mm=defaults.cs_mm
        if defaults.cs_mm is not None
        else read_number(params.get("cs"), name="the instrument's cs"),
        amplitude_contrast=defaults.amplitude_contrast,
    )


def _refuse_change(kept: Mapping[str, object], found: Mapping[str, object]) -> None:
    before, after = kept.get("operator"), found.get("operator")
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return
    changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    if changed:
        what = ", ".join(f"{key} {before.get(key)!r} to {after.get(key)!r}" for key in changed)
        message = f"the elogbook changed {what} after processing began; its movies keep the first values"
        raise ParameterError(message)


def prepare_dag(preparation: Preparation, sample: SampleRecord) -> bool:
    """Put the sample's DAG file in place and wait until the scheduler has read it.

    Returns False, with an alarm that quotes the scheduler, when it has not.
    """
    template = preparation.template_for(sample.imaging_method)
    if template is None or not sample.preprocess:
        return True
    try:
        if preparation.scheduler.is_parsed(sample.dag_id) and (preparation.dag_folder / f"{sample.dag_id}.py").exists():
            return _note_dag(preparation, sample, "parsed", None)
        install_sample_dag(template, preparation.dag_folder, dag_id=sample.dag_id)
        _note_dag(preparation, sample, "written", None)
        return _wait_until_parsed(preparation, sample)
    except SchedulerError as error:
        return _note_dag(preparation, sample, "written", str(error))


def _wait_until_parsed(preparation: Preparation, sample: SampleRecord) -> bool:
    file_name = f"{sample.dag_id}.py"
    for _ in range(int(PARSE_WAIT_S / 0.5)):
        try:
            preparation.scheduler.refresh()
            if preparation.scheduler.is_parsed(sample.dag_id):
                return _note_dag(preparation, sample, "parsed", None)
            problem = preparation.scheduler.import_error(file_name)
        except SchedulerUnreachableError as error:
            problem = str(error)
        if problem:
            return _note_dag(preparation, sample, "broken", _in_one_sentence(problem, file_name))
        preparation.sleep(0.5)
    return _note_dag(preparation, sample, "written", f"the scheduler did not read {file_name} in {PARSE_WAIT_S:.0f} s")


def _in_one_sentence(problem: str, file_name: str) -> str:
    """Return what a traceback comes to: its last line, and where in the file it began."""
    lines = [line.strip() for line in problem.splitlines() if line.strip()]
    if len(lines) < 2:
        return problem
    places = re.findall(rf'{re.escape(file_name)}", line (\d+)', problem)
    return f"{file_name} cannot be read{f', line {places[-1]}' if places else ''}: {lines[-1]}"


def _note_dag(preparation: Preparation, sample: SampleRecord, state: str, problem: str | None) -> bool:
    key, at = f"dag:{sample.id}", preparation.now()
    with preparation.engine.begin() as connection:
        samples.set_dag_state(connection, sample.id, state, problem=problem, at=at)
        if problem is None:
            events.clear_alarm(connection, key, at=at)
        else:
            message = f"{sample.dag_id} takes no runs, its movies wait: {problem}"
            events.raise_alarm(connection, key, severity="error", message=message, at=at, subject=sample.subject)
    return state == "parsed"
