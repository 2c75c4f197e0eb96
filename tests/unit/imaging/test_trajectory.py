"""The likeliest track behind noisy displacements."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.imaging.trajectory import FrameErrors, Noise, likeliest_flow, likeliest_tracks, motion_statistics


def likeliest_track(measured, *, variance):
    noise = Noise(variance=variance, walk=0.0, frames=FrameErrors.independent(len(measured)))
    return likeliest_tracks(measured[None, :], noise)[0]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_about_a_smooth_drift_is_mostly_removed(seed) -> None:
    rng = np.random.default_rng(seed)
    truth = 5 * (1 - np.exp(-4 * np.linspace(0, 1, 40)))
    measured = truth + rng.normal(0, 0.5, 40)
    track = likeliest_track(measured, variance=0.25)
    assert np.std(track - truth) < 0.6 * np.std(measured - truth)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_about_rest_becomes_rest(seed) -> None:
    measured = np.random.default_rng(seed).normal(0, 0.5, 40)
    track = likeliest_track(measured, variance=0.25)
    assert np.abs(track - track[0]).max() < 0.6


@pytest.mark.parametrize("seed", range(1, 9))
def test_noise_that_was_judged_too_small_is_no_flow(seed) -> None:
    measured = np.random.default_rng(seed).normal(0, 1.3**0.5, (4, 20))
    noise = Noise(variance=1.0, walk=0.0, frames=FrameErrors.independent(20))
    tracks = likeliest_flow(measured, noise)
    np.testing.assert_allclose(tracks, np.broadcast_to(measured.mean(axis=1, keepdims=True), tracks.shape))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_flow_that_is_there_is_found(seed) -> None:
    truth = np.outer([6.0, -4.0, 2.0, 4.0], 1 - np.exp(-4 * np.linspace(0, 1, 20)))
    measured = truth + np.random.default_rng(seed).normal(0, 1, truth.shape)
    noise = Noise(variance=1.0, walk=0.0, frames=FrameErrors.independent(20))
    error, before = (np.diff(track - truth, axis=1).std() for track in (likeliest_flow(measured, noise), measured))
    assert error < 0.3 * before
    assert np.ptp(likeliest_flow(measured, noise), axis=1) == pytest.approx(np.ptp(truth, axis=1), abs=1.2)


def test_a_sudden_jump_survives() -> None:
    measured = np.where(np.arange(40) < 20, 0.0, 8.0) + np.random.default_rng(4).normal(0, 0.1, 40)
    track = likeliest_track(measured, variance=0.01)
    assert track[20] - track[19] > 7.5


def test_exact_measurements_are_kept() -> None:
    measured = np.random.default_rng(6).normal(0, 3, 20)
    np.testing.assert_allclose(likeliest_track(measured, variance=1e-4), measured, atol=0.01)


def test_two_frames_are_left_alone() -> None:
    np.testing.assert_array_equal(likeliest_track(np.array([0.0, 2.0]), variance=1.0), [0.0, 2.0])


def test_motion_after_a_large_first_frame_is_late() -> None:
    motion = motion_statistics(np.array([[0.0, 0.0], [3.0, 4.0]]), pixel_size_ang=2.0, dose_per_frame_e_ang2=10.0)
    assert motion.displacement_px_xy == ((0.0, 0.0), (4.0, 3.0))
    assert (motion.total_ang, motion.early_ang, motion.late_ang) == (10.0, 0.0, 10.0)
