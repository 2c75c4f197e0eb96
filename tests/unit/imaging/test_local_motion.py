"""Parts of the field that move against each other, and sums that follow them."""

from __future__ import annotations

import numpy as np
import pytest

from cryodaq.imaging.local_motion import Steps
from cryodaq.imaging.motion import AlignmentOptions, align_movie
from cryodaq.imaging.motion_field import MotionField, basis, degrees_for

PHYSICS = {"pixel_size_ang": 1.5, "dose_per_frame_e_ang2": 1.5, "voltage_kv": 300.0}
SHAPE = (576, 640)
FRAMES = 14


def specimen(rng, margin):
    """White structure through an envelope, on a grid fine enough to be read between its points."""
    shape = tuple(n + 2 * margin for n in SHAPE)
    y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    matter = np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) * np.exp(-25 * (x**2 + y**2))).real
    return 0.3 * matter / matter.std()


def flow(points_yx, time, size_px):
    """A dome: not a polynomial of low order."""
    place = 2 * points_yx / np.array(SHAPE) - 1
    bulge = place * np.exp(-1.5 * (place**2).sum(axis=-1, keepdims=True))
    return (1 - np.exp(-3 * time)) * (size_px * 2 * bulge + np.array([4.0, -2.0]) * (size_px > 0))


def flowing_movie(seed, *, size_px, doses=(3.0,) * FRAMES, bar_from_px=None):
    """Counts, and the specimen as it lay in frame 0; a bar of the grid may cover all columns from one on."""
    from scipy.ndimage import map_coordinates, spline_filter

    rng = np.random.default_rng(seed)
    margin = 24
    picture = spline_filter(specimen(rng, margin), order=3)
    y, x = np.meshgrid(np.arange(SHAPE[0]), np.arange(SHAPE[1]), indexing="ij")
    points = np.stack([y, x], axis=-1)
    frames = []
    for number, dose in enumerate(doses):
        seen = points - flow(points, number / (FRAMES - 1), size_px) + margin
        bright = 1 + map_coordinates(picture, np.moveaxis(seen, -1, 0), order=3, prefilter=False)
        if bar_from_px is not None:
            bright *= 1 / (1 + np.exp(seen[..., 1] + 0.4 * seen[..., 0] - margin - bar_from_px))
        frames.append(rng.poisson(np.clip(bright, 0, None) * dose))
    truth = 1 + map_coordinates(picture, np.moveaxis(points + margin, -1, 0), order=3, prefilter=False)
    return np.array(frames).astype(np.uint8), truth


def strict_error_px(field, size_px, *, left_of_px=SHAPE[1]):
    y, x = np.meshgrid(*(np.linspace(40, n - 40, 5) for n in SHAPE), indexing="ij")
    points = np.stack([y.ravel(), x.ravel()], axis=1)
    points = points[points[:, 1] + 0.4 * points[:, 0] < left_of_px]
    true = np.array([flow(points, number / (FRAMES - 1), size_px) for number in range(FRAMES)])
    return float(np.sqrt(((field.displacement_px_yx(points) - true) ** 2).sum(axis=-1).mean()))


def likeness(picture, truth):
    inner = (slice(24, -24), slice(24, -24))
    return float(np.corrcoef(picture[inner].ravel(), truth[inner].ravel())[0, 1])


@pytest.fixture(scope="module")
def flowing():
    return flowing_movie(3, size_px=3.0)


@pytest.fixture(scope="module")
def followed(flowing):
    options = AlignmentOptions(patches_yx=(5, 5), halves=True)
    return align_movie(flowing[0], options=options, **PHYSICS)


def test_local_motion_is_found_in_absolute_terms(followed) -> None:
    assert strict_error_px(followed.field, 3.0) < 0.4
    assert not followed.field.displacement_px_yx(np.array([[100.0, 50.0]]))[0].any()


def test_the_sum_follows_local_motion(flowing, followed) -> None:
    whole = align_movie(flowing[0], **PHYSICS)
    assert likeness(followed.unweighted, flowing[1]) > likeness(whole.unweighted, flowing[1]) + 0.01


def test_nothing_is_invented_where_nothing_flows() -> None:
    frames, _ = flowing_movie(5, size_px=0.0)
    aligned = align_movie(frames, options=AlignmentOptions(patches_yx=(5, 5)), **PHYSICS)
    assert strict_error_px(aligned.field, 0.0) < 0.1


def test_a_bar_of_the_grid_does_not_hold_the_ice_beside_it() -> None:
    frames, _ = flowing_movie(9, size_px=3.0, bar_from_px=420)
    aligned = align_movie(frames, options=AlignmentOptions(patches_yx=(5, 5)), **PHYSICS)
    assert strict_error_px(aligned.field, 3.0, left_of_px=420) < 0.4


@pytest.mark.parametrize("patches_yx", [(1, 1), (5, 5)])
def test_frames_that_share_nothing_are_at_rest(patches_yx) -> None:
    frames = np.random.default_rng(13).poisson(0.7, (30, *SHAPE)).astype(np.uint8)
    aligned = align_movie(frames, options=AlignmentOptions(patches_yx=patches_yx), **PHYSICS)
    assert aligned.motion.total_ang == 0


def test_halves_show_the_same_specimen_with_independent_noise(flowing, followed) -> None:
    even, odd = followed.even_odd
    assert likeness(even, flowing[1]) == pytest.approx(likeness(odd, flowing[1]), abs=0.02)
    expected = 2 * likeness(even, odd) / (1 + likeness(even, odd))
    assert likeness(followed.dose_weighted, flowing[1]) ** 2 == pytest.approx(expected, abs=0.05)


def test_binning_in_fourier_space_keeps_counts_and_place(flowing) -> None:
    options = AlignmentOptions(fourier_bin=2.0)
    binned = align_movie(flowing[0], options=options, **PHYSICS)
    whole = align_movie(flowing[0], **PHYSICS)
    assert binned.unweighted.shape == binned.unaligned.shape == (SHAPE[0] // 2, SHAPE[1] // 2)
    assert binned.unweighted.mean() == pytest.approx(4 * whole.unweighted.mean(), rel=1e-4)
    assert binned.motion.total_ang == pytest.approx(whole.motion.total_ang, rel=1e-3)
    half_way = np.array(whole.motion.displacement_px_xy) / 2
    np.testing.assert_allclose(binned.motion.displacement_px_xy, half_way, atol=1e-6)
    seen = np.fft.fft2(whole.unweighted)[:100, :100]
    np.testing.assert_allclose(np.fft.fft2(binned.unweighted)[:100, :100], seen, atol=1e-4 * np.abs(seen).max())


def test_frames_of_unequal_dose_are_weighed_by_what_they_counted() -> None:
    doses = (1.5,) * 4 + (3.0,) * (FRAMES - 4)
    frames, _ = flowing_movie(7, size_px=1.0, doses=doses)
    aligned = align_movie(frames, options=AlignmentOptions(patches_yx=(4, 4)), **PHYSICS)
    np.testing.assert_allclose(aligned.dose_e_ang2, np.array(doses) / 2, rtol=0.02)
    assert strict_error_px(aligned.field, 1.0) < 0.4
    assert aligned.dose_weighted.var() > 0


def test_relion_coefficients_give_the_local_shifts_back() -> None:
    rng = np.random.default_rng(8)
    degrees = degrees_for((3, 3))
    time = np.linspace(0, 1, 10)
    speed = rng.normal(size=(3, len(degrees), 2))
    history = np.stack([time, time**2, time**3], axis=1)
    field = MotionField(degrees_yx=degrees, coefficients=np.einsum("ft,tkd->fkd", history, speed), shape_yx=(300, 400))
    for_x, for_y = field.relion_coefficients()
    place = np.array([0.3, -0.2])  # y, x from -0.5 to 0.5
    point = (place + 0.5) * np.array(field.shape_yx) - 0.5
    y, x, z = place[0], place[1], 6.0
    terms = np.outer([1, x, x * x, y, y * y, x * y], [z, z**2, z**3]).ravel()
    local = field.displacement_px_yx(point[None, :])[6, 0] - field.mean_px_yx()[6]
    np.testing.assert_allclose([-(for_y @ terms), -(for_x @ terms)], local, atol=1e-6)


def test_terms_leave_patches_to_judge_the_noise_by() -> None:
    assert degrees_for((1, 1)) == ((0, 0),)
    for patches in ((2, 2), (4, 3), (5, 7), (9, 9)):
        assert len(degrees_for(patches)) <= 2 * patches[0] * patches[1] / 3
    values = basis(np.array([[0.5, -0.5]]), ((0, 0), (1, 0), (0, 2)))
    np.testing.assert_allclose(values, [[1, 0.5, -0.125]])


@pytest.mark.parametrize("too_far", [1.0, 1.9, 2.5, 5.0])
def test_steps_that_go_too_far_find_the_place_all_the_same(too_far) -> None:
    """Where the slope is too_far times as steep as all patches together say, whole steps would swing ever wider."""
    true = np.array([3.0, -7.0])
    here, steps = np.zeros(2), Steps()
    for _ in range(40):
        agreement = -float(np.square(here - true).sum())
        if steps.is_better(agreement):
            steps.take(here, here + np.array([too_far, 0.8]) * (true - here), agreement)
        here = steps.coefficients()
    np.testing.assert_allclose(here, true, atol=0.05)


def test_agreement_of_frames_that_were_compared_in_another_way_does_not_count() -> None:
    steps = Steps()
    steps.take(np.zeros(2), np.ones(2), 100.0)
    steps.forget()
    assert steps.is_better(1.0)
    np.testing.assert_array_equal(steps.coefficients(), np.ones(2))
