"""The data say whether a gain reference belongs to a movie, and which way round."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cryodaq.errors import ImagingError, WrongGainError
from cryodaq.formats.mrc import read_micrograph
from cryodaq.imaging.detector import sum_frames
from cryodaq.imaging.gain import ORIENTATIONS


def counted(rng, gain, *, counts=1.0, frame_count=8):
    return np.array([rng.poisson(counts / gain) for _ in range(frame_count)]).astype(np.uint8)


def structure(rng, shape, spread=0.04):
    return (1 + rng.normal(0, spread, shape)).astype(np.float32)


def turned(gain, name):
    transposed, axes = ORIENTATIONS[name]
    gain = gain.T if transposed else gain
    return gain[:: -1 if axes & 1 else 1, :: -1 if axes & 2 else 1]


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("shape", [(256, 256), (224, 288)])
def test_a_turned_reference_is_turned_back_and_said(name, shape) -> None:
    rng = np.random.default_rng(len(name))
    given = structure(rng, shape)
    frames = counted(rng, turned(given, name))
    plain = sum_frames(frames, gain=given)
    assert plain.gain_orientation == name
    np.testing.assert_allclose(
        plain.detector.gain[plain.detector.gain > 0], turned(given, name)[plain.detector.gain > 0]
    )


def test_a_movie_that_was_corrected_already_is_not_corrected_again() -> None:
    rng = np.random.default_rng(2)
    frames = counted(rng, np.ones((256, 256)))
    gain = structure(rng, (256, 256))
    gain[9, 9] = 0
    plain = sum_frames(frames, gain=gain)
    assert plain.gain_orientation is None
    np.testing.assert_allclose(np.delete(plain.total.ravel(), 9 * 257), np.delete(frames.sum(axis=0).ravel(), 9 * 257))
    assert not plain.gain_orientation_certain  # nothing says that it was this reference


STRENGTHS = (0.01, 0.04, 0.15, 0.5)
STRONG = 0.04
"""Pattern that so few counts show for certain."""


def random_gain(rng, shape, strength):
    return np.exp(rng.normal(0, strength, shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("strength", "name"), [*((strength, "as stored") for strength in STRENGTHS), (0.04, "transposed")]
)
def test_frames_that_were_corrected_with_the_reference_are_recognised_however_strong_it_is(strength, name) -> None:
    rng = np.random.default_rng(3)
    given = random_gain(rng, (640, 640) if strength < STRONG else (256, 256), strength)
    own = turned(given, name)
    frames = (counted(rng, own, counts=2.0, frame_count=32) * own).astype(np.float32)
    plain = sum_frames(frames, gain=given)
    assert (plain.gain_orientation, plain.gain_orientation_certain) == (None, True)


@pytest.mark.parametrize("own_strength", STRENGTHS)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_no_wrong_reference_is_taken_for_one_that_was_applied(own_strength, strength) -> None:
    rng = np.random.default_rng(round(1e4 * own_strength + 1e2 * strength))
    own, other = (random_gain(rng, (384, 384), one) for one in (own_strength, strength))
    frames = counted(rng, own, counts=4.0, frame_count=24)
    assert sum_frames(frames, gain=own).gain_orientation == "as stored"
    if own_strength >= STRONG:
        with pytest.raises(WrongGainError, match="however it is turned"):
            sum_frames(frames, gain=other)
        return
    plain = sum_frames(frames, gain=other)
    assert not plain.gain_orientation_certain  # which is told
    assert plain.gain_orientation is None


def test_frames_of_a_real_micrograph_show_what_their_gain_is(shared_data: Path) -> None:
    rng = np.random.default_rng(9)
    dealt = thinned(shared_data / "micrographs/falcon3_epu2.9/epu2.9_example.mrc", rng, frame_count=24)
    own, other = (random_gain(rng, dealt.shape[1:], one) for one in (0.05, 0.15))
    frames = rng.binomial(dealt, np.clip(np.quantile(own, 0.01) / own, 0, 1)).astype(np.uint8)
    assert sum_frames(frames, gain=own).gain_orientation == "as stored"
    with pytest.raises(WrongGainError, match="however it is turned"):
        sum_frames(frames, gain=other)
    corrected = (frames * own).astype(np.float32)
    plain = sum_frames(corrected, gain=own)
    assert (plain.gain_orientation, plain.gain_orientation_certain) == (None, True)
    plain = sum_frames(corrected, gain=other)  # the specimen is not taken for the detector
    assert (plain.gain_orientation, plain.gain_orientation_certain) == (None, False)


def thinned(micrograph: Path, rng, *, frame_count: int):
    """Deal the electrons of a real counted micrograph (307 units each) to frames in which the specimen drifts."""
    left = np.rint(read_micrograph(micrograph)[0][:1024, :1024] / 307).astype(np.int64)
    frames = []
    for number in range(frame_count):
        dealt = rng.binomial(left, 1 / (frame_count - number))
        left = left - dealt
        moved = np.roll(dealt, (round(12 * number / frame_count), number // 5), axis=(0, 1))
        frames.append(moved.reshape(512, 2, 512, 2).sum(axis=(1, 3)))
    return np.stack(frames)


def test_the_reference_of_another_camera_is_refused() -> None:
    rng = np.random.default_rng(4)
    frames = counted(rng, structure(rng, (256, 256), 0.15), counts=4.0)
    with pytest.raises(WrongGainError, match="does not remove, however it is turned") as caught:
        sum_frames(frames, gain=structure(rng, (256, 256), 0.15))
    assert caught.value.picture is not None
    seen = np.asarray(Image.open(BytesIO(caught.value.picture)))
    assert seen.shape == (256, 256 + 8 + 256)  # what the frames show, beside what the reference explains
    assert min(seen[:, :256].std(), seen[:, -256:].std()) > 20
    assert abs(np.corrcoef(seen[:, :256].ravel(), seen[:, -256:].ravel())[0, 1]) < 0.05


def test_the_reference_of_another_camera_is_refused_though_frames_share_out_what_a_drifting_specimen_scatters() -> None:
    """Electrons that one frame has counted are missing in the next: neighbours in time are less alike than chance."""
    rng = np.random.default_rng(6)
    dealt = rng.multinomial(24, [1 / 12] * 12, size=(512, 512))
    drifting = np.stack([np.roll(dealt[..., frame], frame // 2, axis=1) for frame in range(12)])
    own, other = structure(rng, (512, 512), 0.08), structure(rng, (512, 512), 0.08)
    frames = rng.binomial(drifting, np.clip(0.6 / own, 0, 1)).astype(np.uint8)
    assert sum_frames(frames, gain=own).gain_orientation == "as stored"
    with pytest.raises(ImagingError, match="does not remove, however it is turned"):
        sum_frames(frames, gain=other)


def test_a_flat_reference_is_taken_as_given() -> None:
    rng = np.random.default_rng(5)
    frames = counted(rng, np.ones((128, 128)))
    plain = sum_frames(frames, gain=np.full((128, 128), 1.5, np.float32))
    assert plain.gain_orientation == "as stored"
    assert plain.mean_counts_per_px_frame == pytest.approx(1.5, rel=0.02)


def test_weak_data_leave_the_reference_as_given() -> None:
    rng = np.random.default_rng(6)
    gain = structure(rng, (64, 64), 0.01)
    assert sum_frames(counted(rng, gain, frame_count=2), gain=gain).gain_orientation == "as stored"


def test_weak_data_are_corrected_as_other_movies_showed_and_strong_ones_say_it_themselves() -> None:
    rng = np.random.default_rng(8)
    weak = structure(rng, (64, 64), 0.01)
    plain = sum_frames(counted(rng, weak, frame_count=2), gain=weak, usual_gain_orientation="rows reversed")
    assert (plain.gain_orientation, plain.gain_orientation_certain) == ("rows reversed", False)
    strong = structure(rng, (256, 256))
    plain = sum_frames(counted(rng, strong), gain=strong, usual_gain_orientation="rows reversed")
    assert (plain.gain_orientation, plain.gain_orientation_certain) == ("as stored", True)


@pytest.mark.parametrize("factor", [2, 0.5])
def test_a_super_resolution_reference_is_brought_to_the_movies_size(factor) -> None:
    rng = np.random.default_rng(7)
    if factor == 2:
        fine = structure(rng, (512, 512), 0.08)
        frames = counted(rng, 4 / (1 / fine).reshape(256, 2, 256, 2).sum(axis=(1, 3)))
        plain = sum_frames(frames, gain=fine)
    else:
        coarse = structure(rng, (128, 128))
        frames = counted(rng, np.repeat(np.repeat(coarse, 2, 0), 2, 1))
        plain = sum_frames(frames, gain=coarse)
    assert plain.gain_orientation == "as stored"
    assert plain.mean_counts_per_px_frame == pytest.approx(1.0, rel=0.02)
