"""How alike the frames of a movie are, at each frequency and with the number of frames between them.

Two parts of the picture stay the same from frame to frame: the specimen's own structure, which lasts, and the
pattern of the ice, whose molecules the beam shakes, so that it is lost within a few frames
(G. McMullan et al., Ultramicroscopy 158 (2015) 26). The ice says much about how a frame lies against its
neighbours and nothing about distant ones; which frames a frame is compared with, and how much each of them
counts, follows from the likeness found here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Float64 = NDArray[np.float64]

RING_BLUR = 2.0
"""Rings of frequency that are taken together, standard deviation."""
FADINGS = np.linspace(0.05, 0.95, 19)
"""What may be left of the ice's pattern one frame later."""
LAGS = (1, 2, 3, 5, 8, 13, 21, 34, 55)
"""Frames apart at which likeness is looked at, besides that of all frames with all others."""
FADING_FRAMES = 4
"""With fewer frames nothing tells what fades from what lasts."""
CERTAINTY = 1.0
"""Standard errors that a likeness must exceed to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLikeness:
    """Correlation of two frames `lag` apart is lasting + passing · fading^lag, ring by ring."""

    lasting: Float64  # (ring,)
    passing: Float64  # (ring,)
    fading: Float64  # (ring,)
    power: Float64  # (ring,), of one usual frame, signal and noise

    def at(self, lags: NDArray[np.int64]) -> Float64:
        """(lag, ring), signal that is shared over signal and noise of one frame."""
        return np.asarray(self.lasting + self.passing * self.fading ** lags[:, None])

    def weights(self, frame_count: int) -> tuple[Float64, Float64]:
        """Weights (ring,) of the lasting and of the passing part that make a comparison most certain.

        Those of the likeliest displacement of Gaussian signals; where the signal is strong, more of it says no more.
        """
        lags = np.arange(1, frame_count)
        others = 2 / frame_count * ((frame_count - lags) @ self.at(lags))
        noise = np.maximum(1 - self.lasting - self.passing, 1e-3)
        scale = 1 / ((noise + others) * np.maximum(self.power, 1e-30))
        return self.lasting * scale, self.passing * scale

    def information(
        self,
        brightness: Float64,  # (frame,)
        emphasis: Float64,  # (ring,)
    ) -> Float64:  # (frame, frame)
        """How well pairs of frames fix each other's place: a Laplacian whose diagonal is 1 on average.

        Parameters
        ----------
        brightness
            Electrons in each frame relative to a usual one.
        emphasis
            Of each ring in the comparison: its number of frequencies times their square.
        """
        frame_count = len(brightness)
        lasting, passing = self.weights(frame_count)
        lags = np.arange(frame_count)
        weight = lasting + passing * self.fading ** lags[:, None]
        by_lag = (weight * self.at(lags) * self.power) @ emphasis
        apart = np.abs(np.subtract.outer(lags, lags))
        shared = by_lag[apart] * np.outer(brightness, brightness)
        np.fill_diagonal(shared, 0)
        laplacian = np.diag(shared.sum(axis=1)) - shared
        return np.asarray(laplacian * (frame_count / np.trace(laplacian)))


def usable_lags(frame_count: int) -> NDArray[np.int64]:
    """Return those of `LAGS` that a movie has."""
    return np.array([lag for lag in LAGS if lag < frame_count], dtype=np.int64)


def frame_likeness(
    products: Float64,  # (ring, 2 + lag)
    members: Float64,  # (ring,)
    brightness: Float64,  # (frame,)
) -> FrameLikeness:
    """Fit the likeness to the correlations found.

    Parameters
    ----------
    products
        Sums over each ring: of the power of all frames; of the products of all pairs of frames; of the products of
        pairs that are `usable_lags` apart.
    members
        Independent frequencies in each ring.
    brightness
        Electrons in each frame relative to a usual one.
    """
    frame_count = len(brightness)
    lags = usable_lags(frame_count)
    pairs = np.outer(brightness, brightness)
    of_lags = [float(np.diagonal(pairs, lag).sum()) for lag in lags]
    counted = np.array([np.triu(pairs, 1).sum(), *of_lags])
    blurred = gaussian_filter1d(products, RING_BLUR, axis=0)
    together = gaussian_filter1d(members, RING_BLUR) + 1e-30
    power = blurred[:, 0] / (together * brightness.sum())
    shares = blurred[:, 1:] / ((power * together)[:, None] * counted + 1e-30)
    # Blurring adds up 2·√π·blur rings; the real part of a product has half of its variance.
    certainty = 2 * together * (2 * np.sqrt(np.pi) * RING_BLUR)
    lasting, passing, fading = _fit(shares, counted, certainty, frame_count)
    if not (lasting.any() or passing.any()):
        lasting[1:] = 1e-3
    return FrameLikeness(lasting=lasting, passing=passing, fading=fading, power=power)


def _fit(
    shares: Float64,  # (ring, 1 + lag)
    counted: Float64,  # (1 + lag,)
    certainty: Float64,  # (ring,), 1 / variance of one pair's share
    frame_count: int,
) -> tuple[Float64, Float64, Float64]:
    """Lasting and passing part and fading of each ring by weighted least squares; none is below 0."""
    least = CERTAINTY / np.sqrt(certainty * counted.sum())
    alone = np.clip(shares @ counted / counted.sum(), 0, None)
    best = np.stack([np.clip(alone - least, 0, 0.99), np.zeros_like(alone), np.zeros_like(alone)])
    misfit = ((shares - alone[:, None]) ** 2) @ counted
    for fading in FADINGS if frame_count >= FADING_FRAMES else ():
        shape = _fading_of_pairs(fading, frame_count)
        weighted = counted * shape
        sums = np.array([[counted.sum(), weighted.sum()], [weighted.sum(), weighted @ shape]])
        lasting, passing = np.linalg.solve(sums, np.stack([shares @ counted, shares @ weighted]))
        passing = np.where(lasting < 0, shares @ weighted / sums[1, 1], passing)
        lasting, passing = np.clip(lasting, 0, None), np.clip(passing, 0, None)
        left = ((shares - lasting[:, None] - passing[:, None] * shape) ** 2) @ counted
        better = (left < misfit) & (passing > CERTAINTY / np.sqrt(certainty * sums[1, 1]))
        unsure = CERTAINTY / np.sqrt(certainty * sums[1, 1])
        found = [np.clip(lasting - least, 0, 0.99), np.clip(passing - unsure, 0, 0.99), np.full_like(left, fading)]
        best = np.where(better, found, best)
        misfit = np.where(better, left, misfit)
    return best[0], best[1], best[2]


def _fading_of_pairs(fading: float, frame_count: int) -> Float64:  # (1 + lag,)
    """What is left of a fading likeness in all pairs on average, and in those of each lag."""
    lags = np.arange(1, frame_count)
    left = fading**lags
    return np.concatenate(
        [[(frame_count - lags) @ left / (frame_count - lags).sum()], fading ** usable_lags(frame_count)]
    )
