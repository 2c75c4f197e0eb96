"""LZW strips: what the usual encoder writes comes back, and damage never goes unnoticed or out of bounds."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryodaq.formats.lzw import HEAD, SLACK, StripDecoder, decode_lzw, is_usual_lzw


def decode_strip(data, room):
    return StripDecoder(room).decode(data)


@given(st.binary(max_size=3000))
@settings(max_examples=200, deadline=None)
def test_whatever_was_encoded_comes_back(content) -> None:
    data = imagecodecs.lzw_encode(content)
    assert is_usual_lzw(data)
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


def test_strips_follow_each_other_in_one_decoder() -> None:
    decoder = StripDecoder(2000)
    for content in (b"abababab" * 100, bytes(2000), b"x"):
        assert decoder.decode(imagecodecs.lzw_encode(content)).tobytes() == content


def test_more_than_fits_and_nonsense_are_refused() -> None:
    data = imagecodecs.lzw_encode(bytes(1000))
    with pytest.raises(ValueError, match="more than its rows"):
        decode_strip(data, 999)
    with pytest.raises(ValueError, match="mean nothing"):
        decode_strip(b"\x80\x7f\xff\xff\xff", 100)


def test_a_strip_that_ends_early_is_shorter() -> None:
    data = imagecodecs.lzw_encode(np.random.default_rng(1).integers(0, 9, 5000, np.uint8).tobytes())
    assert decode_strip(data[: len(data) // 2], 5001).size < 5000
