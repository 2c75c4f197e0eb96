"""A camera's pattern is found below the noise, and nothing is found where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from cryodaq.errors import ImagingError
from cryodaq.imaging.fixed_pattern import fixed_pattern

SHAPE = (192, 256)


def sums(count: int, *, pattern_rms: float, seed: int = 5) -> Iterator[NDArray[np.float32]]:
    """Counted pictures of moving blobs under slanted light, through a camera with a pattern of its own."""
    random = np.random.default_rng(seed)
    camera = 1 + pattern_rms * np.random.default_rng(99).normal(size=SHAPE)
    y, x = np.indices(SHAPE)
    for _ in range(count):
        at_y, at_x = random.uniform(0, SHAPE[0]), random.uniform(0, SHAPE[1])
        blob = 0.3 * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / 400)
        light = 40 * (1 + 0.2 * x / SHAPE[1]) * (1 - blob)
        yield random.poisson(light * np.clip(camera, 0, None)).astype(np.float32)


@pytest.mark.parametrize("pattern_rms", [0.03, 0.08])
def test_a_pattern_is_measured_though_each_picture_drowns_it_in_noise(pattern_rms: float) -> None:
    found = fixed_pattern(sums(12, pattern_rms=pattern_rms))
    assert found.rms == pytest.approx(pattern_rms, rel=0.1)
    assert (found.pictures, found.picture.dtype) == (12, np.uint8)


def test_without_a_pattern_nothing_is_found() -> None:
    assert fixed_pattern(sums(12, pattern_rms=0.0)).rms < 0.006


def test_a_few_dead_pixels_are_no_pattern() -> None:
    def dead() -> Iterator[NDArray[np.float32]]:
        for picture in sums(8, pattern_rms=0.0):
            picture[::40, ::40] = 0
            yield picture

    assert fixed_pattern(dead()).rms < 0.01


def test_too_few_or_unlike_pictures_are_refused() -> None:
    with pytest.raises(ImagingError, match="too few"):
        fixed_pattern(sums(3, pattern_rms=0.0))
    with pytest.raises(ImagingError, match="different shapes"):
        fixed_pattern([np.ones((32, 32), np.float32)] * 3 + [np.ones((32, 40), np.float32)])
