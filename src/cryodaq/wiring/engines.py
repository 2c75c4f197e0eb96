"""The programs of the stages, as the facility file or the command line names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryodaq.domain.products import AlignmentProducts
from cryodaq.errors import ConfigError

if TYPE_CHECKING:
    from cryodaq.app.preprocess_movie import Engines
    from cryodaq.config import Facility
    from cryodaq.config.engines import Engines as EngineChoice
    from cryodaq.engines.native import NativeCtfEstimation
    from cryodaq.engines.native_alignment import NativeMotionCorrection
    from cryodaq.engines.program import ProgramSettings
    from cryodaq.ledger.results import MovieToProcess


def engines_named(name: str, *, native: NativeMotionCorrection | None = None) -> Engines:
    """Return the engines with the named program in the stages that it knows, and our own in the others.

    `native` is our own motion correction, where it is to be another one than usual.

    Raises `ConfigError` for a name that no stage knows.
    """
    from cryodaq.app.preprocess_movie import Engines
    from cryodaq.engines import catalogue
    from cryodaq.engines.native import NAME

    known = (catalogue.MOTION_CORRECTIONS, catalogue.CTF_ESTIMATIONS, catalogue.PARTICLE_PICKINGS)
    if not any(name in stage for stage in known):
        names = sorted(set().union(*known))
        message = f"there is no engine {name!r}; known are: {', '.join(names)}"
        raise ConfigError(message)
    motion, ctf, picking = (name if name in stage else NAME for stage in known)
    return Engines(
        motion_correction=catalogue.motion_correction(motion, native=native),
        ctf_estimation=catalogue.ctf_estimation(ctf),
        particle_picking=catalogue.particle_picking(picking),
    )


def spectrum_fit_named(name: str) -> NativeCtfEstimation:
    """Return the engine that fits spectra. Raises `ConfigError` for any other: only ours takes them."""
    from cryodaq.engines.native import NAME, NativeCtfEstimation

    if name != NAME:
        message = f"{name} fits micrographs only; leave --engine out to fit a spectrum"
        raise ConfigError(message)
    return NativeCtfEstimation()


def program_settings(table: EngineChoice, name: str) -> ProgramSettings:
    """Return how the facility file says that a program is started."""
    from cryodaq.engines.program import ProgramSettings

    program = getattr(table.programs, name, None)
    return ProgramSettings() if program is None else ProgramSettings(**program.model_dump())


def engines_for(facility: Facility, movie: MovieToProcess | None) -> Engines:
    """Return the engines that the facility file chooses for a movie's sample."""
    table = facility.engines
    if movie is not None:
        table = table.for_sample(microscope=movie.microscope, experiment=movie.experiment, sample_id=movie.sample_id)
    return engines_of(table, products=AlignmentProducts(**facility.products.model_dump()))


def engines_of(table: EngineChoice, *, products: AlignmentProducts | None = None) -> Engines:
    """Return the engines that the facility file chooses, started as it says."""
    from cryodaq.app.preprocess_movie import Engines
    from cryodaq.engines import catalogue
    from cryodaq.engines.native_alignment import NativeMotionCorrection

    native = NativeMotionCorrection(
        products=products or AlignmentProducts(), device=table.device, eer_upsampling=table.eer_upsampling
    )

    def settings(name: str) -> ProgramSettings:
        return program_settings(table, name)

    return Engines(
        motion_correction=catalogue.motion_correction(
            table.motion_correction, settings(table.motion_correction), native=native
        ),
        ctf_estimation=catalogue.ctf_estimation(table.ctf_estimation, settings(table.ctf_estimation)),
        particle_picking=catalogue.particle_picking(table.particle_picking, settings(table.particle_picking)),
    )
