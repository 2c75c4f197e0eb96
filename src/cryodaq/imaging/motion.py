"""Motion correction of a movie: from raw frames to micrographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.domain.results import MotionStatistics
from cryodaq.errors import ImagingError

if TYPE_CHECKING:
    from cryodaq.imaging.detector import Detector
    from cryodaq.imaging.drift import FrameSpectra
    from cryodaq.imaging.summation import DoseCurve

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

DOSE_CURVE_POINTS = 512
SMALLEST_BINNED_PX = 1024
"""Small frames are not binned: their motion is in their fine detail, and time is no concern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentOptions:
    """What a site may choose about motion correction."""

    throw: int = 0
    """Frames left out at the start; their dose still counts as received."""
    trunc: int = 0
    """Frames left out at the end."""
    bin_to_ang: float = 3.0
    """Pixel to which frames are binned for finding the motion, Å."""
    b_factor_ang2: float = 500.0
    """How steeply high frequencies are played down in the first, rough search, Å²."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedMovie:
    """What motion correction makes of a movie. Pictures are (y, x), float32, sums of counts."""

    unweighted: Float
    dose_weighted: Float
    """With the noise of the unweighted sum."""
    unaligned: Float
    """Frames added as recorded, gain applied, bad pixels replaced."""
    motion: MotionStatistics
    """Relative to the first frame that was not thrown away."""
    hot_pixels: int
    """Bad pixels found in the data, beyond the defects of the gain reference."""
    mean_counts_per_px_frame: float
    gain_applied: bool


def align_movie(
    frames: NDArray[np.generic],  # (frame, y, x)
    *,
    pixel_size_ang: float,
    dose_per_frame_e_ang2: float,
    voltage_kv: float,
    gain: NDArray[np.generic] | None = None,  # (y, x)
    options: AlignmentOptions | None = None,
) -> AlignedMovie:
    """Correct the detector, find how the specimen moved, and add the frames up in its frame of reference.

    Parameters
    ----------
    frames
        Counts in order of exposure: uint8, int8, uint16, int16 or float32. Not changed, not copied.
    pixel_size_ang
        Of the frames, Å/px.
    dose_per_frame_e_ang2
        e⁻/Å² on the specimen.
    gain
        Factors that make the detector even; 0 marks a defect. None: already applied by the camera.

    Raises
    ------
    ImagingError
        When no true picture can come from this input; the message says what to change.
    """
    from cryodaq.imaging.detector import check_stack, countable, sum_frames
    from cryodaq.imaging.drift import estimate_drift
    from cryodaq.imaging.summation import sum_aligned
    from cryodaq.imaging.trajectory import motion_statistics

    options = options or AlignmentOptions()
    _check_physics(pixel_size_ang, dose_per_frame_e_ang2, voltage_kv)
    check_stack(frames)
    used = _used(frames, options)
    plain = sum_frames(used, gain=gain)
    counts, _ = countable(used)
    spectra = _frame_spectra(counts, plain.detector, pixel_size_ang=pixel_size_ang, bin_to_ang=options.bin_to_ang)
    track = estimate_drift(spectra, b_factor_ang2=options.b_factor_ang2)
    del spectra
    dose = _dose_curve(
        len(used),
        pixel_size_ang=pixel_size_ang,
        dose_per_frame_e_ang2=dose_per_frame_e_ang2,
        voltage_kv=voltage_kv,
        thrown=options.throw,
    )
    unweighted, weighted = sum_aligned(counts, detector=plain.detector, displacement_yx=track, dose=dose)
    return AlignedMovie(
        unweighted=unweighted,
        dose_weighted=weighted,
        unaligned=plain.total,
        motion=motion_statistics(
            track,
            pixel_size_ang=pixel_size_ang,
            dose_per_frame_e_ang2=dose_per_frame_e_ang2,
            earlier_dose_e_ang2=options.throw * dose_per_frame_e_ang2,
        ),
        hot_pixels=plain.detector.hot_pixels,
        mean_counts_per_px_frame=plain.mean_counts_per_px_frame,
        gain_applied=gain is not None,
    )


def _check_physics(pixel_size_ang: float, dose_per_frame_e_ang2: float, voltage_kv: float) -> None:
    known = (
        ("pixel size", pixel_size_ang, "Å", 0.05, 30.0),
        ("dose per frame", dose_per_frame_e_ang2, "e⁻/Å²", 1e-4, 200.0),
        ("voltage", voltage_kv, "kV", 60.0, 1300.0),
    )
    for name, value, unit, least, most in known:
        if not least <= value <= most:
            problem = (
                f"the {name} is {value:g} {unit}, but only {least:g} to {most:g} {unit} make sense; "
                f"correct the {name} of the sample or the microscope"
            )
            raise ImagingError(problem)


def _used(frames: NDArray[np.generic], options: AlignmentOptions) -> NDArray[np.generic]:
    if options.throw < 0 or options.trunc < 0:
        raise ImagingError("throw and trunc count frames that are left out; give 0 or more")
    used = frames[options.throw : len(frames) - options.trunc]
    if not len(used):
        problem = (
            f"throw {options.throw} and trunc {options.trunc} leave none of {len(frames)} frames; give smaller ones"
        )
        raise ImagingError(problem)
    return used


def _frame_spectra(
    counts: NDArray[np.generic],  # (frame, y, x)
    detector: Detector,
    *,
    pixel_size_ang: float,
    bin_to_ang: float,
) -> FrameSpectra:
    """Bin each frame in real space, which costs no transform at full size, and transform what remains."""
    from cryodaq.imaging.compiled import for_each
    from cryodaq.imaging.drift import FrameSpectra
    from cryodaq.imaging.movie_kernels import bin_frame

    frame_count, *shape = counts.shape
    size = int(max(1, min(bin_to_ang / pixel_size_ang, min(shape) / SMALLEST_BINNED_PX)))
    height, width = (scipy.fft.prev_fast_len(n // size, real=True) for n in shape)
    window = _edge_taper(height)[:, None] * _edge_taper(width)[None, :]
    spectra = np.empty((frame_count, height, width // 2 + 1), np.complex64)

    def transform(frame: int) -> None:
        binned = np.empty((shape[0] // size, shape[1] // size), np.float32)
        bin_frame(counts[frame], frame, *detector.correction, binned)
        binned = binned[:height, :width]
        spectra[frame] = scipy.fft.rfft2((binned - binned.mean()) * window)

    for_each(transform, range(frame_count))
    return FrameSpectra(
        spectra=spectra,
        frequency_y=(scipy.fft.fftfreq(height) / size).astype(np.float32),
        frequency_x=(scipy.fft.rfftfreq(width) / size).astype(np.float32),
        shape_yx=(height, width),
        pixel_size_ang=pixel_size_ang,
    )


def _edge_taper(size: int) -> Float:
    """1, falling to 0 at both ends over a sixteenth, so that borders look alike in no two frames."""
    rise = np.arange(0.5, size) / max(1, size / 16)
    return np.asarray(np.sin(np.pi / 2 * np.clip(np.minimum(rise, rise[::-1]), 0, 1)) ** 2, dtype=np.float32)


def _dose_curve(
    frame_count: int, *, pixel_size_ang: float, dose_per_frame_e_ang2: float, voltage_kv: float, thrown: int
) -> DoseCurve:
    from cryodaq.imaging.dose_weighting import dose_weights
    from cryodaq.imaging.summation import DoseCurve

    step = 0.5**0.5 / (DOSE_CURVE_POINTS - 1)
    weights = dose_weights(
        np.arange(DOSE_CURVE_POINTS) * step / pixel_size_ang,
        frame_count=frame_count,
        dose_per_frame_e_ang2=dose_per_frame_e_ang2,
        voltage_kv=voltage_kv,
        earlier_dose_e_ang2=thrown * dose_per_frame_e_ang2,
    )
    return DoseCurve(step=step, weights=weights)
