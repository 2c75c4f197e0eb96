"""Does the gain reference belong to this movie, and which way round? The data say it.

Where a pixel's gain is high, an uncorrected camera counts less than next door: the plain sum of the raw frames is
proportional to 1/gain. The slope of one against the other, from differences between neighbours, is 1 for
the right orientation and 0 for a wrong one, or where the camera has corrected the frames already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import ImagingError, WrongGainError
from cryodaq.imaging.fixed_pattern import picture_of_patterns

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
SAMPLED_ROWS = 256
BELONGS = 0.5
"""Slope from which on a reference belongs to a movie."""
CERTAIN = 6.0
"""Standard errors between 0 and `BELONGS` that make the answer certain; weaker data leave the reference as given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedGain:
    """A gain reference as it has to be applied."""

    factors: Float  # (y, x), ones where nothing is to be applied
    orientation: str | None
    """One of `ORIENTATIONS`; None where there is no reference, or the camera has applied it already."""
    applied: bool
    certain: bool = False
    """Whether the movie itself shows the orientation."""


def fit_gain(
    gain: NDArray[np.generic] | None,  # (y, x)
    total: Float,  # (y, x)
    *,
    halves: NDArray[np.float32] | None = None,  # (2, y, x)
    usual: str | None = None,
) -> FittedGain:
    """Bring a gain reference into the size and orientation of a movie.

    Parameters
    ----------
    gain
        Factors; 0 marks a defect. Twice or half the movie's size (super-resolution) is binned or repeated.
    total
        Plain sum of the raw frames.
    halves
        Some rows of the sums of the earlier and of the later frames: what they share beyond chance is the
        detector's.
    usual
        The orientation that other movies showed, one of `ORIENTATIONS`: taken where this one shows none.

    Raises
    ------
    ImagingError
        When the reference does not belong to frames of this shape, is none, or contradicts the movie.
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
    slope, error = _slope(shaped[first], total)
    if error * CERTAIN > BELONGS or slope > BELONGS:
        certain = error * CERTAIN <= BELONGS
        return _accepted(shaped, first, certain=certain, known=first == usual, gain_shape=gain.shape)
    slopes = {name: _slope(turned, total)[0] for name, turned in shaped.items()}
    best = max(slopes, key=lambda name: slopes[name])
    if slopes[best] > BELONGS:
        return _accepted(shaped, best, certain=True, known=True, gain_shape=gain.shape)
    if halves is not None and _fixed_pattern(halves, factors) > BELONGS:
        problem = (
            "the frames show a fixed pattern that the gain reference does not remove, however it is turned; "
            "give the gain reference that was taken with this camera and mode"
        )
        explained = np.divide(1, shaped[first], out=np.ones_like(shaped[first]), where=shaped[first] > 0)
        raise WrongGainError(problem, picture=picture_of_patterns(total, explained))
    return FittedGain(factors=np.where(shaped[first] > 0, 1, 0).astype(np.float32), orientation=None, applied=False)


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


def _slope(factors: Float, total: Float) -> tuple[float, float]:
    """How the sum follows 1/gain (1: it does, 0: not at all), and the standard error of that."""
    rows = slice(None, None, max(1, len(total) // SAMPLED_ROWS))
    given, seen = factors[rows], total[rows]
    sound = (given[:, 1:] > 0) & (given[:, :-1] > 0)
    heard = np.divide(1, given, out=np.zeros_like(given), where=given > 0)
    expected = np.where(sound, np.diff(heard, axis=1), 0) / (heard[given > 0].mean() or 1.0)
    found = np.where(sound, np.diff(seen, axis=1), 0) / (seen.mean() or 1.0)
    # Hot pixels and defects that nobody marked would speak too loud.
    limits = [
        6 * 1.4826 * float(np.median(np.abs(values[sound]))) if sound.any() else 0.0 for values in (expected, found)
    ]
    kept = sound & (np.abs(found) <= limits[1]) & (np.abs(expected) <= limits[0])
    expected, found = expected[kept], found[kept]
    power = float(expected @ expected)
    if power <= 0:
        return 1.0, np.inf
    # Neighbouring differences share a pixel, which widens the error.
    return float(expected @ found) / power, float(np.sqrt(1.5 * (found @ found) / len(found) / power))


def _fixed_pattern(halves: NDArray[np.float32], factors: Float) -> float:
    """Structure that two halves of the movie surely share from pixel to pixel, relative to that of the reference."""
    differences = np.diff(halves, axis=2) / halves.mean(axis=(1, 2), keepdims=True)
    limits = 6 * differences.std(axis=(1, 2), keepdims=True)
    kept = (np.abs(differences) <= limits).all(axis=0)
    products = differences[0][kept] * differences[1][kept]
    shared = float(products.mean() - 3 * products.std() / np.sqrt(products.size)) / 2
    given = factors[factors > 0]
    return float(np.sqrt(max(shared, 0.0)) / max(float(given.std() / given.mean()), 1e-6))
