"""The GPU's way of adding frames up gives what the compiled loops give; torch's CPU device serves without a GPU.

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
from cryodaq.imaging.motion import AlignmentOptions, align_movie
from cryodaq.imaging.motion_field import MotionField, degrees_for
from cryodaq.imaging.sum_plan import DoseCurve
from cryodaq.imaging.summation import sum_aligned

STEP = 0.5**0.5 / 127
WITHOUT_TORCH = find_spec("torch") is None
needs_torch = pytest.mark.skipif(WITHOUT_TORCH, reason="torch is not installed: THE GPU PATH IS NOT TESTED HERE")


def bending_field(frame_count: int, shape_yx: tuple[int, int]) -> MotionField:
    degrees = degrees_for((4, 4))
    coefficients = np.random.default_rng(3).normal(0, 1, (frame_count, len(degrees), 2)).cumsum(axis=0)
    return MotionField(degrees_yx=degrees, coefficients=coefficients - coefficients[0], shape_yx=shape_yx)


@needs_torch
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("binned", [None, (192, 160)])
def test_the_gpus_sums_are_those_of_the_cores(make_movie, kind, binned) -> None:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    movie = make_movie(seed=81, displacement_xy=((0.0, 0.0),) * 6)
    frames = movie.frames.astype(kind)
    detector = sum_frames(frames, gain=movie.gain).detector
    weights = dose_weights(np.arange(128) * STEP / 1.5, frame_count=6, dose_per_frame_e_ang2=4.0, voltage_kv=300.0)
    given = {
        "detector": detector,
        "field": bending_field(6, frames.shape[1:]),
        "dose": DoseCurve(step=STEP, weights=weights),
        "binned_shape_yx": binned,
    }
    counts, _ = countable(frames)
    wanted, found = sum_aligned(counts, **given), sum_aligned(counts, device=device, **given)
    for one, other in ((wanted.unweighted, found.unweighted), (wanted.dose_weighted, found.dose_weighted)):
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, atol=2e-4 * one.std())


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
