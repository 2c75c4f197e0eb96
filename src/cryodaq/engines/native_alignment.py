"""cryodaq's own motion correction as an engine of its stage: reads the movie, computes, writes the sums."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.products import AlignmentProducts
from cryodaq.domain.quality import relative_ice_thickness
from cryodaq.domain.results import AlignmentResult
from cryodaq.engines.fresh_memory import fitting_pages
from cryodaq.engines.lasting_code import lasting_code
from cryodaq.engines.movie_input import check_frame_count
from cryodaq.engines.native import NAME
from cryodaq.errors import ImagingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cryodaq.formats.movie import MovieHeader
    from cryodaq.imaging.device import Device
    from cryodaq.imaging.finer_frames import FinerFrames
    from cryodaq.imaging.motion import AlignedMovie, AlignmentOptions

MICROGRAPH, DOSE_WEIGHTED, UNALIGNED = "micrograph.mrc", "micrograph_DW.mrc", "unaligned_sum.mrc"
EVEN, ODD = "micrograph_EVN.mrc", "micrograph_ODD.mrc"
POWER_SPECTRUM = "micrograph_PS.mrc"
PATCH_TRACKS = "local_motion.star"
SUPER_RESOLUTION_BIN = 2.0
SPECTRUM_SIZE_PX = 512
SPECTRUM_FINEST_ANG = 3.0
FINEST_STEP = 0.25
"""Largest distance of two numbers of 16 bits that is accepted, in standard deviations of the picture."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeMotionCorrection:
    """Motion correction by `cryodaq.imaging.motion`."""

    products: AlignmentProducts = field(default_factory=AlignmentProducts)
    device: Device = "cpu"
    """Where frames are added up."""
    eer_upsampling: Literal[1, 2, 4] = 1
    """Pixels along each edge of one of the sensor's in which electrons are placed; micrographs keep the sensor's."""

    @property
    def name(self) -> str:
        """What results and settings call it."""
        return NAME

    def align(self, movie: Path, *, gain: Path | None, parameters: ImagingParameters, folder: Path) -> AlignmentResult:
        """Align a movie's frames and write both sums and the unaligned one. See `ports.MotionCorrection`.

        Super-resolution frames become micrographs of physical pixels. Raises `ImagingError`, too, when there is too
        little memory for the frames.
        """
        try:
            with fitting_pages():
                return self._align(movie, gain=gain, parameters=parameters, folder=folder)
        except MemoryError as error:
            less = ", or place EER electrons in fewer pixels (eer_upsampling)" if self.eer_upsampling > 1 else ""
            message = f"there is too little memory for this movie ({error or 'none is left'}); give the task more{less}"
            raise ImagingError(message) from error

    def _align(self, movie: Path, *, gain: Path | None, parameters: ImagingParameters, folder: Path) -> AlignmentResult:
        from cryodaq.formats.movie import load_decoder, read_frames, read_header
        from cryodaq.imaging.cores import available_cores
        from cryodaq.imaging.motion import align_movie, make_ready

        started = time.monotonic()
        header = read_header(movie)
        check_frame_count(header.stored_frame_count, parameters)
        events = movie.suffix.lower() == ".eer"
        options = self._options(parameters)
        with ThreadPoolExecutor(2) as readers, lasting_code():
            reading = readers.submit(read_frames, movie, threads=available_cores())
            reading_gain = None if gain is None else readers.submit(_read_gain, gain, events=events)
            # Importing and loading take a core as long as reading a movie does; decoding waits for the first part.
            load_decoder(movie)
            make_ready(header.dtype)
            factors = None if reading_gain is None else reading_gain.result()
            frames = reading.result()
        aligned = align_movie(
            frames,
            gain=factors,
            pixel_size_ang=parameters.pixel_size_ang.value,
            dose_per_frame_e_ang2=parameters.dose_per_frame_e_ang2.value * header.stored_per_frame,
            voltage_kv=parameters.voltage_kv.value,
            options=options,
            finer=_finer_frames(movie, self.eer_upsampling) if events and self.eer_upsampling > 1 else None,
        )
        pixel_size_ang = parameters.pixel_size_ang.value * options.fourier_bin
        self._write(aligned, folder, pixel_size_ang=pixel_size_ang)
        if self._has_tracks(parameters):
            self._write_tracks(aligned, folder, parameters=parameters)
        return self._result(
            aligned, header, parameters, folder, pixel_size_ang=pixel_size_ang, seconds=time.monotonic() - started
        )

    def _options(self, parameters: ImagingParameters) -> AlignmentOptions:
        from cryodaq.imaging.motion import AlignmentOptions

        return AlignmentOptions(
            throw=parameters.throw,
            trunc=parameters.trunc,
            patches_yx=parameters.patches_yx,
            usual_gain_orientation=parameters.usual_gain_orientation,
            fourier_bin=SUPER_RESOLUTION_BIN if parameters.super_resolution else 1.0,
            halves=self.products.halves,
            device=self.device,
        )

    def _write(self, aligned: AlignedMovie, folder: Path, *, pixel_size_ang: float) -> None:
        from cryodaq.formats.mrc import write_micrograph
        from cryodaq.imaging.cores import for_each

        sums = {MICROGRAPH: aligned.unweighted, DOSE_WEIGHTED: aligned.dose_weighted, UNALIGNED: aligned.unaligned}
        if aligned.even_odd is not None:
            sums |= {EVEN: aligned.even_odd[0], ODD: aligned.even_odd[1]}

        def write(name: str) -> None:
            half = self.products.half_precision and _fits_half_precision(sums[name], name=name)
            write_micrograph(folder / name, sums[name], pixel_size_ang=pixel_size_ang, half_precision=half)

        for_each(write, sums)
        if self.products.power_spectrum:
            _write_spectrum(aligned.unweighted, folder, pixel_size_ang=pixel_size_ang)

    def _has_tracks(self, parameters: ImagingParameters) -> bool:
        return self.products.patch_tracks and parameters.patches_yx != (1, 1)

    def _write_tracks(self, aligned: AlignedMovie, folder: Path, *, parameters: ImagingParameters) -> None:
        from cryodaq.engines.patch_tracks import write_patch_tracks

        write_patch_tracks(
            folder / PATCH_TRACKS, aligned.field, patches_yx=parameters.patches_yx, throw=parameters.throw
        )

    def _result(
        self,
        aligned: AlignedMovie,
        header: MovieHeader,
        parameters: ImagingParameters,
        folder: Path,
        *,
        pixel_size_ang: float,
        seconds: float,
    ) -> AlignmentResult:
        coefficients = aligned.field.relion_coefficients() if parameters.patches_yx != (1, 1) else ()
        height, width = aligned.unweighted.shape
        halves = None if aligned.even_odd is None else (str(folder / EVEN), str(folder / ODD))
        return AlignmentResult(
            micrograph=str(folder / MICROGRAPH),
            micrograph_dose_weighted=str(folder / DOSE_WEIGHTED),
            unaligned_sum=str(folder / UNALIGNED),
            pixel_size_ang=pixel_size_ang,
            frame_count=header.frame_count,
            shape_yx=(height, width),
            motion=aligned.motion,
            hot_pixels=aligned.hot_pixels,
            mean_counts_per_px_frame=aligned.mean_counts_per_px_frame,
            relative_ice_thickness=relative_ice_thickness(
                aligned.mean_counts_per_px_frame,
                dose_per_frame_e_ang2=parameters.dose_per_frame_e_ang2.value * header.stored_per_frame,
                pixel_size_ang=parameters.pixel_size_ang.value,
            ),
            gain_applied=aligned.gain_applied,
            seconds=seconds,
            engine=self.name,
            gain_orientation=aligned.gain_orientation,
            gain_orientation_certain=aligned.gain_orientation_certain,
            patches_yx=parameters.patches_yx,
            local_motion_coefficients=tuple(float(value) for axis in coefficients for value in axis),
            patch_tracks=str(folder / PATCH_TRACKS) if self._has_tracks(parameters) else None,
            even_odd=halves,
            power_spectrum=str(folder / POWER_SPECTRUM) if self.products.power_spectrum else None,
        )


def _finer_frames(movie: Path, upsampling: Literal[1, 2, 4]) -> FinerFrames:
    from cryodaq.formats.movie import render_fractions
    from cryodaq.imaging.cores import available_cores
    from cryodaq.imaging.finer_frames import FinerFrames

    def read(numbers: Sequence[int]) -> NDArray[np.generic]:
        return render_fractions(movie, upsampling=upsampling, threads=available_cores(), chosen=numbers)

    return FinerFrames(factor=upsampling, read=read)


def _read_gain(gain: Path, *, events: bool) -> NDArray[np.float32]:
    from cryodaq.formats.gain import read_event_gain, read_gain

    return read_event_gain(gain) if events else read_gain(gain)


def _fits_half_precision(picture: NDArray[np.float32], *, name: str) -> bool:
    """Whether 16 bits hold the largest value, and tell values apart that differ by less than the noise."""
    import numpy as np

    largest = float(np.abs(picture).max())
    fits = largest < float(np.finfo(np.float16).max) and float(np.spacing(np.float16(largest))) < FINEST_STEP * float(
        picture.std()
    )
    if not fits:
        log.warning("counts too high for 16 bits, written with 32", extra={"picture": name, "largest": largest})
    return fits


def _write_spectrum(micrograph: NDArray[np.float32], folder: Path, *, pixel_size_ang: float) -> None:
    """Write mean amplitudes; the file's pixel size is that of a micrograph that ends at the same frequency."""
    import numpy as np

    from cryodaq.formats.mrc import write_micrograph
    from cryodaq.imaging.power_spectrum import mean_power_of_size

    spectrum = mean_power_of_size(
        micrograph, pixel_size_ang=pixel_size_ang, size_px=SPECTRUM_SIZE_PX, finest_ang=SPECTRUM_FINEST_ANG
    )
    ends_at = 1 / (spectrum.step_per_ang * len(spectrum.power))
    write_micrograph(folder / POWER_SPECTRUM, np.sqrt(spectrum.power), pixel_size_ang=ends_at)
