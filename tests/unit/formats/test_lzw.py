"""LZW strips: what the usual encoder writes comes back, and damage never goes unnoticed or out of bounds."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryodaq.formats.lzw import DAMAGED, HEAD, SLACK, TOO_LONG, UNUSUAL, decode_lzw, decode_strips


def decode_strip(data, room):
    target = np.zeros(HEAD + room + SLACK, np.uint8)
    written = decode_lzw(np.frombuffer(data, np.uint8), target)
    return target[HEAD : HEAD + written]


def decode_together(strips, strip_bytes, size):
    """Strips behind each other, as one file holds them."""
    ends = np.cumsum([0, *(len(strip) for strip in strips)])
    places = np.stack([ends[:-1], np.diff(ends)], axis=1).astype(np.int64)
    target = np.full(size, 7, np.uint8)
    return *decode_strips(np.frombuffer(b"".join(strips), np.uint8), places, strip_bytes, target), target


@given(st.binary(max_size=3000))
@settings(max_examples=200, deadline=None)
def test_whatever_was_encoded_comes_back(content) -> None:
    data = imagecodecs.lzw_encode(content)
    assert decode_strip(data, len(content) + 1).tobytes() == content


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.7, 5.0, 90.0])
def test_counted_frames_come_back(mean) -> None:
    counts = np.random.default_rng(int(mean * 10)).poisson(mean, 300_000).astype(np.uint8)
    decoded = decode_strip(imagecodecs.lzw_encode(counts.tobytes()), counts.size + 1)
    np.testing.assert_array_equal(decoded, counts)


@given(st.binary(max_size=400), st.integers(0, 300))
@settings(max_examples=300, deadline=None)
def test_damaged_codes_stay_within_their_room(noise, room) -> None:
    target = np.full(HEAD + room + SLACK + 64, 7, np.uint8)
    written = decode_lzw(np.frombuffer(b"\x80" + noise, np.uint8), target[: HEAD + room + SLACK])
    assert written <= room
    assert (target[HEAD + room + SLACK :] == 7).all()


def test_strips_follow_each_other_and_the_last_may_be_shorter() -> None:
    content = np.random.default_rng(4).poisson(1.0, 2300).astype(np.uint8).tobytes()
    strips = [imagecodecs.lzw_encode(content[top : top + 500]) for top in range(0, 2300, 500)]
    done, gave, target = decode_together(strips, 500, 2300)
    assert (done, gave) == (5, 0)
    assert target.tobytes() == content


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (imagecodecs.lzw_encode(bytes(499)), 499),
        (imagecodecs.lzw_encode(bytes(502)), TOO_LONG),
        (b"\x80\x7f\xff\xff\xff", DAMAGED),
        (b"\x00\x01\x02", UNUSUAL),
        (b"\x80", UNUSUAL),
    ],
)
def test_the_first_strip_that_is_not_as_it_should_be_is_named(wrong, expected) -> None:
    right = imagecodecs.lzw_encode(bytes(500))
    done, gave, target = decode_together([right, right, wrong, right], 500, 2000)
    assert (done, gave) == (2, expected)
    assert (target[1000:] == 7).all()


def test_a_strip_that_ends_early_is_shorter() -> None:
    data = imagecodecs.lzw_encode(np.random.default_rng(1).integers(0, 9, 5000, np.uint8).tobytes())
    assert decode_strip(data[: len(data) // 2], 5001).size < 5000
