"""What all external motion corrections have in common: from a program's files to our result."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.quality import relative_ice_thickness
from cryodaq.domain.results import AlignmentResult
from cryodaq.engines.movie_input import MovieInput, displacements_px_yx, read_sum, sum_unaligned
from cryodaq.engines.native_alignment import DOSE_WEIGHTED, MICROGRAPH, SUPER_RESOLUTION_BIN, UNALIGNED
from cryodaq.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutput:
    """What a program made of a movie, in its own orientation."""

    unweighted: Path
    dose_weighted: Path
    shifts_px_xy: tuple[tuple[float, float], ...]
    """Of the frames that were used, in the program's order of rows."""
    hot_pixels: int | None
    """None where the program does not say."""


def alignment_result(
    made: ProgramOutput,
    given: MovieInput,
    *,
    parameters: ImagingParameters,
    folder: Path,
    engine: str,
    seconds: float,
) -> AlignmentResult:
    """Write the sums as we keep them and return the result; `seconds` is what it took so far.

    Super-resolution frames become micrographs of physical pixels, as with our own motion correction.

    Raises
    ------
    EngineError
        Sums are missing or of another size, or the program aligned other frames than it was given.
    """
    from cryodaq.formats.mrc import write_micrograph
    from cryodaq.imaging.summation import bin_in_fourier, binned_shape
    from cryodaq.imaging.trajectory import motion_statistics

    started = time.monotonic()
    used = given.used_frame_count
    if len(made.shifts_px_xy) != used:
        problem = f"it aligned {len(made.shifts_px_xy)} frames of {used}"
        raise EngineError(engine, problem=problem)
    binning = SUPER_RESOLUTION_BIN if parameters.super_resolution else 1.0
    pixel_size_ang = binning * parameters.pixel_size_ang.value
    shape_yx = binned_shape(given.shape_yx, binning)
    unweighted = read_sum(made.unweighted, given=given, program=engine)
    weighted = read_sum(made.dose_weighted, given=given, program=engine)
    plain = sum_unaligned(given)
    sums = {MICROGRAPH: unweighted, DOSE_WEIGHTED: _rescaled(weighted, like=unweighted), UNALIGNED: plain.total}
    for name, picture in sums.items():
        write_micrograph(folder / name, bin_in_fourier(picture, shape_yx), pixel_size_ang=pixel_size_ang)
    dose = given.dose_per_frame_e_ang2
    return AlignmentResult(
        micrograph=str(folder / MICROGRAPH),
        micrograph_dose_weighted=str(folder / DOSE_WEIGHTED),
        unaligned_sum=str(folder / UNALIGNED),
        pixel_size_ang=pixel_size_ang,
        frame_count=given.frame_count,
        shape_yx=shape_yx,
        motion=motion_statistics(
            displacements_px_yx(made.shifts_px_xy, rows_turned=given.rows_turned) / binning,
            pixel_size_ang=pixel_size_ang,
            dose_per_frame_e_ang2=dose,
            earlier_dose_e_ang2=given.throw * dose,
        ),
        hot_pixels=plain.detector.hot_pixels if made.hot_pixels is None else made.hot_pixels,
        mean_counts_per_px_frame=plain.mean_counts_per_px_frame,
        relative_ice_thickness=relative_ice_thickness(
            plain.mean_counts_per_px_frame, dose_per_frame_e_ang2=dose, pixel_size_ang=parameters.pixel_size_ang.value
        ),
        gain_applied=given.gain is not None,
        seconds=seconds + time.monotonic() - started,
        engine=engine,
        gain_orientation=given.gain_orientation,
        gain_orientation_certain=given.gain_orientation_certain,
    )


def _rescaled(weighted: NDArray[np.float32], *, like: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a dose-weighted sum with the noise of the unweighted one, as cryodaq's own.

    Programs differ by a factor here (RELION by the root of the frame count). Dose weights are 1 at frequency 0,
    so the means tell it.
    """
    mean, wanted = float(weighted.mean(dtype="f8")), float(like.mean(dtype="f8"))
    return weighted * weighted.dtype.type(wanted / mean) if mean > 0 and wanted > 0 else weighted
