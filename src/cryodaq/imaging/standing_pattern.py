"""What stands still in the camera while the specimen moves, left there by a gain reference that is stale.

Each frame shows it in the same place, so frames agree best where nothing moves, and the finer they are looked at, the
more it outweighs the specimen, which fades there. It is white, as the noise of the counts is, and so known by one
number: its share of a frame's power. What frames moved along a track then owe to it alone can be computed, and is
taken from their likeness, their slopes and their curvatures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.cores import for_each
from cryodaq.imaging.frame_likeness import usable_lags
from cryodaq.imaging.patches import Patches
from cryodaq.imaging.shift_kernels import patch_derivatives, patch_products

Float64 = NDArray[np.float64]

ENOUGH_VALUES = 8_000_000
"""Frequencies of all frames of some patches whose mean tells the pattern."""
SPECIMEN_ANG = 16.0
"""Resolution up to which frames owe more to the specimen than to the camera."""
FROM_FREQUENCY = 0.5
"""Of the highest one along an axis, from which on the pattern is looked for."""
SURE = 5.0
"""Standard errors from which on a pattern is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingPattern:
    """A pattern that does not move, of the same share of a frame's power at all frequencies."""

    share: float

    def products(
        self, patches: Patches, field: Float64, brightness: Float64, power: Float64
    ) -> Float64:  # (ring, 1 + lag)
        """What `Patches.products` owe to it, but for the power itself.

        Parameters
        ----------
        field
            Displacements (patch, frame, yx) by which frames were moved back.
        brightness
            Electrons in each frame relative to a usual one.
        power
            (ring,), of one frequency of one usual frame.
        """
        lags = usable_lags(len(brightness))
        alone = _products_of_still(patches, field, brightness, lags)[:, 1:]
        return np.asarray(self.share * power[:, None] * alone)

    def derivatives(
        self, patches: Patches, field: Float64, brightness: Float64, weights: NDArray[np.float32], power: Float64
    ) -> Float64:  # (patch, frame, 4)
        """What slopes and curvatures of `Patches.derivatives` owe to it, with those weights."""
        still = _still(patches, brightness)
        scaled = weights.copy()
        scaled[:2] *= (self.share * power).astype(np.float32)[patches.rings()]
        frequencies = (patches.frequency_y, patches.frequency_x)
        terms = np.empty((*field.shape[:2], 8))

        def derive(patch: int) -> None:
            patch_derivatives(still, _ramps(patches, field[patch]), scaled, frequencies, terms[patch])

        for_each(derive, range(len(field)))
        return terms[..., :4]


def find_standing_pattern(
    patches: Patches,
    track_px_yx: Float64,  # (frame, yx)
    brightness: Float64,  # (frame,)
) -> StandingPattern | None:
    """Look for what frames share where they lie in the camera, beyond what the specimen shares there.

    Both kinds of sharing are seen twice: as frames lie, and moved back along the rough track. None: nothing certain, as
    where coarse structure does not agree better along the track: then it is the specimen that stands still.
    """
    lags = usable_lags(len(brightness))[::-2]
    members = np.bincount(patches.rings().ravel()).astype(np.float64)
    values = int(members.sum()) * len(brightness) * len(patches.places_yx)
    some = patches.thinned(max(1, values // ENOUGH_VALUES))
    count = len(some.places_yx)
    fields = [np.repeat(track[None], count, axis=0) for track in (track_px_yx, np.zeros_like(track_px_yx))]
    moved, as_it_lies = (some.products(field, lags) for field in fields)
    still = _products_of_still(patches, track_px_yx[None], brightness, lags)[:, 2:]
    power = np.maximum(moved[:, 0] / (members * count * brightness.sum()), 1e-30)[:, None]
    moved, as_it_lies = moved[:, 2:] / power, as_it_lies[:, 2:] / power
    pairs = np.outer(brightness, brightness)
    most = members[:, None] * np.array([np.diagonal(pairs, lag).sum() for lag in lags])
    alike, most = still / np.maximum(most, 1e-30), most * count
    frequency = np.arange(len(members)) * max(patches.frequency_y[1], patches.frequency_x[1])
    coarse = frequency <= patches.pixel_size_ang / SPECIMEN_ANG
    fine = frequency >= FROM_FREQUENCY * min(np.abs(patches.frequency_y).max(), patches.frequency_x.max())
    # Both sums hold the same noise where moving them changes little; there nothing can be told.
    followed, chance = (moved - as_it_lies)[coarse].sum(), (most * (1 - alike))[coarse].sum()
    excess, told = (as_it_lies - moved * alike)[fine].sum(), (most * (1 - alike**2))[fine].sum()
    if told <= 0 or followed < SURE * np.sqrt(chance) or excess < SURE * np.sqrt(told / 2):
        return None
    return StandingPattern(share=float(excess / told))


def _products_of_still(patches: Patches, field: Float64, brightness: Float64, lags: NDArray[np.int64]) -> Float64:
    """Products (ring, 2 + lag) of frames that show one bright point in one place, moved back by the field."""
    rings, still = patches.rings(), _still(patches, brightness)
    found = np.zeros((len(field), rings.max() + 1, 2 + len(lags)))

    def multiply(patch: int) -> None:
        patch_products(still, _ramps(patches, field[patch]), rings, lags, found[patch])

    for_each(multiply, range(len(field)))
    return np.asarray(found.sum(axis=0))


def _still(patches: Patches, brightness: Float64) -> NDArray[np.complex64]:  # (frame, y, x)
    shape = len(brightness), len(patches.frequency_y), len(patches.frequency_x)
    return np.ascontiguousarray(np.broadcast_to(brightness[:, None, None], shape), np.complex64)


def _ramps(
    patches: Patches, displacement_px_yx: Float64
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:  # (frame, y), (frame, x)
    turns = displacement_px_yx[:, :1] * patches.frequency_y, displacement_px_yx[:, 1:] * patches.frequency_x
    along_y, along_x = (np.exp(2j * np.pi * turn).astype(np.complex64) for turn in turns)
    return along_y, along_x
