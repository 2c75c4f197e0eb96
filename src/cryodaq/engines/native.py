"""cryodaq's own imaging as engines of the stages: reads files, computes, writes files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.quality import picks_per_um2
from cryodaq.domain.results import AlignmentResult, CtfResult, FitCurve, PickResult
from cryodaq.engines.movie_input import check_frame_count

if TYPE_CHECKING:
    from cryodaq.imaging.ctf import CtfMeasurement

NAME = "native"
MICROGRAPH, DOSE_WEIGHTED, UNALIGNED = "micrograph.mrc", "micrograph_DW.mrc", "unaligned_sum.mrc"
SPECTRUM, SPECTRUM_UNALIGNED = "ctf.png", "ctf_unaligned.png"
CURVES = "ctf.json"
COORDINATES, MASK = "coordinates.star", "mask.png"
PATCH_TRACKS = "local_motion.star"
SUPER_RESOLUTION_BIN = 2.0
SPECTRUM_SIZE_PX = 512


@dataclass(frozen=True, slots=True)
class NativeMotionCorrection:
    """Motion correction by `cryodaq.imaging.motion`."""

    name: str = NAME

    def align(self, movie: Path, *, gain: Path | None, parameters: ImagingParameters, folder: Path) -> AlignmentResult:
        """Align a movie's frames and write both sums and the unaligned one. See `ports.MotionCorrection`.

        Super-resolution frames become micrographs of physical pixels.
        """
        import numpy as np

        from cryodaq.engines.patch_tracks import write_patch_tracks
        from cryodaq.formats.gain import read_event_gain, read_gain
        from cryodaq.formats.movie import read_frames, read_header
        from cryodaq.formats.mrc import write_micrograph
        from cryodaq.imaging.motion import AlignmentOptions, align_movie

        started = time.monotonic()
        header = read_header(movie)
        check_frame_count(header.stored_frame_count, parameters)
        frames = read_frames(movie)
        binning = SUPER_RESOLUTION_BIN if parameters.super_resolution else 1.0
        gathered = header.stored_frame_count // header.frame_count
        aligned = align_movie(
            frames,
            gain=None if gain is None else (read_event_gain if movie.suffix.lower() == ".eer" else read_gain)(gain),
            pixel_size_ang=parameters.pixel_size_ang.value,
            dose_per_frame_e_ang2=parameters.dose_per_frame_e_ang2.value * gathered,
            voltage_kv=parameters.voltage_kv.value,
            options=AlignmentOptions(throw=parameters.throw, patches_yx=parameters.patches_yx, fourier_bin=binning),
        )
        pixel_size_ang = parameters.pixel_size_ang.value * binning
        sums = {MICROGRAPH: aligned.unweighted, DOSE_WEIGHTED: aligned.dose_weighted, UNALIGNED: aligned.unaligned}
        for name, array in sums.items():
            write_micrograph(folder / name, array, pixel_size_ang=pixel_size_ang)
        height, width = aligned.unweighted.shape
        local = parameters.patches_yx != (1, 1)
        if local:
            write_patch_tracks(
                folder / PATCH_TRACKS, aligned.field, patches_yx=parameters.patches_yx, throw=parameters.throw
            )
        return AlignmentResult(
            micrograph=str(folder / MICROGRAPH),
            micrograph_dose_weighted=str(folder / DOSE_WEIGHTED),
            unaligned_sum=str(folder / UNALIGNED),
            pixel_size_ang=pixel_size_ang,
            frame_count=int(frames.shape[0]),
            shape_yx=(height, width),
            motion=aligned.motion,
            hot_pixels=aligned.hot_pixels,
            mean_counts_per_px_frame=aligned.mean_counts_per_px_frame,
            gain_applied=aligned.gain_applied,
            seconds=time.monotonic() - started,
            engine=self.name,
            gain_orientation=aligned.gain_orientation,
            patches_yx=parameters.patches_yx,
            local_motion_coefficients=tuple(map(float, np.concatenate(aligned.field.relion_coefficients())))
            if local
            else (),
            patch_tracks=str(folder / PATCH_TRACKS) if local else None,
        )


@dataclass(frozen=True, slots=True)
class NativeCtfEstimation:
    """CTF estimation by `cryodaq.imaging.ctf`."""

    name: str = NAME
    search_phase_shift: bool = False
    """For a microscope with a phase plate."""

    def fit(
        self, micrograph: Path, *, unaligned_sum: Path | None, parameters: ImagingParameters, folder: Path
    ) -> CtfResult:
        """Fit the micrograph and, where there is one, the unaligned sum. See `ports.CtfEstimation`."""
        from cryodaq.imaging.ctf import fit_ctf

        started = time.monotonic()
        aligned = self._fit_one(micrograph, parameters, folder / SPECTRUM, fit=fit_ctf)
        unaligned = None
        if unaligned_sum is not None:
            unaligned = self._fit_one(unaligned_sum, parameters, folder / SPECTRUM_UNALIGNED, fit=fit_ctf)
        return self._result(aligned, unaligned, folder=folder, started=started)

    def fit_spectrum(self, spectrum: Path, *, parameters: ImagingParameters, folder: Path) -> CtfResult:
        """Fit a centred amplitude or power spectrum; the pixel size is that of the picture that has it.

        Raises `FormatError` or `ImagingError`.
        """
        from cryodaq.imaging.ctf import fit_ctf_of_spectrum

        started = time.monotonic()
        fitted = self._fit_one(spectrum, parameters, folder / SPECTRUM, fit=fit_ctf_of_spectrum)
        return self._result(fitted, None, folder=folder, started=started)

    def _fit_one(
        self, source: Path, parameters: ImagingParameters, picture: Path, *, fit: Callable[..., CtfMeasurement]
    ) -> CtfMeasurement:
        from PIL import Image

        from cryodaq.formats.mrc import read_micrograph
        from cryodaq.imaging.ctf import CtfOptions
        from cryodaq.imaging.preview import half_and_half

        array, _ = read_micrograph(source)
        measured = fit(
            array,
            pixel_size_ang=parameters.pixel_size_ang.value,
            voltage_kv=parameters.voltage_kv.value,
            cs_mm=parameters.cs_mm.value,
            amplitude_contrast=parameters.amplitude_contrast.value,
            options=CtfOptions(search_phase_shift=self.search_phase_shift),
        )
        Image.fromarray(half_and_half(measured, size_px=SPECTRUM_SIZE_PX)).save(picture)
        return measured

    def _result(
        self, aligned: CtfMeasurement, unaligned: CtfMeasurement | None, *, folder: Path, started: float
    ) -> CtfResult:
        from cryodaq.formats.fit_curves import write_fit_curves

        write_fit_curves(
            folder / CURVES,
            aligned=(aligned.fit, _curve(aligned)),
            unaligned=None if unaligned is None else (unaligned.fit, _curve(unaligned)),
        )
        return CtfResult(
            aligned=aligned.fit,
            unaligned=None if unaligned is None else unaligned.fit,
            spectrum=str(folder / SPECTRUM),
            spectrum_unaligned=None if unaligned is None else str(folder / SPECTRUM_UNALIGNED),
            seconds=time.monotonic() - started,
            engine=self.name,
            curves=str(folder / CURVES),
        )


def _curve(measured: CtfMeasurement) -> FitCurve:
    return FitCurve(
        frequency_per_ang=tuple(measured.frequency_per_ang.tolist()),
        experimental=tuple(measured.experimental.tolist()),
        fitted=tuple(measured.fitted.tolist()),
        correlation=tuple(measured.correlation.tolist()),
    )


@dataclass(frozen=True, slots=True)
class NativeParticlePicking:
    """Particle picking by `cryodaq.imaging.picking`."""

    name: str = NAME

    def pick(self, micrograph: Path, *, parameters: ImagingParameters, folder: Path) -> PickResult:
        """Pick particles and write their coordinates. See `ports.ParticlePicking`."""
        from PIL import Image

        from cryodaq.formats.coordinates import write_coordinates
        from cryodaq.formats.mrc import read_micrograph
        from cryodaq.imaging.picking import pick_particles

        started = time.monotonic()
        array, _ = read_micrograph(micrograph)
        picks = pick_particles(
            array,
            pixel_size_ang=parameters.pixel_size_ang.value,
            diameter_ang=parameters.particle_diameter_ang.value,
        )
        write_coordinates(folder / COORDINATES, picks.coordinates_px_xy.tolist(), scores=picks.scores.tolist())
        Image.fromarray(picks.mask).save(folder / MASK)
        return PickResult(
            coordinates=str(folder / COORDINATES),
            count=len(picks.coordinates_px_xy),
            masked_fraction=picks.masked_fraction,
            diameter_ang=parameters.particle_diameter_ang.value,
            seconds=time.monotonic() - started,
            engine=self.name,
            picks_per_um2=picks_per_um2(
                len(picks.coordinates_px_xy),
                shape_yx=(array.shape[0], array.shape[1]),
                pixel_size_ang=parameters.pixel_size_ang.value,
                masked_fraction=picks.masked_fraction,
            ),
            mask=str(folder / MASK),
        )
