"""Our own motion correction as an engine: what it reads, passes on and writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryodaq.domain.parameters import ImagingParameters, Source, Sourced
from cryodaq.engines.native import NativeMotionCorrection
from cryodaq.formats.mrc import read_micrograph
from cryodaq.formats.star import read_star


def said(value):
    return Sourced(value=value, source=Source.OPERATOR)


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    import tifffile

    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("movie") / "movie.tif"
    tifffile.imwrite(path, rng.poisson(1.0, (5, 256, 320)).astype(np.uint8), compression="lzw")
    return path


@pytest.fixture
def parameters():
    return ImagingParameters(
        pixel_size_ang=said(1.0),
        voltage_kv=said(300.0),
        cs_mm=said(2.7),
        amplitude_contrast=said(0.1),
        dose_per_frame_e_ang2=said(1.0),
        particle_diameter_ang=said(150.0),
        patches_yx=(2, 3),
    )


def test_patches_leave_a_local_model_and_tracks(movie, parameters, tmp_path) -> None:
    result = NativeMotionCorrection().align(movie, gain=None, parameters=parameters, folder=tmp_path)
    assert result.patches_yx == (2, 3)
    assert len(result.local_motion_coefficients) == 36
    tracks = read_star(tmp_path / "local_motion.star")["local_shift"]
    assert len(tracks["rlnMicrographShiftX"]) == 5 * 2 * 3
    assert (min(tracks["rlnMicrographFrameNumber"]), max(tracks["rlnMicrographFrameNumber"])) == (1, 5)


def test_one_patch_leaves_no_local_model(movie, parameters, tmp_path) -> None:
    whole = replace(parameters, patches_yx=(1, 1))
    result = NativeMotionCorrection().align(movie, gain=None, parameters=whole, folder=tmp_path)
    assert result.local_motion_coefficients == ()
    assert result.patch_tracks is None


def test_super_resolution_frames_become_physical_pixels(movie, parameters, tmp_path) -> None:
    fine = replace(parameters, super_resolution=True, pixel_size_ang=said(0.5))
    result = NativeMotionCorrection().align(movie, gain=None, parameters=fine, folder=tmp_path)
    assert (result.pixel_size_ang, result.shape_yx) == (1.0, (128, 160))
    picture, pixel_size_ang = read_micrograph(tmp_path / "micrograph_DW.mrc")
    assert picture.shape == (128, 160)
    assert pixel_size_ang == pytest.approx(1.0)
