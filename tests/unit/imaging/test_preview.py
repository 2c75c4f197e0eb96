"""Pictures for people."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cryodaq.domain.results import CtfFit
from cryodaq.errors import ImagingError
from cryodaq.imaging.ctf import CtfMeasurement
from cryodaq.imaging.preview import half_and_half, shrink, stretch_contrast


def measured(*, fitted: bool) -> CtfMeasurement:
    size = 256
    along = np.arange(size) - size // 2
    radius = np.hypot(along[:, None], along[None, :])
    rings = (np.sin(radius**2 / 600) ** 2).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 0.3, rings.shape)
    return CtfMeasurement(
        fit=CtfFit(
            fitted=fitted,
            defocus_u_ang=15000.0,
            defocus_v_ang=14800.0,
            defocus_angle_deg=30.0,
            phase_shift_deg=0.0,
            score=0.5,
            fit_resolution_ang=4.0,
        ),
        spectrum=(rings * np.exp(-((radius / 60) ** 2)) + noise).astype(np.float32),
        model=rings,
        step_per_ang=0.4 / size,
        frequency_per_ang=np.zeros(1),
        experimental=np.zeros(1),
        fitted=np.zeros(1),
        correlation=np.zeros(1),
    )


@pytest.mark.parametrize("shape", [(1000, 800), (512, 512), (4092 // 4, 5760 // 4)])
def test_a_preview_has_the_size_asked_for_and_keeps_its_proportions(shape) -> None:
    picture = stretch_contrast(np.random.default_rng(1).normal(size=shape), size_px=400)
    assert picture.dtype == np.uint8
    assert max(picture.shape) == 400
    assert picture.shape[0] / picture.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.01)
    assert picture.min() == 0
    assert picture.max() == 255


def test_shrinking_keeps_the_brightness_and_the_place_of_things() -> None:
    y, x = np.mgrid[:900, :700]
    picture = (5 + np.exp(-((y - 300) ** 2 + (x - 500) ** 2) / 800)).astype(np.float32)
    small = shrink(picture, size_px=300)
    assert small.mean() == pytest.approx(picture.mean(), rel=1e-3)
    assert np.abs(np.array(np.unravel_index(small.argmax(), small.shape)) * 3 - [300, 500]).max() <= 3


def test_one_bright_pixel_does_not_darken_the_preview() -> None:
    picture = np.random.default_rng(2).normal(size=(300, 300)).astype(np.float32)
    picture[5, 5] = 1e6
    assert 100 < stretch_contrast(picture, size_px=300).mean() < 155


@pytest.mark.parametrize("picture", [np.full((64, 64), 3.0), np.full((64, 64), np.nan), np.zeros((64, 64))])
def test_an_even_picture_has_a_preview_too(picture) -> None:
    assert stretch_contrast(picture, size_px=32).shape == (32, 32)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ImagingError, match="preview"):
        stretch_contrast(np.zeros((3, 4, 5)), size_px=100)


@pytest.mark.parametrize("size_px", [100, 256, 400])
def test_the_left_half_shows_the_fit_and_the_right_half_the_spectrum(size_px) -> None:
    picture = half_and_half(measured(fitted=True), size_px=size_px)
    assert picture.shape == (size_px, size_px)
    left, right = picture[:, : size_px // 2].astype(float), picture[:, (size_px + 1) // 2 :].astype(float)
    assert np.abs(np.diff(left[:, ::2], axis=0)).mean() != pytest.approx(np.abs(np.diff(right[:, ::2], axis=0)).mean())
    inner = slice(size_px // 2 - size_px // 8, size_px // 2 + size_px // 8)
    mirrored = right[inner, : size_px // 8][:, ::-1]
    assert np.corrcoef(left[inner, -(size_px // 8) :].ravel(), mirrored.ravel())[0, 1] > 0.4


def test_without_a_fit_both_halves_are_the_spectrum() -> None:
    without = half_and_half(measured(fitted=False), size_px=256)
    other = dataclasses.replace(measured(fitted=False), model=np.zeros((256, 256), np.float32))
    np.testing.assert_array_equal(without, half_and_half(other, size_px=256))
