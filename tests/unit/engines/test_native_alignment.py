"""Our own motion correction as an engine: what it reads, passes on and writes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cryodaq.formats.movie
from cryodaq.domain.parameters import ImagingParameters, Source, Sourced
from cryodaq.domain.products import AlignmentProducts
from cryodaq.engines.native_alignment import NativeMotionCorrection
from cryodaq.errors import ImagingError
from cryodaq.formats.mrc import read_micrograph
from cryodaq.formats.star import read_star

MAKE_EER = Path(__file__).parents[4] / "shared" / "tools" / "make_eer.py"


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


def test_ice_takes_away_what_the_dose_gives_more_than_the_camera_sees(movie, parameters, tmp_path) -> None:
    twice = replace(parameters, dose_per_frame_e_ang2=said(2.0))
    result = NativeMotionCorrection().align(movie, gain=None, parameters=twice, folder=tmp_path)
    assert result.relative_ice_thickness == pytest.approx(np.log(2), abs=0.02)


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


def test_frames_at_both_ends_can_be_left_out(movie, parameters, tmp_path) -> None:
    result = NativeMotionCorrection().align(
        movie, gain=None, parameters=replace(parameters, throw=1, trunc=2), folder=tmp_path
    )
    assert (result.frame_count, len(result.motion.displacement_px_xy)) == (5, 2)
    total, _ = read_micrograph(tmp_path / "unaligned_sum.mrc")
    assert total.mean() == pytest.approx(2.0, rel=0.05)
    tracks = read_star(tmp_path / "local_motion.star")["local_shift"]
    assert (min(tracks["rlnMicrographFrameNumber"]), max(tracks["rlnMicrographFrameNumber"])) == (2, 3)


def test_halves_and_spectrum_are_written_when_asked_for(movie, parameters, tmp_path) -> None:
    products = AlignmentProducts(halves=True, power_spectrum=True, patch_tracks=False)
    result = NativeMotionCorrection(products=products).align(
        movie, gain=None, parameters=replace(parameters, dose_per_frame_e_ang2=said(1e-4)), folder=tmp_path
    )
    even, odd = (read_micrograph(Path(path))[0] for path in result.even_odd)
    both, _ = read_micrograph(Path(result.micrograph_dose_weighted))
    # Frames 0, 2, 4 and frames 1, 3; with hardly any damage their sum is the whole, but for how noise is kept white.
    assert (even.mean(), odd.mean()) == pytest.approx((3.0, 2.0), rel=0.05)
    assert np.corrcoef((even + odd).ravel(), both.ravel())[0, 1] > 0.99
    spectrum, ends_at_ang = read_micrograph(Path(result.power_spectrum))
    assert spectrum.shape[0] == spectrum.shape[1]
    assert ends_at_ang >= 1.0
    assert spectrum[0].mean() == pytest.approx(spectrum[len(spectrum) // 4].mean(), rel=0.1)
    assert result.patch_tracks is None
    assert not (tmp_path / "local_motion.star").exists()


def test_sums_of_16_bits_say_the_same(movie, parameters, tmp_path) -> None:
    NativeMotionCorrection().align(movie, gain=None, parameters=parameters, folder=tmp_path)
    wanted, _ = read_micrograph(tmp_path / "micrograph.mrc")
    size = (tmp_path / "micrograph.mrc").stat().st_size
    half = NativeMotionCorrection(products=AlignmentProducts(half_precision=True))
    half.align(movie, gain=None, parameters=parameters, folder=tmp_path)
    found, pixel_size_ang = read_micrograph(tmp_path / "micrograph.mrc")
    assert (tmp_path / "micrograph.mrc").stat().st_size < 0.51 * size
    assert pixel_size_ang == pytest.approx(1.0)
    assert np.abs(found - wanted).max() < 0.01 * wanted.std()


def test_counts_that_16_bits_cannot_hold_keep_32(parameters, tmp_path) -> None:
    import tifffile

    counts = np.random.default_rng(2).poisson(20000.0, (5, 128, 160)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", counts)
    half = NativeMotionCorrection(products=AlignmentProducts(half_precision=True))
    half.align(tmp_path / "movie.tif", gain=None, parameters=parameters, folder=tmp_path)
    found, _ = read_micrograph(tmp_path / "unaligned_sum.mrc")
    assert found.mean() == pytest.approx(100_000, rel=0.01)


@pytest.mark.parametrize("upsampling", [2, 4])
def test_finer_places_of_electrons_leave_micrographs_of_the_sensors_pixels(upsampling, parameters, tmp_path) -> None:
    if not MAKE_EER.exists():
        pytest.skip(f"{MAKE_EER} is not here: it writes EER movies whose every event is known")
    movie = tmp_path / "a.eer"
    command = [sys.executable, MAKE_EER, movie, "--shape", "256x256", "--frames", "40", "--dose-per-px", "0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    usual, finer = (
        NativeMotionCorrection(eer_upsampling=times).align(movie, gain=None, parameters=parameters, folder=folder)
        for times, folder in ((1, tmp_path / "usual"), (upsampling, tmp_path / "finer"))
        if not folder.mkdir()
    )
    assert finer.shape_yx == usual.shape_yx == (256, 256)
    assert finer.pixel_size_ang == usual.pixel_size_ang
    assert finer.mean_counts_per_px_frame == pytest.approx(usual.mean_counts_per_px_frame, rel=1e-3)
    sums = [read_micrograph(Path(made.unaligned_sum))[0] for made in (usual, finer)]
    assert sums[1].mean() == pytest.approx(sums[0].mean(), rel=1e-3)
    assert np.corrcoef(sums[0].ravel(), sums[1].ravel())[0, 1] > 0.6
    assert np.abs(np.array(finer.motion.displacement_px_xy)).max() < 1.0
    assert finer.relative_ice_thickness == usual.relative_ice_thickness


def test_too_little_memory_is_said_with_what_to_do(movie, parameters, tmp_path, monkeypatch) -> None:
    def refuse(*_args, **_options) -> None:
        message = "Unable to allocate 4.00 GiB"
        raise MemoryError(message)

    monkeypatch.setattr(cryodaq.formats.movie, "load_decoder", refuse)
    with pytest.raises(ImagingError, match=r"too little memory.*4\.00 GiB.*give the task more.*eer_upsampling"):
        NativeMotionCorrection(eer_upsampling=4).align(movie, gain=None, parameters=parameters, folder=tmp_path)
