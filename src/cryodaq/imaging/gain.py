"""Does the gain reference belong to this movie, and which way round? The data say it.

Where a pixel's gain is high, an uncorrected camera counts less than next door: the plain sum of the raw frames is
proportional to 1/gain. The slope of one against the other, from differences between neighbours, is 1 for
the right orientation and 0 for a wrong one, or where the camera has corrected the frames already. Which of the two it
is, the frames' scatter says, and the pattern that they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import ImagingError, WrongGainError
from cryodaq.imaging.fixed_pattern import picture_of_patterns
from cryodaq.imaging.gain_signs import detector_pattern, follows_scatter, follows_sum, reference_pattern, scatter_of

Float = NDArray[np.float32]

AS_STORED = "as stored"
ORIENTATIONS = {
    AS_STORED: (False, 0),
    "rows reversed": (False, 1),
    "columns reversed": (False, 2),
    "turned by 180 degrees": (False, 3),
    "transposed": (True, 0),
    "turned by 90 degrees (columns reversed after transposing)": (True, 2),
    "turned by 270 degrees (rows reversed after transposing)": (True, 1),
    "transposed and turned by 180 degrees": (True, 3),
}
"""Whether rows and columns change places first, and then which are reversed (1 rows, 2 columns)."""
BELONGS = 0.5
"""Slope from which on a reference belongs to a movie."""
CERTAIN = 6.0
"""Standard errors between 0 and `BELONGS` that make the answer certain; weaker data leave the reference as given."""
MARKED = 0.02
"""Pattern of the detector, as a fraction of the counts, from which on frames are surely not corrected.

From one pixel to the next a specimen leaves less that first and last frames share: 1.3 % in simulated movies of 1 Å/px.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedGain:
    """A gain reference as it has to be applied."""

    factors: Float  # (y, x), ones where nothing is to be applied
    orientation: str | None
    """One of `ORIENTATIONS`; None where there is no reference, or the camera has applied it already."""
    applied: bool
    certain: bool = False
    """Whether the movie itself shows the orientation; where nothing is applied, that it was corrected with this very
    reference."""


def fit_gain(
    gain: NDArray[np.generic] | None,  # (y, x)
    total: Float,  # (y, x)
    *,
    frames: NDArray[np.generic] | None = None,  # (frame, y, x)
    usual: str | None = None,
) -> FittedGain:
    """Bring a gain reference into the size and orientation of a movie.

    Parameters
    ----------
    gain
        Factors; 0 marks a defect. Twice or half the movie's size (super-resolution) is binned or repeated.
    total
        Plain sum of the raw frames.
    frames
        What was added up. They are looked at only where the sum does not follow the reference, to tell frames that
        the camera has corrected already from those of another camera.
    usual
        The orientation that other movies showed, one of `ORIENTATIONS`: taken where this one shows none.

    Raises
    ------
    ImagingError
        When the reference does not belong to frames of this shape, or is none.
    WrongGainError
        When the frames are uncorrected, and it is not their reference.
    """
    if gain is None:
        return FittedGain(factors=np.ones(total.shape, np.float32), orientation=None, applied=False)
    factors = checked_factors(gain)
    shaped = {
        name: turned for name in ORIENTATIONS if (turned := _resized(_turned(factors, name), total.shape)) is not None
    }
    if not shaped:
        problem = (
            f"the gain reference has the shape {gain.shape} (y, x), the frames {total.shape}; "
            "give the gain reference that was taken with this camera mode"
        )
        raise ImagingError(problem)
    first = usual if usual in shaped else next(iter(shaped))
    slope, error = follows_sum(shaped[first], total)
    certain = error * CERTAIN <= BELONGS
    if slope > BELONGS and certain:
        return _accepted(shaped, first, certain=True, known=True, gain_shape=gain.shape)
    if not certain:
        if frames is not None and detector_pattern(frames) > max(MARKED, 2 * reference_pattern(shaped[first])):
            raise _wrong(total, shaped[first])
        return _accepted(shaped, first, certain=False, known=first == usual, gain_shape=gain.shape)
    slopes = {name: follows_sum(turned, total)[0] for name, turned in shaped.items()}
    best = max(slopes, key=lambda name: slopes[name])
    if slopes[best] > BELONGS:
        return _accepted(shaped, best, certain=True, known=True, gain_shape=gain.shape)
    corrected = frames is not None and _corrected_with(shaped, frames)
    if frames is not None and not corrected and detector_pattern(frames) > MARKED:
        raise _wrong(total, shaped[first])
    ones = np.where(shaped[first] > 0, 1, 0).astype(np.float32)
    return FittedGain(factors=ones, orientation=None, applied=False, certain=corrected)


def _wrong(total: Float, factors: Float) -> WrongGainError:
    problem = (
        "the frames show a fixed pattern that the gain reference does not remove, however it is turned; "
        "give the gain reference that was taken with this camera and mode"
    )
    explained = np.divide(1, factors, out=np.ones_like(factors), where=factors > 0)
    return WrongGainError(problem, picture=picture_of_patterns(total, explained))


def _corrected_with(shaped: Mapping[str, Float], frames: NDArray[np.generic]) -> bool:
    """Whether the camera has corrected the frames with the reference already, in whichever orientation."""
    scatter = scatter_of(frames)
    found = (follows_scatter(turned, scatter) for turned in shaped.values())
    return any(slope > BELONGS and error * CERTAIN <= BELONGS for slope, error in found)


def _accepted(
    shaped: dict[str, Float], name: str, *, certain: bool, known: bool, gain_shape: tuple[int, ...]
) -> FittedGain:
    factors = shaped[name]
    if ORIENTATIONS[name][0] and not (certain or known):
        problem = (
            f"the gain reference has the shape {gain_shape} (y, x), the frames {factors.shape}; it is turned by "
            "90 degrees, and the movie does not show which way; turn the reference"
        )
        raise ImagingError(problem)
    return FittedGain(factors=np.ascontiguousarray(factors), orientation=name, applied=True, certain=certain)


def checked_factors(gain: NDArray[np.generic]) -> Float:
    """Gain as float32. Raises `ImagingError` when it is no gain reference."""
    factors = np.ascontiguousarray(gain, dtype=np.float32)
    # The smallest and the largest are NaN where any value is.
    if factors.ndim != 2 or not (factors.min() >= 0 and 0 < factors.max() < np.inf):
        raise ImagingError(
            "the gain reference holds NaN, negative or no positive values; export it again from the camera "
            "(multiplicative, 0 marks a defect)"
        )
    return factors


def gain_as_applied(gain: NDArray[np.generic], *, orientation: str, shape_yx: tuple[int, int]) -> Float | None:
    """Return the factors (y, x) that `fit_gain` applied to frames of this shape in this orientation.

    Returns None when the reference cannot be brought to the shape. Raises `ImagingError` when it is no gain reference.

    Parameters
    ----------
    orientation
        One of `ORIENTATIONS`.
    """
    return _resized(_turned(checked_factors(gain), orientation), shape_yx)


def _turned(factors: Float, name: str) -> Float:
    transposed, reversed_axes = ORIENTATIONS[name]
    turned = factors.T if transposed else factors
    return turned[:: -1 if reversed_axes & 1 else 1, :: -1 if reversed_axes & 2 else 1]


def _resized(factors: Float, shape_yx: tuple[int, ...]) -> Float | None:
    """The reference at the movie's size; None when no factor of two leads there."""
    if factors.shape == shape_yx:
        return factors
    if factors.shape == (2 * shape_yx[0], 2 * shape_yx[1]):
        # Four pixels were added up: what they counted of an even beam is the mean of 1/gain.
        heard = np.divide(1, factors, out=np.zeros_like(factors), where=factors > 0)
        mean = heard.reshape(shape_yx[0], 2, shape_yx[1], 2).mean(axis=(1, 3))
        sound = factors.reshape(shape_yx[0], 2, shape_yx[1], 2).min(axis=(1, 3)) > 0
        return np.asarray(np.divide(1, mean, out=np.zeros_like(mean), where=sound), np.float32)
    for finer in (2, 4):
        if (finer * factors.shape[0], finer * factors.shape[1]) == tuple(shape_yx):
            return np.repeat(np.repeat(factors, finer, axis=0), finer, axis=1)
    return None
