"""The only place that builds adapters: from the active facility file and the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.home import AIRFLOW_USER, Home
from cryodaq.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cryodaq.app.preprocess_movie import Engines
    from cryodaq.app.trigger_preprocessing import Admission
    from cryodaq.config import Facility
    from cryodaq.logbook.client import LogbookClient
    from cryodaq.scheduler.airflow import AirflowScheduler

HOME_VARIABLE = "CRYODAQ_HOME"
DATABASE_VARIABLE = "CRYODAQ_DATABASE_URL"


def utc_now() -> datetime:
    """Return the time, in UTC with its offset."""
    return datetime.now(UTC)


def engines_named(name: str) -> Engines:
    """Return the programs of all stages. Raises `ConfigError` for a name that is not known."""
    from cryodaq.app.preprocess_movie import Engines
    from cryodaq.engines import native

    if name != native.NAME:
        message = f"there is no engine {name!r}; known are: {native.NAME}"
        raise ConfigError(message)
    return Engines(
        motion_correction=native.NativeMotionCorrection(),
        ctf_estimation=native.NativeCtfEstimation(),
        particle_picking=native.NativeParticlePicking(),
    )


def open_system(home: Path | None = None) -> System:
    """Return the system below `home`, by default the one that `CRYODAQ_HOME` names. Raises `ConfigError`."""
    folder = home or (Path(os.environ[HOME_VARIABLE]) if HOME_VARIABLE in os.environ else None)
    if folder is None:
        message = f"no system is named; give --home or set {HOME_VARIABLE}"
        raise ConfigError(message)
    return System(Home(folder))
