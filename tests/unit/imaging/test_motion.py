"""Motion correction against movies whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.errors import ImagingError
from cryodaq.imaging.motion import AlignmentOptions, align_movie

PIXEL = {"pixel_size_ang": 1.5, "dose_per_frame_e_ang2": 1.0, "voltage_kv": 300.0}


def drift_error_px(aligned, movie) -> float:
    error = np.array(aligned.motion.displacement_px_xy) - movie.displacement_xy
    return float(np.sqrt((error**2).sum(axis=1).mean()))


def likeness(picture, specimen) -> float:
    inner = (slice(24, -24), slice(24, -24))
    return float(np.corrcoef(picture[inner].ravel(), specimen[inner].ravel())[0, 1])


@pytest.fixture(scope="module")
def drifting(make_movie, make_drift):
    return make_movie(seed=11, contrast=0.2, displacement_xy=make_drift(12, total_xy=(7.3, -4.1)))


@pytest.fixture(scope="module")
def aligned(drifting):
    return align_movie(drifting.frames, gain=drifting.gain, **PIXEL)


def test_a_known_drift_comes_back_within_a_tenth_of_a_pixel(aligned, drifting) -> None:
    assert drift_error_px(aligned, drifting) < 0.1
    assert aligned.motion.displacement_px_xy[0] == (0.0, 0.0)


def test_the_sum_lies_where_the_specimen_was_in_frame_0(aligned, drifting) -> None:
    assert likeness(aligned.unweighted, drifting.specimen) > likeness(aligned.unaligned, drifting.specimen) + 0.05
    shifted = np.roll(aligned.unweighted, 1, axis=1)
    assert likeness(aligned.unweighted, drifting.specimen) > likeness(shifted, drifting.specimen)


def test_hot_pixels_are_found_and_leave_no_trace(aligned, drifting) -> None:
    assert aligned.hot_pixels == drifting.hot.sum()
    level = drifting.counts_per_px_frame * len(drifting.frames)
    assert aligned.unaligned.max() < 3 * level
    assert aligned.mean_counts_per_px_frame == pytest.approx(drifting.counts_per_px_frame, rel=0.01)


def test_gain_is_applied_and_said_so(aligned, drifting) -> None:
    assert aligned.gain_applied
    without = align_movie(drifting.frames, **PIXEL)
    assert not without.gain_applied
    expected = drifting.frames.sum(axis=0) * drifting.gain
    kept = ~drifting.hot
    np.testing.assert_allclose(aligned.unaligned[kept], expected[kept], rtol=1e-5)


def test_total_motion_is_split_at_4_electrons(aligned) -> None:
    motion = aligned.motion
    steps = np.hypot(*np.diff(np.array(motion.displacement_px_xy), axis=0).T) * 1.5
    assert motion.total_ang == pytest.approx(steps.sum())
    assert motion.early_ang + motion.late_ang == pytest.approx(motion.total_ang)
    # Middles of frames lie at .5, 1.5, 2.5, ... e⁻/Å²: 3 steps end before 4, and half of the fourth.
    assert motion.early_ang == pytest.approx(steps[:3].sum() + steps[3] / 2)


@pytest.mark.parametrize("seed", [21, 22])
def test_a_still_specimen_stays_still(make_movie, seed) -> None:
    movie = make_movie(seed=seed, displacement_xy=((0.0, 0.0),) * 12)
    assert drift_error_px(align_movie(movie.frames, gain=movie.gain, **PIXEL), movie) < 0.1


def test_low_dose_does_not_lose_the_track(make_movie, make_drift) -> None:
    movie = make_movie(seed=31, shape_yx=(640, 640), counts=0.4, displacement_xy=make_drift(20, total_xy=(-6.0, 9.0)))
    assert drift_error_px(align_movie(movie.frames, gain=movie.gain, **PIXEL), movie) < 0.4


def test_fixed_pattern_does_not_pull_the_track_to_zero(make_movie, make_drift) -> None:
    movie = make_movie(seed=41, displacement_xy=make_drift(12, total_xy=(3.0, 2.0)))
    pattern = 1 + np.random.default_rng(41).normal(0, 0.02, movie.gain.shape)
    aligned = align_movie(movie.frames, gain=(movie.gain * pattern).astype(np.float32), **PIXEL)
    assert drift_error_px(aligned, movie) < 0.2


def test_a_long_drift_is_followed(make_movie, make_drift) -> None:
    movie = make_movie(seed=51, frame_count=24, displacement_xy=make_drift(24, total_xy=(30.0, -25.0)))
    assert drift_error_px(align_movie(movie.frames, gain=movie.gain, **PIXEL), movie) < 0.3


def test_noise_keeps_its_variance_and_stays_white(make_movie, make_drift) -> None:
    """Interpolation and dose weighting must not blur noise, or CTF and particles are judged wrongly."""
    movie = make_movie(seed=61, contrast=1e-9, hot_pixels=0, displacement_xy=make_drift(12, total_xy=(5.3, 2.7)))
    aligned = align_movie(movie.frames, gain=movie.gain, **PIXEL)
    variance = movie.counts_per_px_frame * len(movie.frames)
    for picture in (aligned.unaligned, aligned.unweighted, aligned.dose_weighted):
        assert picture.var() == pytest.approx(variance, rel=0.05)
        power = np.abs(np.fft.rfft2(picture - picture.mean())) ** 2 / picture.size
        corner = power[picture.shape[0] // 2 - 40 : picture.shape[0] // 2 + 40, -40:]
        assert corner.mean() == pytest.approx(variance, rel=0.15)


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int16, np.float32])
def test_every_type_that_cameras_write_gives_the_same_track(aligned, drifting, kind) -> None:
    other = align_movie(np.minimum(drifting.frames, 127).astype(kind), gain=drifting.gain, **PIXEL)
    np.testing.assert_allclose(other.motion.displacement_px_xy, aligned.motion.displacement_px_xy, atol=0.01)
    assert other.unweighted.dtype == np.float32


def test_one_frame_has_no_motion(drifting) -> None:
    single = align_movie(drifting.frames[:1], gain=drifting.gain, **PIXEL)
    assert single.motion.displacement_px_xy == ((0.0, 0.0),)
    assert single.motion.total_ang == 0
    np.testing.assert_allclose(single.unweighted, single.unaligned, atol=0.01)


def test_thrown_frames_take_no_part(drifting) -> None:
    few = align_movie(drifting.frames, gain=drifting.gain, options=AlignmentOptions(throw=2, trunc=3), **PIXEL)
    assert len(few.motion.displacement_px_xy) == len(drifting.frames) - 5
    expected = drifting.displacement_xy[2:-3] - drifting.displacement_xy[2]
    np.testing.assert_allclose(few.motion.displacement_px_xy, expected, atol=0.25)


def test_the_frames_are_left_as_they_were(drifting) -> None:
    frames = drifting.frames.copy()
    frames.flags.writeable = False
    align_movie(frames, gain=drifting.gain, **PIXEL)
    np.testing.assert_array_equal(frames, drifting.frames)


def spoiled(frames, how):
    frames = frames.copy()
    if how == "nan":
        frames = frames.astype(np.float32)
        frames[3, 5, 7] = np.nan
    elif how == "negative":
        frames = frames.astype(np.int16)
        frames[0, 0, 0] = -1
    elif how == "empty":
        frames[4] = 0
    elif how == "flat":
        frames = frames[0]
    elif how == "type":
        frames = frames.astype(np.complex64)
    return frames


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("nan", "not counts"),
        ("negative", "not counts"),
        ("empty", "frame 5 holds no counts"),
        ("flat", r"axes \(frame, y, x\)"),
        ("type", "complex64"),
    ],
)
def test_frames_that_are_no_counts_are_refused(drifting, how, sentence) -> None:
    with pytest.raises(ImagingError, match=sentence):
        align_movie(spoiled(drifting.frames, how), gain=drifting.gain, **PIXEL)


def test_a_gain_of_another_shape_is_refused(drifting) -> None:
    with pytest.raises(ImagingError, match="camera mode"):
        align_movie(drifting.frames, gain=drifting.gain[:-2], **PIXEL)


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_a_gain_that_is_none_is_refused(drifting, value) -> None:
    gain = drifting.gain.copy()
    gain[3, 4] = value
    with pytest.raises(ImagingError, match="export it again"):
        align_movie(drifting.frames, gain=gain, **PIXEL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pixel_size_ang", 0.0),
        ("pixel_size_ang", 150.0),
        ("dose_per_frame_e_ang2", -1.0),
        ("dose_per_frame_e_ang2", float("nan")),
        ("voltage_kv", 300000.0),
    ],
)
def test_impossible_physics_is_refused(drifting, field, value) -> None:
    with pytest.raises(ImagingError, match="make sense"):
        align_movie(drifting.frames, gain=drifting.gain, **{**PIXEL, field: value})


def test_leaving_out_every_frame_is_refused(drifting) -> None:
    with pytest.raises(ImagingError, match="leave none of 12 frames"):
        align_movie(drifting.frames, options=AlignmentOptions(throw=6, trunc=6), **PIXEL)


def test_a_very_small_movie_works(make_movie, make_drift) -> None:
    movie = make_movie(seed=71, shape_yx=(64, 66), displacement_xy=make_drift(5, total_xy=(1.0, 0.0)), hot_pixels=0)
    aligned = align_movie(movie.frames, gain=movie.gain, **PIXEL)
    assert aligned.dose_weighted.shape == (64, 66)
    assert np.isfinite(aligned.dose_weighted).all()
