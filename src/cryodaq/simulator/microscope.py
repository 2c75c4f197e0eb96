"""The simulated microscope: collects a session onto a share, exposure by exposure."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.domain.file_roles import Software
from cryodaq.simulator.acquisition import Acquisition, ExposureFiles, Shot
from cryodaq.simulator.camera import (
    Fault,
    corrupt_one_strip,
    encode_tiff,
    write_mrc_movie,
    write_tiff_movie,
    write_truncated,
)
from cryodaq.simulator.epu import EpuSession
from cryodaq.simulator.existing_movie import ExistingMovies, is_mrc
from cryodaq.simulator.pictures import leave_windows_files
from cryodaq.simulator.plan import Clock, SessionPlan
from cryodaq.simulator.serialem import SerialEmSession
from cryodaq.simulator.simulated_movies import SimulatedMovies
from cryodaq.simulator.truth import Truth, write_truth

SENTINEL = ".online"
PICTURE_EDGE_PX = 512


def gain_folder(share: Path) -> Path:
    """Folder of the gain references of a share: DIR-gainrefs."""
    return share.with_name(f"{share.name}-gainrefs")


def truth_folder(share: Path) -> Path:
    """Folder of the truth of a share: DIR-truth."""
    return share.with_name(f"{share.name}-truth")


def simulate_session(
    share: Path,
    plan: SessionPlan,
    *,
    clock: Clock | None = None,
    on_movie: Callable[[Truth], None] = lambda _truth: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Truth]:
    """Collect a session, or go on with one that is there.

    Parameters
    ----------
    share
        Root of the share; made, with its sentinel, if it is not there.
    on_movie
        Called when the last file of an exposure is written.
    stop
        Asked between exposures and while waiting; an exposure that was begun is finished.

    Returns
    -------
    The truth of each exposure, in order.

    Raises
    ------
    ConfigError
        The plan asks for what cannot be.
    UnsafeNameError
        The session's name is not a plain folder name.
    FormatError
        An existing movie is damaged or of a format that the camera does not write.
    TargetExistsError
        The gain share holds another gain reference of the name of the given one.
    """
    clock = clock or Clock()
    microscope = SimulatedMicroscope(share.absolute(), plan, clock=clock)
    truths: list[Truth] = []
    for run_index in range(plan.movie_count):
        if stop():
            break
        started = clock.now()
        truths.append(microscope.collect(run_index))
        on_movie(truths[-1])
        if run_index + 1 < plan.movie_count:
            _wait_until(started + timedelta(seconds=plan.interval_s), clock=clock, stop=stop)
    return truths


class SimulatedMicroscope:
    """A microscope with its session open; `collect` takes one exposure. Raises as `simulate_session` does."""

    def __init__(self, share: Path, plan: SessionPlan, *, clock: Clock) -> None:
        plan.check()
        now = clock.now()
        name = plan.session_name or f"{now:%Y%m%d_%H%M%S}_{plan.software}"
        self._share, self._plan, self._clock = share, plan, clock
        share.mkdir(parents=True, exist_ok=True)
        (share / SENTINEL).touch()
        self._movies: SimulatedMovies | ExistingMovies
        if plan.source is None:
            self._movies = SimulatedMovies(plan, session_name=name, gains=gain_folder(share), now=now)
        else:
            self._movies = ExistingMovies(plan.source, gains=gain_folder(share))
        self._session: EpuSession | SerialEmSession
        if plan.software is Software.EPU:
            self._session = EpuSession(folder=share / name, seed=plan.seed)
        else:
            self._session = SerialEmSession(folder=share / name)
        self._session.begin(now)
        leave_windows_files(share, self._session.folder)
        self._first_number = self._session.count_exposures()

    def collect(self, run_index: int) -> Truth:
        """Take one exposure: pictures, truth, the growing movie, then its metadata.

        Parameters
        ----------
        run_index
            Counts the exposures of this run from 0; those that the session had before come first.
        """
        number, now = self._first_number + run_index, self._clock.now()
        fault = self._plan.faults.get(run_index)
        shot = self._movies.take(number)
        acquisition = Acquisition(number=number, acquired_at=now, shot=shot)
        mrc_source = shot.existing_path if shot.existing_path and is_mrc(shot.existing_path) else None
        files = self._session.files_for(number, now, movie_suffix=".mrc" if mrc_source else ".tif")
        self._session.prepare(acquisition, rng=self._picture_rng(number))
        truth = self._truth(acquisition, files, fault=fault)
        write_truth(truth_folder(self._share), files.name, truth)
        if mrc_source:
            picture = self._write_mrc(files.movie, mrc_source, shot=shot, fault=fault)
        else:
            picture = self._write_tiff(files.movie, shot, fault=fault)
        self._clock.sleep(self._plan.metadata_delay_s)
        self._session.finish(acquisition, files, picture=picture, with_metadata=fault is not Fault.NO_METADATA)
        return truth

    def _truth(self, acquisition: Acquisition, files: ExposureFiles, *, fault: Fault | None) -> Truth:
        shot, conditions, defocus = acquisition.shot, acquisition.shot.conditions, acquisition.shot.defocus
        return Truth(
            software=str(self._plan.software),
            movie=files.movie.relative_to(self._share).as_posix(),
            session=self._session.folder.name,
            acquired_at=acquisition.acquired_at.isoformat(),
            pixel_size_ang=conditions.pixel_size_ang,
            dose_per_frame_e_ang2=conditions.dose_per_frame_e_ang2,
            voltage_kv=conditions.voltage_kv,
            cs_mm=conditions.cs_mm,
            amplitude_contrast=conditions.amplitude_contrast,
            frames=shot.frame_count,
            shape_yx=shot.shape_yx,
            displacement_px_xy=shot.displacement_px_xy,
            defocus_u_ang=defocus.u_ang if defocus else None,
            defocus_v_ang=defocus.v_ang if defocus else None,
            defocus_angle_deg=defocus.angle_deg if defocus else None,
            particles_px_xy=shot.particles_px_xy,
            particle_diameter_ang=shot.particle_diameter_ang,
            gain=shot.gain_name,
            hot_pixels=shot.hot_pixels,
            seed=shot.seed,
            fault=fault.value if fault else None,
            source=shot.existing_path.name if shot.existing_path else None,
        )

    def _write_tiff(self, path: Path, shot: Shot, *, fault: Fault | None) -> NDArray[np.float32]:
        picture = _RunningSum(shot.shape_yx)
        frames = picture.watch(itertools.islice(shot.frames, _frames_written(shot, fault)))
        if fault is Fault.TRUNCATED:
            write_truncated(path, encode_tiff(frames), pause=self._pause(10))
        elif fault is Fault.CORRUPT_STRIP:
            path.write_bytes(corrupt_one_strip(encode_tiff(frames)))
        else:
            write_tiff_movie(path, frames, pause=self._pause(shot.frame_count))
        return picture.reduced()

    def _write_mrc(self, path: Path, source: Path, *, shot: Shot, fault: Fault | None) -> NDArray[np.float32]:
        if fault is Fault.TRUNCATED:
            write_truncated(path, source.read_bytes(), pause=self._pause(10))
        else:
            pause = self._pause(shot.frame_count)
            write_mrc_movie(path, source, frame_count=_frames_written(shot, fault), pause=pause)
        picture = _RunningSum(shot.shape_yx)
        for _ in picture.watch(shot.frames):
            pass
        return picture.reduced()

    def _pause(self, steps: int) -> Callable[[], None]:
        """Give the time that the camera needs for one of so many steps of a movie."""
        seconds = self._plan.write_time_s / steps
        return lambda: self._clock.sleep(seconds)

    def _picture_rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self._plan.seed, zlib.crc32(self._session.folder.name.encode()), number])


class _RunningSum:
    """The sum of frames that pass by, for the exposure's picture."""

    def __init__(self, shape_yx: tuple[int, int]) -> None:
        self._sum = np.zeros(shape_yx, dtype=np.float32)

    def watch(self, frames: Iterable[NDArray[np.generic]]) -> Iterator[NDArray[np.generic]]:
        """Hand frames on, adding them up."""
        for frame in frames:
            self._sum += frame.astype(np.float32)
            yield frame

    def reduced(self) -> NDArray[np.float32]:  # (y, x)
        """Give the sum, binned to a size for a picture."""
        factor = max(1, max(self._sum.shape) // PICTURE_EDGE_PX)
        rows, columns = (length // factor for length in self._sum.shape)
        blocks = self._sum[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
        return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _frames_written(shot: Shot, fault: Fault | None) -> int:
    missing = max(1, shot.frame_count // 4) if fault is Fault.SHORT else 0
    return shot.frame_count - missing


def _wait_until(moment: datetime, *, clock: Clock, stop: Callable[[], bool]) -> None:
    """Wait in short steps, so that a stop is noticed."""
    while not stop() and (remaining_s := (moment - clock.now()).total_seconds()) > 0:
        clock.sleep(min(remaining_s, 0.25))
