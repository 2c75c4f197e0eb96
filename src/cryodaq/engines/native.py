"""cryodaq's own CTF estimation and picking as engines of their stages: read files, compute, write files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.quality import picks_per_um2
from cryodaq.domain.results import CtfResult, FitCurve, PickResult

if TYPE_CHECKING:
    from cryodaq.imaging.ctf import CtfMeasurement

NAME = "native"
SPECTRUM, SPECTRUM_UNALIGNED = "ctf.png", "ctf_unaligned.png"
CURVES = "ctf.json"
COORDINATES, MASK = "coordinates.star", "mask.png"
SPECTRUM_SIZE_PX = 512


@dataclass(frozen=True, slots=True)
class NativeCtfEstimation:
    """CTF estimation by `cryodaq.imaging.ctf`."""

    name: str = NAME

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
            options=CtfOptions(search_phase_shift=parameters.phase_plate),
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
