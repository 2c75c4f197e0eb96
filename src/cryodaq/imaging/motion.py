"""Motion correction of a movie: from raw frames to micrographs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cryodaq.domain.results import MotionStatistics
from cryodaq.errors import ImagingError

if TYPE_CHECKING:
    from cryodaq.imaging.detector import Detector
    from cryodaq.imaging.device import Device
    from cryodaq.imaging.finer_frames import FinerFrames
    from cryodaq.imaging.frame_groups import FrameGroups
    from cryodaq.imaging.motion_field import MotionField
    from cryodaq.imaging.motion_search import BinnedFrames
    from cryodaq.imaging.sum_plan import DoseCurve
    from cryodaq.imaging.summation import AlignedSums
    from cryodaq.imaging.workspace import Workspace

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

DOSE_CURVE_POINTS = 512
SMALLEST_BINNED_PX = 1024
"""Small frames are not binned: their motion is in their fine detail, and time is no concern."""
WHOLE_FIELD_PATCHES = (3, 3)
UNEVEN_FRAMES = 0.1
"""Difference in counts from which frames were exposed differently; thinning ice and evaporation stay below."""

TRIAL_SHAPE = (4, 128, 128)
"""Of a movie that is just large enough for every step."""


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
    patches_yx: tuple[int, int] = (1, 1)
    """Rows and columns of patches that may move against each other; (1, 1) corrects the whole field only."""
    usual_gain_orientation: str | None = None
    """What other movies of the camera showed (`gain.ORIENTATIONS`)."""
    fourier_bin: float = 1.0
    """Pixels of the frames that are one pixel of the sums along each axis: 2 for super-resolution."""
    halves: bool = False
    """Whether to add up even and odd frames apart as well."""
    device: Device = "cpu"
    """Where patches are transformed and compared, and frames moved and added up."""


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
    """False also when the movie was found to be corrected already."""
    field: MotionField
    """Where each part of the field was in each frame, pixels of the frames."""
    gain_orientation: str | None = None
    """How the reference had to be turned to fit the movie (`gain.ORIENTATIONS`); None where none was applied."""
    gain_orientation_certain: bool = False
    """Whether the movie itself showed that."""
    dose_e_ang2: tuple[float, ...] = ()
    """Of each frame, e⁻/Å²: the given dose, shared out as the counts say where frames differ."""
    even_odd: tuple[Float, Float] | None = None
    """Dose-weighted sums of frames 0, 2, ... and of frames 1, 3, ..., when asked for."""


@cache
def make_ready(stored_type: np.dtype[np.generic]) -> None:
    """Import what `align_movie` needs, and load its compiled loops, which takes a while: best while a movie is read.

    A movie of next to nothing goes through all steps, once in a process and those that fork from it.

    Parameters
    ----------
    stored_type
        Of the frames that are to come.

    Raises
    ------
    ImagingError
        When no camera writes frames of this type.
    """
    counts = np.random.default_rng(1).poisson(1.0, TRIAL_SHAPE)
    align_movie(
        counts.astype(stored_type),
        gain=np.ones(TRIAL_SHAPE[1:], np.float32),
        pixel_size_ang=1.0,
        dose_per_frame_e_ang2=1.0,
        voltage_kv=300.0,
        options=AlignmentOptions(patches_yx=(2, 2)),
    )


def align_movie(
    frames: NDArray[np.generic],  # (frame, y, x)
    *,
    pixel_size_ang: float,
    dose_per_frame_e_ang2: float,
    voltage_kv: float,
    gain: NDArray[np.generic] | None = None,  # (y, x)
    options: AlignmentOptions | None = None,
    finer: FinerFrames | None = None,
) -> AlignedMovie:
    """Correct the detector, find how the specimen moved, and add the frames up in its frame of reference.

    Parameters
    ----------
    frames
        Counts in order of exposure: uint8, int8, uint16, int16 or float32. Not changed, not copied.
    pixel_size_ang
        Of the frames, Å/px.
    dose_per_frame_e_ang2
        e⁻/Å² on the specimen in a usual frame; frames with more or fewer counts got more or less.
    gain
        Factors that make the detector even; 0 marks a defect. It is turned as the data say, and left out when
        the camera has applied it already. None: already applied.
    finer
        The same frames in smaller pixels, of which the aligned sums are made. Those, motion and unaligned sum are in
        the pixels of `frames` all the same.

    Raises
    ------
    ImagingError
        When no true picture can come from this input; the message says what to change.
    """
    from cryodaq.imaging.detector import check_stack, countable, sum_frames
    from cryodaq.imaging.device import gpu_for
    from cryodaq.imaging.summation import bin_in_fourier, binned_shape
    from cryodaq.imaging.trajectory import motion_statistics
    from cryodaq.imaging.workspace import Workspace

    options = options or AlignmentOptions()
    _check_physics(pixel_size_ang, dose_per_frame_e_ang2, voltage_kv)
    device = gpu_for(options.device)
    check_stack(frames)
    used = _used(frames, options)
    plain = sum_frames(used, gain=gain, usual_gain_orientation=options.usual_gain_orientation)
    counts, _ = countable(used)
    brightness = _brightness(plain.counts_per_frame)
    workspace = Workspace()
    field = _find_motion(
        counts,
        plain.detector,
        brightness=brightness,
        pixel_size_ang=pixel_size_ang,
        options=options,
        device=device,
        workspace=workspace,
    )
    exposure = Exposure(
        dose_e_ang2=dose_per_frame_e_ang2 * brightness / np.median(brightness),
        earlier_dose_e_ang2=options.throw * dose_per_frame_e_ang2,
        voltage_kv=voltage_kv,
        pixel_size_ang=pixel_size_ang,
    )
    binned = binned_shape((frames.shape[1], frames.shape[2]), options.fourier_bin)
    given = _addends(counts, plain.detector, field, exposure, finer=finer, throw=options.throw)
    add_up = partial(given.add_up, binned_shape_yx=binned, device=device, workspace=workspace)
    sums = add_up(slice(None))
    halves = _halves(len(counts), add_up=add_up) if options.halves else None
    return AlignedMovie(
        unweighted=sums.unweighted,
        dose_weighted=sums.dose_weighted,
        unaligned=bin_in_fourier(plain.total, binned),
        motion=motion_statistics(
            field.mean_px_yx() / options.fourier_bin,
            pixel_size_ang=pixel_size_ang * options.fourier_bin,
            dose_per_frame_e_ang2=exposure.dose_e_ang2,
            earlier_dose_e_ang2=exposure.earlier_dose_e_ang2,
        ),
        hot_pixels=plain.detector.hot_pixels,
        mean_counts_per_px_frame=plain.mean_counts_per_px_frame,
        gain_applied=plain.gain_orientation is not None,
        gain_orientation=plain.gain_orientation,
        gain_orientation_certain=plain.gain_orientation_certain,
        field=field,
        dose_e_ang2=tuple(float(dose) for dose in exposure.dose_e_ang2),
        even_odd=halves,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What the specimen received in the frames that are used."""

    dose_e_ang2: Float64  # (frame,)
    earlier_dose_e_ang2: float
    voltage_kv: float
    pixel_size_ang: float


def _brightness(counts_per_frame: Float64) -> Float64:
    """Counts of each frame relative to the mean; 1 where all frames are alike but for chance and slow change."""
    relative = counts_per_frame / counts_per_frame.mean()
    median = np.median(relative)
    uneven = np.abs(relative - median).max() > UNEVEN_FRAMES * median
    return np.asarray(relative if uneven else np.ones_like(relative))


@dataclass(frozen=True, slots=True, kw_only=True)
class Addends:
    """What aligned sums are made of, in pixels of the frames that are added up."""

    stacks: Callable[[slice], Iterable[NDArray[np.generic]]]
    """Gives some of the frames."""
    detector: Detector
    field: MotionField
    dose: DoseCurve

    def add_up(
        self,
        some: slice,
        *,
        binned_shape_yx: tuple[int, int],
        device: str | None,
        workspace: Workspace,
    ) -> AlignedSums:
        """Sums of some of the frames; each keeps the weight of its place in the exposure."""
        from cryodaq.imaging.summation import sum_aligned

        return sum_aligned(
            self.stacks(some),
            detector=self.detector,
            field=self.field.of(some),
            dose=self.dose.of(some),
            binned_shape_yx=binned_shape_yx,
            device=device,
            workspace=workspace,
        )


def _addends(
    counts: NDArray[np.generic],
    detector: Detector,
    field: MotionField,
    exposure: Exposure,
    *,
    finer: FinerFrames | None,
    throw: int,
) -> Addends:
    if finer is None:
        dose = _dose_curve(exposure, pixel_size_ang=exposure.pixel_size_ang)
        return Addends(stacks=lambda some: (counts[some],), detector=detector, field=field, dose=dose)
    numbers = range(throw, throw + len(counts))
    return Addends(
        stacks=lambda some: finer.stacks(numbers[some], counts),
        detector=detector.at_finer_pixels(finer.factor),
        field=field.at_finer_pixels(finer.factor),
        dose=_dose_curve(exposure, pixel_size_ang=exposure.pixel_size_ang / finer.factor),
    )


def _dose_curve(exposure: Exposure, *, pixel_size_ang: float) -> DoseCurve:
    from cryodaq.imaging.dose_weighting import dose_weights
    from cryodaq.imaging.sum_plan import DoseCurve

    step = 0.5**0.5 / (DOSE_CURVE_POINTS - 1)
    weights = dose_weights(
        np.arange(DOSE_CURVE_POINTS) * step / pixel_size_ang,
        frame_count=len(exposure.dose_e_ang2),
        dose_per_frame_e_ang2=exposure.dose_e_ang2,
        voltage_kv=exposure.voltage_kv,
        earlier_dose_e_ang2=exposure.earlier_dose_e_ang2,
    )
    return DoseCurve(step=step, weights=weights)


def _halves(frame_count: int, *, add_up: Callable[[slice], AlignedSums]) -> tuple[Float, Float] | None:
    """Sums of even and of odd frames."""
    if frame_count < 2:
        return None
    even, odd = (add_up(half).dose_weighted for half in (slice(0, None, 2), slice(1, None, 2)))
    return even, odd


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


def _find_motion(
    counts: NDArray[np.generic],  # (frame, y, x)
    detector: Detector,
    *,
    brightness: Float64,  # (frame,)
    pixel_size_ang: float,
    options: AlignmentOptions,
    device: str | None,
    workspace: Workspace,
) -> MotionField:
    """Bin each frame in real space, which costs no transform at full size, and find the motion in what remains."""
    from cryodaq.imaging.drift import rough_track
    from cryodaq.imaging.frame_groups import FrameGroups
    from cryodaq.imaging.local_motion import estimate_field
    from cryodaq.imaging.motion_field import still_field
    from cryodaq.imaging.patches import fitting_patches, plan_patches

    frame_count, height, width = counts.shape
    if frame_count == 1:
        return still_field(1, shape_yx=(height, width))
    size = int(max(1, min(options.bin_to_ang / pixel_size_ang, min(height, width) / SMALLEST_BINNED_PX)))
    groups = FrameGroups.for_frames(frame_count)
    frames = _binned(counts, detector, groups=groups, bin_px=size, device=device, workspace=workspace)
    rough = rough_track(frames.coarse(pixel_size_ang=pixel_size_ang), b_factor_ang2=options.b_factor_ang2)
    local = options.patches_yx != (1, 1)
    # Patches also tell the noise, so there are some even when all move alike.
    wanted = options.patches_yx if local else WHOLE_FIELD_PATCHES
    shape = frames.shape_yx
    patches_yx = fitting_patches(wanted, binned_shape_yx=shape)
    plan = plan_patches(
        patches_yx, binned_shape_yx=shape, bin_px=size, pixel_size_ang=pixel_size_ang, track_px_yx=rough
    )
    field = estimate_field(
        frames.cut(plan),
        patches_yx,
        track_px_yx=rough,
        shape_yx=(height, width),
        local=local,
        brightness=groups.brightness(brightness),
    )
    frames.release()
    return groups.field_of_frames(field)


def _binned(
    counts: NDArray[np.generic],
    detector: Detector,
    *,
    groups: FrameGroups,
    bin_px: int,
    device: str | None,
    workspace: Workspace,
) -> BinnedFrames:
    if device is None:
        from cryodaq.imaging.motion_search import FramesOnCores

        return FramesOnCores(counts, detector, groups=groups, bin_px=bin_px, workspace=workspace)
    from cryodaq.imaging.torch_motion import FramesOnDevice

    return FramesOnDevice(counts, detector, groups=groups, bin_px=bin_px, device=device)
