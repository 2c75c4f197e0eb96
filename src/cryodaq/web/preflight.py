"""What is looked at before a session starts, from what the ledger knows: no share is touched by a page."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.microscope import Microscope
from cryodaq.domain.parameters import OperatorSettings, Source, find_disagreements
from cryodaq.domain.session_checks import Check, Verdict
from cryodaq.ledger.board import MicroscopeState, ShareState
from cryodaq.ledger.readiness import GainState, GainUse, LatestExposure
from cryodaq.web.presentation import count, duration, size

STALE = timedelta(minutes=5)
COMPARED = timedelta(hours=24)
"""Parameters are compared with an exposure that is no older; after that much has changed on a microscope."""
LEAST_HOURS = 12.0
"""A share that is full sooner is a doubt."""
PROBE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the ledger says of a microscope before a session."""

    state: MicroscopeState
    gain: GainState | None
    last_gain_bytes: int | None
    gain_use: GainUse
    latest: LatestExposure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What an operator wants to collect with."""

    settings: OperatorSettings
    calibrated_pixel_size_ang: Callable[[str, float | None], float | None]
    """The facility's calibration by detector and magnification."""


def preflight(
    microscope: Microscope,
    found: Found,
    *,
    storage: Check | None,
    now: datetime,
    intended: Intended | None = None,
) -> list[Check]:
    """Return what is ready and what is not.

    Parameters
    ----------
    intended
        What is compared with the microscope's last exposure; None before anything was written.
    """
    made = [_share(share, now=now) for share in found.state.shares]
    known = {share.share for share in found.state.shares}
    made += [
        Check(subject="Share", verdict=Verdict.DOUBT, text=f"{share.root} was not looked at yet")
        for share in microscope.shares
        if str(share.root) not in known
    ]
    made.append(_gain(microscope, found))
    if intended is not None and found.latest is not None and now - found.latest.registered_at < COMPARED:
        made.append(_last_exposure(microscope, found.latest, intended, now=now))
    if storage is not None:
        made.append(storage)
    if found.state.unowned:
        text = f"{count(found.state.unowned, 'exposure')} in quarantine: nobody knows whose they are"
        made.append(Check(subject="Quarantine", verdict=Verdict.DOUBT, text=text))
    return made


def _share(share: ShareState, *, now: datetime) -> Check:
    if share.problem:
        return Check(subject="Share", verdict=Verdict.DOUBT, text=share.problem)
    if share.scanned_at is None or now - share.scanned_at > STALE:
        ago = "never" if share.scanned_at is None else f"{duration((now - share.scanned_at).total_seconds())} ago"
        return Check(subject="Share", verdict=Verdict.DOUBT, text=f"{share.share} was looked at last: {ago}")
    text = f"{share.share} is mounted, {size(share.free_bytes)} free"
    if share.hours_left is not None:
        text += f", full in {duration(share.hours_left * 3600)} at the last hour's rate"
        if share.hours_left < LEAST_HOURS:
            return Check(subject="Share", verdict=Verdict.DOUBT, text=text)
    return Check(subject="Share", verdict=Verdict.GOOD, text=text)


def _gain(microscope: Microscope, found: Found) -> Check:
    if not microscope.needs_gain:
        text = "this camera's movies come corrected and need no gain reference"
        return Check(subject="Gain reference", verdict=Verdict.GOOD, text=text)
    gain = found.gain
    if gain is None:
        where = f" in {microscope.gain_root}" if microscope.gain_root else "; the facility file names no gain root"
        text = f"none was found{where}; movies are copied and wait for one"
        return Check(subject="Gain reference", verdict=Verdict.DOUBT, text=text)
    text = f"{gain.path}, {size(gain.size_bytes)}"
    if not gain.settled:
        return Check(subject="Gain reference", verdict=Verdict.DOUBT, text=f"{text}, is still being written")
    if found.last_gain_bytes not in {None, gain.size_bytes}:
        text += f"; the last movies had one of {size(found.last_gain_bytes)}: does it fit the camera's mode?"
        return Check(subject="Gain reference", verdict=Verdict.DOUBT, text=text)
    verdict, fit = _fit(gain, found.gain_use)
    return Check(subject="Gain reference", verdict=verdict, text=f"{text}; {fit}")


def _fit(gain: GainState, use: GainUse) -> tuple[Verdict, str]:
    """Say what the imaging found of the last movies' gain references: size, orientation, what pattern stays."""
    if use.misfits:
        waits = f"{count(use.misfits, 'recent movie')} wait because no gain reference has the size of their frames"
        return Verdict.DOUBT, waits
    if use.residual is not None:
        return Verdict.DOUBT, use.residual
    if len(use.orientations) > 1:
        ways = ", ".join(f"{count(number, 'movie')}: {way}" for way, number in sorted(use.orientations.items()))
        return Verdict.DOUBT, f"it had to be turned differently from movie to movie ({ways})"
    if not use.orientations:
        return Verdict.GOOD, "whether it fits is known with the first aligned movie"
    ((way, number),) = use.orientations.items()
    is_it = use.gain_name is not None and use.gain_name.startswith(Path(gain.path).stem)
    whose = "this one" if is_it else f"an earlier one, {use.gain_name},"
    return Verdict.GOOD, f"{whose} fitted the last {count(number, 'movie')}, orientation {way}"


def _last_exposure(microscope: Microscope, latest: LatestExposure, intended: Intended, *, now: datetime) -> Check:
    """Compare the parameters with what the microscope wrote last: whoever changed nothing since has made a mistake."""
    metadata = AcquisitionMetadata(**latest.metadata)  # type: ignore[arg-type]  # stored by asdict
    calibrated = intended.calibrated_pixel_size_ang(microscope.detector, metadata.magnification)
    instrument = replace(microscope.defaults, calibrated_pixel_size_ang=calibrated)
    different = [
        one.text
        for one in find_disagreements(intended.settings, metadata, instrument)
        if Source.METADATA in {one.used.source, one.other.source}
    ]
    ago = f"the last exposure, {duration((now - latest.registered_at).total_seconds())} ago,"
    if different:
        text = f"{ago} was taken otherwise: {'; '.join(different)}. Was it changed since?"
        return Check(subject="Metadata", verdict=Verdict.DOUBT, text=text)
    return Check(subject="Metadata", verdict=Verdict.GOOD, text=f"{ago} says nothing else")


class StorageProbe:
    """Looks whether the large file system can be written, on one thread: a file system that hangs holds only that."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._running: threading.Thread | None = None

    def check(self) -> Check | None:
        """Return what was found, after at most `PROBE_S`; None where no root is named."""
        if self._root is None:
            return None
        answers: list[Check] = []
        with self._lock:
            if self._running is None or not self._running.is_alive():
                self._running = threading.Thread(target=self._look, args=(self._root, answers), daemon=True)
                self._running.start()
            self._running.join(PROBE_S)
        if answers:
            return answers[0]
        return Check(subject="Folder", verdict=Verdict.DOUBT, text=f"{self._root} does not answer")

    @staticmethod
    def _look(root: Path, answers: list[Check]) -> None:
        try:
            facts = os.statvfs(root)
        except OSError as error:
            text = f"{root} cannot be reached: {error.strerror}"
            answers.append(Check(subject="Folder", verdict=Verdict.DOUBT, text=text))
            return
        free = size(facts.f_bavail * facts.f_frsize)
        if os.access(root, os.W_OK):
            answers.append(Check(subject="Folder", verdict=Verdict.GOOD, text=f"{root} can be written, {free} free"))
        else:
            text = f"{root} cannot be written"
            answers.append(Check(subject="Folder", verdict=Verdict.DOUBT, text=text))
