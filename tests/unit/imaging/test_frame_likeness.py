"""How alike frames are, ring by ring and frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.imaging.frame_likeness import frame_likeness, usable_lags
from cryodaq.imaging.shift_kernels import patch_derivatives, patch_products

SHAPE = (96, 49)
RINGS = np.repeat(np.arange(12), 8)[:, None] + np.zeros(SHAPE, dtype=np.int64)


def white(rng) -> np.ndarray:
    return (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)).astype(np.complex64)


def frames_of(rng, *, lasting, passing, fading, count=24) -> np.ndarray:
    """Frames (frame, y, x) of one picture that stays and one that fades, in noise; variances of a part add up to 1."""
    picture, ice = white(rng), white(rng)
    made = []
    for _ in range(count):
        noise = np.sqrt(1 - lasting - passing) * white(rng)
        made.append(np.sqrt(lasting) * picture + np.sqrt(passing) * ice + noise)
        ice = fading * ice + np.sqrt(1 - fading**2) * white(rng)
    return np.array(made, np.complex64)


def unmoved(frames) -> tuple[np.ndarray, np.ndarray]:
    count, height, width = frames.shape
    return np.ones((count, height), np.complex64), np.ones((count, width), np.complex64)


def likeness_of(frames):
    lags = usable_lags(len(frames))
    products = np.zeros((RINGS.max() + 1, 2 + len(lags)))
    patch_products(frames, unmoved(frames), RINGS, lags, products)
    return frame_likeness(products, np.bincount(RINGS.ravel()).astype(float), np.ones(len(frames)))


@pytest.mark.parametrize("seed", [1, 2])
def test_what_lasts_and_what_fades_are_told_apart(seed) -> None:
    rng = np.random.default_rng(seed)
    found = likeness_of(frames_of(rng, lasting=0.2, passing=0.3, fading=0.6))
    np.testing.assert_allclose(found.lasting.mean(), 0.2, atol=0.06)
    np.testing.assert_allclose(found.passing.mean(), 0.3, atol=0.06)
    np.testing.assert_allclose(found.fading.mean(), 0.6, atol=0.1)
    np.testing.assert_allclose(found.power.mean(), 2.0, rtol=0.05)


@pytest.mark.parametrize("seed", [1, 2])
def test_noise_alone_has_next_to_no_weight(seed) -> None:
    found = likeness_of(frames_of(np.random.default_rng(seed), lasting=0.0, passing=0.0, fading=0.5))
    assert found.at(np.arange(1, 24)).max() < 0.05


def test_neighbours_say_more_than_distant_frames_where_the_picture_fades() -> None:
    found = likeness_of(frames_of(np.random.default_rng(3), lasting=0.05, passing=0.3, fading=0.5))
    information = found.information(np.ones(24), np.ones(RINGS.max() + 1))
    np.testing.assert_allclose(information.sum(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(np.trace(information), 24)
    assert information[10, 11] < 3 * information[10, 20] < 0


def test_dark_frames_say_less() -> None:
    found = likeness_of(frames_of(np.random.default_rng(4), lasting=0.2, passing=0.0, fading=0.5))
    brightness = np.where(np.arange(24) == 5, 0.5, 1.0)
    information = found.information(brightness, np.ones(RINGS.max() + 1))
    np.testing.assert_allclose(information[5, 5], 0.5 * information[6, 6], rtol=0.1)


def test_others_are_weighted_by_their_distance() -> None:
    rng = np.random.default_rng(5)
    frames = frames_of(rng, lasting=0.3, passing=0.2, fading=0.6, count=7)
    weights = rng.uniform(0.1, 0.9, (3, *SHAPE)).astype(np.float32)
    fy, fx = rng.uniform(-0.5, 0.5, SHAPE[0]).astype(np.float32), rng.uniform(0, 0.5, SHAPE[1]).astype(np.float32)
    terms = np.empty((7, 8))
    patch_derivatives(frames, unmoved(frames), weights, (fy, fx), terms)
    for f in range(7):
        others = sum(
            (weights[0] + weights[1] * weights[2] ** abs(f - g)) * frames[g].astype(complex) for g in range(7) if g != f
        )
        product = frames[f] * np.conj(others)
        np.testing.assert_allclose(terms[f, 0], -(product.imag * fy[:, None]).sum(), rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(terms[f, 1], -(product.imag * fx).sum(), rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(terms[f, 2], (product.real * fy[:, None] ** 2).sum(), rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(terms[f, 5], (np.abs(product) ** 2 * fx**2).sum(), rtol=1e-3)
