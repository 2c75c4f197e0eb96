"""Sums of frames that are looked at in smaller pixels than motion is found in."""

from __future__ import annotations

import numpy as np
import pytest

import cryodaq.imaging.finer_frames
from cryodaq.errors import ImagingError
from cryodaq.imaging.finer_frames import FinerFrames
from cryodaq.imaging.motion import AlignmentOptions, align_movie
from cryodaq.imaging.summation import bin_in_fourier

DOSE = {"dose_per_frame_e_ang2": 1.0, "voltage_kv": 300.0}
HOT_YX = (100, 80)


def coarse(frames, factor: int = 2):
    """The same counts in pixels (frame, y, x) that are larger."""
    count, height, width = frames.shape
    return frames.reshape(count, height // factor, factor, width // factor, factor).sum(axis=(2, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def movie(make_movie, make_drift):
    """Pixels half as large as those of the frames, in which one pixel is hot."""
    made = make_movie(
        seed=41,
        shape_yx=(512, 448),
        counts=1.0,
        gain_spread=0.0,
        hot_pixels=0,
        displacement_xy=make_drift(10, total_xy=(9.0, -6.0)),
    )
    y, x = (2 * place for place in HOT_YX)
    made.frames[:, y : y + 2, x : x + 2] = 15
    return made


def read_of(movie):
    return lambda numbers: movie.frames[list(numbers)]


@pytest.fixture(scope="module")
def aligned(movie):
    options = AlignmentOptions(halves=True)
    finer = FinerFrames(factor=2, read=read_of(movie))
    return align_movie(coarse(movie.frames), pixel_size_ang=1.5, options=options, finer=finer, **DOSE)


def likeness(picture, movie) -> float:
    inner = (slice(24, -24), slice(24, -24))
    specimen = bin_in_fourier(movie.specimen.astype(np.float32), picture.shape)
    return float(np.corrcoef(picture[inner].ravel(), specimen[inner].ravel())[0, 1])


def test_motion_and_sums_have_the_pixels_of_the_frames(aligned, movie) -> None:
    assert aligned.unweighted.shape == aligned.dose_weighted.shape == aligned.unaligned.shape == (256, 224)
    error = np.array(aligned.motion.displacement_px_xy) - movie.displacement_xy / 2
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.1
    assert aligned.field.shape_yx == (256, 224)
    assert aligned.unweighted.mean() == pytest.approx(40.0, rel=0.02)


def test_sums_are_as_good_as_of_a_movie_that_is_so_fine_throughout(aligned, movie) -> None:
    whole = align_movie(movie.frames, pixel_size_ang=0.75, options=AlignmentOptions(fourier_bin=2), **DOSE)
    assert np.corrcoef(aligned.unweighted.ravel(), whole.unweighted.ravel())[0, 1] > 0.99
    assert likeness(aligned.unweighted, movie) > likeness(whole.unweighted, movie) - 0.005
    usual = align_movie(coarse(movie.frames), pixel_size_ang=1.5, **DOSE)
    assert likeness(aligned.unweighted, movie) > likeness(usual.unweighted, movie) + 0.01


def test_a_bad_pixel_leaves_no_trace_in_either(aligned) -> None:
    assert aligned.hot_pixels == 1
    y, x = HOT_YX
    near = np.abs(aligned.unweighted[y - 8 : y + 9, x - 14 : x + 6] - aligned.unweighted.mean())
    assert near.max() < 6 * aligned.unweighted.std()


def test_few_frames_at_a_time_give_the_same_sums_as_all(aligned, movie, monkeypatch) -> None:
    monkeypatch.setattr(cryodaq.imaging.finer_frames, "MOST_BYTES", 3 * movie.frames[0].nbytes)
    seen: list[list[int]] = []

    def read(numbers):
        seen.append(list(numbers))
        return movie.frames[list(numbers)]

    options = AlignmentOptions(halves=True)
    finer = FinerFrames(factor=2, read=read)
    again = align_movie(coarse(movie.frames), pixel_size_ang=1.5, options=options, finer=finer, **DOSE)
    assert seen[:4] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert seen[4:] == [[0, 2, 4], [6, 8], [1, 3, 5], [7, 9]]
    # Bad pixels are stood in for by one neighbour or another.
    beyond = slice(HOT_YX[0] + 60, None)
    for found, wanted in zip(
        (again.dose_weighted, *again.even_odd), (aligned.dose_weighted, *aligned.even_odd), strict=True
    ):
        np.testing.assert_allclose(found[beyond], wanted[beyond], atol=0.005 * wanted.std())


def test_frames_that_were_left_out_stay_out(movie) -> None:
    seen: list[int] = []

    def read(numbers):
        seen.extend(numbers)
        return movie.frames[list(numbers)]

    options = AlignmentOptions(throw=2, trunc=1)
    finer = FinerFrames(factor=2, read=read)
    align_movie(coarse(movie.frames), pixel_size_ang=1.5, options=options, finer=finer, **DOSE)
    assert seen == [2, 3, 4, 5, 6, 7, 8]


def test_finer_frames_of_another_size_are_refused(movie) -> None:
    finer = FinerFrames(factor=4, read=read_of(movie))
    with pytest.raises(ImagingError, match=r"finer frames have the shape \(10, 512, 448\), not \(10, 1024, 896\)"):
        align_movie(coarse(movie.frames), pixel_size_ang=1.5, finer=finer, **DOSE)
