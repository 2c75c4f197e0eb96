"""What an operator sets before pressing start."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryodaq.domain.file_roles import Software
from cryodaq.errors import ConfigError, UnsafeNameError
from cryodaq.simulator.camera import Fault
from cryodaq.simulator.existing_movie import ExistingMovie, is_mrc
from cryodaq.simulator.optics import ImagingConditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Where the microscope gets its time from; tests give their own."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """One run of the simulated microscope: a session, or more exposures of one that is there."""

    software: Software
    movie_count: int
    session_name: str | None = None
    """Folder of the session below the share; None names it after the clock."""
    frame_count: int = 20
    shape_yx: tuple[int, int] = (1024, 1024)
    seed: int = 1
    interval_s: float = 10.0
    """From the start of one exposure to the start of the next."""
    write_time_s: float = 1.0
    """Time that the camera needs for writing a movie, beyond our computing time."""
    metadata_delay_s: float = 0.5
    """From the end of a movie to its metadata."""
    particle_diameter_ang: float = 150.0
    conditions: ImagingConditions = field(default_factory=ImagingConditions)
    source: ExistingMovie | None = None
    """Movies to send instead of simulated ones; frame count, shape and conditions are then theirs."""
    faults: Mapping[int, Fault] = field(default_factory=dict)
    """What goes wrong, by exposure counted from 0 in this run."""

    def check(self) -> None:
        """Refuse a plan that no microscope can follow.

        Raises
        ------
        ConfigError
            Another program than EPU and SerialEM, no movies to send, frames too few or too small, or a strip to be
            corrupted in a movie that has none.
        UnsafeNameError
            The session's name is not a plain folder name.
        FormatError
            An existing movie is neither TIFF nor MRC.
        """
        if self.software not in {Software.EPU, Software.SERIALEM}:
            problem = f"{self.software} cannot be simulated; choose epu or serialem"
            raise ConfigError(problem)
        if self.session_name is not None:
            _check_folder_name(self.session_name)
        if self.source is None:
            if self.frame_count < 2 or min(self.shape_yx) < 64:
                raise ConfigError("a simulated movie needs at least 2 frames of at least 64 x 64 pixels")
        elif not self.source.paths:
            raise ConfigError("there is no existing movie to send; name at least one")
        elif any(is_mrc(path) for path in self.source.paths) and Fault.CORRUPT_STRIP in self.faults.values():
            raise ConfigError("only a TIFF movie has strips that can be corrupted")


def _check_folder_name(name: str) -> None:
    if not name or name.startswith(".") or not all(letter.isalnum() or letter in "._-" for letter in name):
        raise UnsafeNameError(name, why="a session folder needs letters, digits, '.', '_' or '-'")
