"""The programs that a facility can choose for each stage, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from cryodaq.engines.cryolo import CRYOLO, CryoloPicking
from cryodaq.engines.ctffind import CTFFIND4, CTFFIND5, CtffindEstimation
from cryodaq.engines.gctf import GCTF, GctfEstimation
from cryodaq.engines.motioncor import MOTIONCOR2, MOTIONCOR3, MotionCorCorrection
from cryodaq.engines.native import NAME, NativeCtfEstimation, NativeParticlePicking
from cryodaq.engines.native_alignment import NativeMotionCorrection
from cryodaq.engines.program import KnownProgram, ProgramSettings
from cryodaq.engines.relion import RELION, RelionLogPicking, RelionMotionCorrection
from cryodaq.engines.topaz import TOPAZ, TopazPicking
from cryodaq.errors import ConfigError
from cryodaq.ports import CtfEstimation, MotionCorrection, ParticlePicking

Engine = TypeVar("Engine")

PROGRAMS: dict[str, KnownProgram] = {
    known.name: known for known in (RELION, MOTIONCOR2, MOTIONCOR3, CTFFIND4, CTFFIND5, GCTF, TOPAZ, CRYOLO)
}
"""Every external program, for those who look whether it is there."""

EXTERNAL_MOTION_CORRECTIONS: dict[str, Callable[[ProgramSettings], MotionCorrection]] = {
    RELION.name: RelionMotionCorrection,
    MOTIONCOR2.name: lambda settings: MotionCorCorrection(MOTIONCOR2, settings),
    MOTIONCOR3.name: lambda settings: MotionCorCorrection(MOTIONCOR3, settings),
}
MOTION_CORRECTIONS = (NAME, *EXTERNAL_MOTION_CORRECTIONS)
CTF_ESTIMATIONS: dict[str, Callable[[ProgramSettings], CtfEstimation]] = {
    NAME: lambda _settings: NativeCtfEstimation(),
    CTFFIND4.name: lambda settings: CtffindEstimation(CTFFIND4, settings),
    CTFFIND5.name: lambda settings: CtffindEstimation(CTFFIND5, settings),
    GCTF.name: GctfEstimation,
}
PARTICLE_PICKINGS: dict[str, Callable[[ProgramSettings], ParticlePicking]] = {
    NAME: lambda _settings: NativeParticlePicking(),
    RELION.name: RelionLogPicking,
    TOPAZ.name: TopazPicking,
    CRYOLO.name: CryoloPicking,
}


def motion_correction(
    name: str, settings: ProgramSettings | None = None, *, native: NativeMotionCorrection | None = None
) -> MotionCorrection:
    """Return the motion correction of a name. Raises `ConfigError` for one that is not known.

    Parameters
    ----------
    native
        Our own as the site wants it, where that is chosen.
    """
    if name == NAME:
        return native or NativeMotionCorrection()
    if name not in EXTERNAL_MOTION_CORRECTIONS:
        message = f"there is no motion correction called {name!r}; known are: {', '.join(MOTION_CORRECTIONS)}"
        raise ConfigError(message)
    return EXTERNAL_MOTION_CORRECTIONS[name](settings or ProgramSettings())


def ctf_estimation(name: str, settings: ProgramSettings | None = None) -> CtfEstimation:
    """Return the CTF estimation of a name. Raises `ConfigError` for one that is not known."""
    return _chosen(CTF_ESTIMATIONS, name, stage="CTF estimation")(settings or ProgramSettings())


def particle_picking(name: str, settings: ProgramSettings | None = None) -> ParticlePicking:
    """Return the particle picking of a name. Raises `ConfigError` for one that is not known."""
    return _chosen(PARTICLE_PICKINGS, name, stage="particle picking")(settings or ProgramSettings())


def _chosen(
    known: Mapping[str, Callable[[ProgramSettings], Engine]], name: str, *, stage: str
) -> Callable[[ProgramSettings], Engine]:
    if name not in known:
        message = f"there is no {stage} called {name!r}; known are: {', '.join(known)}"
        raise ConfigError(message)
    return known[name]
