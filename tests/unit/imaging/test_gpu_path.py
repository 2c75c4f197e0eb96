"""The GPU's way of finding motion and adding frames up gives what the compiled loops give.

torch's CPU device serves without a GPU.

torch is not among the development requirements (its wheel brings gigabytes of CUDA): install `cryodaq[gpu]` for this.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from cryodaq.errors import ImagingError
from cryodaq.imaging.detector import countable, sum_frames
from cryodaq.imaging.device import gpu_for
from cryodaq.imaging.dose_weighting import dose_weights
from cryodaq.imaging.drift import rough_track
from cryodaq.imaging.frame_groups import FrameGroups
from cryodaq.imaging.frame_likeness import usable_lags
from cryodaq.imaging.local_motion import estimate_field
from cryodaq.imaging.motion import AlignmentOptions, align_movie
from cryodaq.imaging.motion_field import MotionField, degrees_for
from cryodaq.imaging.motion_search import FramesOnCores
from cryodaq.imaging.patches import plan_patches
from cryodaq.imaging.sum_plan import DoseCurve
from cryodaq.imaging.summation import sum_aligned
from cryodaq.imaging.workspace import Workspace

STEP = 0.5**0.5 / 127
WITHOUT_TORCH = find_spec("torch") is None
needs_torch = pytest.mark.skipif(WITHOUT_TORCH, reason="torch is not installed: THE GPU PATH IS NOT TESTED HERE")


def torch_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def assert_alike(found, wanted) -> None:
    np.testing.assert_allclose(found, wanted, atol=1e-4 * float(np.abs(wanted).max()), rtol=0)


def bending_field(frame_count: int, shape_yx: tuple[int, int]) -> MotionField:
    degrees = degrees_for((4, 4))
    coefficients = np.random.default_rng(3).normal(0, 1, (frame_count, len(degrees), 2)).cumsum(axis=0)
    return MotionField(degrees_yx=degrees, coefficients=coefficients - coefficients[0], shape_yx=shape_yx)


@needs_torch
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("binned", [None, (192, 160), (127, 127)])
def test_the_gpus_sums_are_those_of_the_cores(make_movie, kind, binned) -> None:
    device = torch_device()
    movie = make_movie(seed=81, displacement_xy=((0.0, 0.0),) * 6)
    frames = movie.frames[:, :254, :254].astype(
        kind
    )  # 127 is a prime: such transforms are slow, so they are made larger
    detector = sum_frames(frames, gain=movie.gain[:254, :254]).detector
    weights = dose_weights(np.arange(128) * STEP / 1.5, frame_count=6, dose_per_frame_e_ang2=4.0, voltage_kv=300.0)
    given = {
        "detector": detector,
        "field": bending_field(6, frames.shape[1:]),
        "dose": DoseCurve(step=STEP, weights=weights),
        "binned_shape_yx": binned,
    }
    counts, _ = countable(frames)
    wanted, found = sum_aligned((counts,), **given), sum_aligned((counts,), device=device, **given)
    for one, other in ((wanted.unweighted, found.unweighted), (wanted.dose_weighted, found.dose_weighted)):
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, atol=2e-4 * one.std())


@needs_torch
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("bin_px", [1, 2])
def test_the_gpus_measurements_of_patches_are_those_of_the_cores(make_movie, kind, bin_px) -> None:
    from cryodaq.imaging.torch_motion import FramesOnDevice

    track = np.stack([np.linspace(0, 70, 6), np.linspace(0, -9, 6)], axis=1)  # too long for patches at the border
    movie = make_movie(seed=83, displacement_xy=tuple((float(x), float(y)) for y, x in track))
    counts, _ = countable(movie.frames.astype(kind))
    detector = sum_frames(counts, gain=movie.gain).detector
    groups = FrameGroups.for_frames(6)
    cores = FramesOnCores(counts, detector, groups=groups, bin_px=bin_px, workspace=Workspace())
    gpu = FramesOnDevice(counts, detector, groups=groups, bin_px=bin_px, device=torch_device())
    assert gpu.shape_yx == cores.shape_yx
    wanted, found = (frames.coarse(pixel_size_ang=1.5) for frames in (cores, gpu))
    assert found.shape_yx == wanted.shape_yx
    np.testing.assert_array_equal(found.frequency_x, wanted.frequency_x)
    assert_alike(found.spectra, wanted.spectra)
    plan = plan_patches((2, 3), binned_shape_yx=cores.shape_yx, bin_px=bin_px, pixel_size_ang=1.5, track_px_yx=track)
    assert plan.short_px_yx.any()
    field = np.random.default_rng(84).normal(0, 1.5, (6, 6, 2)) + track
    lags = usable_lags(6)
    for ours, theirs in zip(
        [whole := cores.cut(plan), whole.cropped(20.0)], [other := gpu.cut(plan), other.cropped(20.0)], strict=True
    ):
        assert_alike(theirs.products(field, lags), ours.products(field, lags))
        assert_alike(theirs.thinned(4).products(field[::4], lags), ours.thinned(4).products(field[::4], lags))
        weights = np.random.default_rng(85).uniform(0.1, 0.9, (3, *ours.rings().shape)).astype(np.float32)
        for terms in range(0, 8, 2):  # slopes, curvatures and their variances have different sizes
            part = slice(terms, terms + 2)
            assert_alike(theirs.derivatives(field, weights)[..., part], ours.derivatives(field, weights)[..., part])


@needs_torch
def test_the_gpu_groups_frames_as_the_cores_do(make_movie) -> None:
    from cryodaq.imaging.torch_motion import FramesOnDevice

    movie = make_movie(seed=87, displacement_xy=((0.0, 0.0),) * 7)
    counts, _ = countable(movie.frames)
    detector = sum_frames(counts, gain=movie.gain).detector
    groups = FrameGroups(frame_count=7, size=3)
    cores = FramesOnCores(counts, detector, groups=groups, bin_px=2, workspace=Workspace())
    gpu = FramesOnDevice(counts, detector, groups=groups, bin_px=2, device=torch_device())
    wanted, found = (frames.coarse(pixel_size_ang=1.5).spectra for frames in (cores, gpu))
    assert len(wanted) == 3
    assert_alike(found, wanted)


@needs_torch
def test_the_gpu_finds_the_same_motion(make_movie) -> None:
    from cryodaq.imaging.torch_motion import FramesOnDevice

    drift = np.stack([np.linspace(0, 5, 12), np.linspace(0, -3, 12)], axis=1)
    movie = make_movie(seed=86, displacement_xy=tuple((float(x), float(y)) for y, x in drift))
    counts, _ = countable(movie.frames)
    detector = sum_frames(counts, gain=movie.gain).detector
    found, groups = [], FrameGroups.for_frames(len(counts))
    for frames in (
        FramesOnCores(counts, detector, groups=groups, bin_px=1, workspace=Workspace()),
        FramesOnDevice(counts, detector, groups=groups, bin_px=1, device=torch_device()),
    ):
        rough = rough_track(frames.coarse(pixel_size_ang=1.5), b_factor_ang2=500.0)
        plan = plan_patches((2, 2), binned_shape_yx=frames.shape_yx, bin_px=1, pixel_size_ang=1.5, track_px_yx=rough)
        field = estimate_field(
            frames.cut(plan),
            (2, 2),
            track_px_yx=rough,
            shape_yx=counts.shape[1:],
            local=True,
            brightness=np.ones(len(counts)),
        )
        frames.release()
        found.append(field.mean_px_yx())
    np.testing.assert_allclose(found[1], found[0], atol=0.01)
    assert np.abs(found[0] - found[0][0]).max() > 3


@pytest.mark.skipif(not WITHOUT_TORCH, reason="torch is installed")
def test_without_torch_auto_means_the_cores_and_a_gpu_is_refused(make_movie) -> None:
    assert gpu_for("auto") is None
    assert gpu_for("cpu") is None
    movie = make_movie(seed=82, displacement_xy=((0.0, 0.0),) * 3)
    with pytest.raises(ImagingError, match=r"cryodaq\[gpu\]"):
        align_movie(
            movie.frames,
            pixel_size_ang=1.5,
            dose_per_frame_e_ang2=1.0,
            voltage_kv=300.0,
            options=AlignmentOptions(device="cuda"),
        )


@needs_torch
def test_a_gpu_that_is_not_there_is_refused() -> None:
    import torch

    if torch.cuda.is_available():
        assert gpu_for("cuda") == "cuda"
    else:
        assert gpu_for("auto") is None
        with pytest.raises(ImagingError, match="finds no GPU"):
            gpu_for("cuda")
