"""Particles of a known diameter, found as dark discs in bright surroundings.

The micrograph is shrunk until a particle is some 14 pixels wide and compared with a disc minus the ring
around it, which answers to shells and globules alike and is blind to slow changes of the ice (a flat-topped
relative of the Laplacian of a Gaussian, N. Voss et al., Journal of Structural Biology 166 (2009) 205). The
answer is measured in standard deviations of the counting noise, so a picture without particles has no picks;
where there are particles, their own usual answer sets the threshold. Carbon and contamination are masked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cryodaq.errors import ImagingError
from cryodaq.imaging.picking_mask import find_unusable, painted_over
from cryodaq.imaging.soundness import check_micrograph

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

DIAMETER_PX = 14
"""Diameter of a particle in the shrunken micrograph."""
SCALES = (0.85, 1.0)
"""Discs that are tried, in diameters: what looks solid is a little smaller than the particle."""
SURROUNDINGS = 1.5
"""Outer over inner radius of the ring around the disc."""
CENTRE_SCALE, CENTRE_REACH = 0.9, 0.15
"""Diameter of the mound that finds a pick's centre, and how far it may lie from the disc's, in diameters: a particle
that is narrower than the disc fits into it in many places. A wider mound sees neighbours, a narrower one finds walls of
shells."""
NOISE_PEAKS = 9.3
"""Peaks of pure noise above a score z, for each disc that the area holds, over z·exp(-z² / 2); counted."""
MOST_NOISE_SHARE, MOST_NOISE_NEARBY, MOST_NOISE_PICKS = 0.05, 0.6, 1.5
"""Noise among the picks: its share of all, or else its share of those that score about the same, and how many of it
are let pass in any case."""
FAINTEST_NOISE_SHARE = 0.2
"""Noise among all picks, however many particles there are among the faintest ones."""
LEAST_FREE = 0.2
"""Share of the area in which noise may still be picked, however many picks there are."""
MOST_BRIGHT = 0.7
"""Bright discs per dark one above which neither are particles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickOptions:
    """What a site may choose about picking; lengths in particle diameters."""

    least_score: float = 3.0
    """Standard deviations of the noise below which nothing is picked."""
    least_share: float = 0.5
    """Share of the particles' usual score that a pick needs."""
    distance: float = 0.7
    """Between two picks."""
    edge_distance: float = 0.5
    """From the border of the micrograph and of masked areas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """Particles of one micrograph, best first."""

    coordinates_px_xy: Float  # (pick, xy), pixels of the micrograph, the first pixel's centre is 0
    scores: Float  # (pick,), standard deviations of the noise
    masked_fraction: float
    """Share of the micrograph in which nothing is picked, 0 to 1."""
    mask: Mask
    """(y, x) of the shrunken micrograph: True where nothing is picked."""


def pick_particles(
    micrograph: NDArray[np.floating],  # (y, x)
    *,
    pixel_size_ang: float,
    diameter_ang: float,
    options: PickOptions | None = None,
) -> Picks:
    """Find particles, dark on bright.

    Parameters
    ----------
    pixel_size_ang
        Å/px.
    diameter_ang
        Of the particle, along its longer axis.

    Raises
    ------
    ImagingError
        When the diameter does not go with the micrograph, or the micrograph is empty.
    """
    options = options or PickOptions()
    diameter_px = _checked_diameter(micrograph, pixel_size_ang, diameter_ang)
    factor = max(1, int(diameter_px / DIAMETER_PX))
    small = _shrunken(micrograph, factor)
    diameter = diameter_px / factor
    noise = _counting_noise(small)
    templates = _Templates.of(small.shape, diameter)
    half = templates.transformed(small / np.float32(noise))
    answer, bright = templates.discs_answer(half)
    mask = find_unusable(small, answer, diameter=diameter)
    if mask.any():
        # Beside dirt and its fringes even ice looks dark or bright: they are painted over.
        half = templates.transformed(painted_over(small, mask, diameter=diameter) / np.float32(noise))
        answer, bright = templates.discs_answer(half)
    usable = _away_from_edges(mask, options.edge_distance * diameter)
    apart = options.distance * diameter
    places, scores = _maxima(answer, usable & (answer > options.least_score), apart)
    bright_scores = _maxima(bright, usable & (bright > options.least_score), apart)[1]
    chosen = scores >= _threshold(scores, bright_scores, discs=float(usable.sum()) / diameter**2, options=options)
    places, scores = places[chosen], scores[chosen]
    mounds = templates.answer(half, templates.mound)
    centres = _between_pixels(mounds, _centred(places, np.where(usable, mounds, -np.inf), CENTRE_REACH * diameter))
    kept = _best_of_near(centres, apart)
    coordinates = (centres[kept] + 0.5) * factor - 0.5
    return Picks(
        coordinates_px_xy=np.ascontiguousarray(coordinates[:, ::-1], dtype=np.float32),
        scores=scores[kept].astype(np.float32),
        masked_fraction=float(mask.mean()),
        mask=mask,
    )


def _checked_diameter(micrograph: NDArray[np.floating], pixel_size_ang: float, diameter_ang: float) -> float:
    check_micrograph(micrograph)
    if not 0.05 <= pixel_size_ang <= 30:
        problem = f"the pixel size is {pixel_size_ang:g} Å, but only 0.05 to 30 Å make sense; correct it"
        raise ImagingError(problem)
    diameter_px = diameter_ang / pixel_size_ang
    if not 4 <= diameter_px <= min(micrograph.shape) / 3:
        problem = (
            f"a particle of {diameter_ang:g} Å is {diameter_px:.0f} pixels wide in a micrograph of "
            f"{micrograph.shape[1]} x {micrograph.shape[0]}; correct the diameter or the pixel size"
        )
        raise ImagingError(problem)
    return float(diameter_px)


def _shrunken(micrograph: NDArray[np.floating], factor: int) -> Float:
    """Mean of squares of pixels; what does not fill a last square is left out."""
    height, width = (n // factor * factor for n in micrograph.shape)
    rows = micrograph[:height, :width].reshape(height // factor, factor, width).sum(axis=1, dtype=np.float32)
    small = rows.reshape(height // factor, width // factor, factor).mean(axis=2)
    if small.min() == small.max():
        raise ImagingError("what the micrograph shows is much finer than the particle; correct the diameter")
    return np.asarray(small, dtype=np.float32)


def _counting_noise(small: Float) -> float:
    """Standard deviation of a pixel's noise, from differences between neighbours, where particles are smooth."""
    bend = small[:, :-2] - 2 * small[:, 1:-1] + small[:, 2:]
    rough = bend[:-2:2] - 2 * bend[1:-1:2] + bend[2::2]
    return max(1.4826 * float(np.median(np.abs(rough))) / 6, 1e-12 + 1e-6 * float(small.std()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Templates:
    """Transforms of what a micrograph is compared with; all answers are in greys of one pixel's noise."""

    size: tuple[int, ...]
    """Of the micrograph, (y, x)."""
    padded: list[int]
    reach: int
    """Width of the border around the micrograph, which mirrors it."""
    discs: list[NDArray[np.complex64]]
    mound: NDArray[np.complex64]

    @classmethod
    def of(cls, size: tuple[int, ...], diameter: float) -> _Templates:
        reach = int(SURROUNDINGS * max(SCALES) * diameter / 2 + 1.5)
        padded = [scipy.fft.next_fast_len(n + 2 * reach, real=True) for n in size]
        distance = np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1])

        def transform(radius: float, mound: Float64 | float) -> NDArray[np.complex64]:
            disc = np.clip(radius - distance + 0.5, 0, 1)
            ring = np.clip(SURROUNDINGS * radius - distance + 0.5, 0, 1) - disc
            disc *= mound
            template = ring / ring.sum() - disc / disc.sum()
            return np.asarray(scipy.fft.rfft2((template / np.linalg.norm(template)).astype(np.float32), s=padded))

        middle = CENTRE_SCALE * diameter / 2
        return cls(
            size=size,
            padded=padded,
            reach=reach,
            discs=[transform(scale * diameter / 2, 1.0) for scale in SCALES],
            mound=transform(middle, np.clip(1 - (distance / (middle + 0.5)) ** 2, 0, None)),
        )

    def transformed(self, small: Float) -> NDArray[np.complex64]:
        return np.asarray(scipy.fft.rfft2(np.pad(small - small.mean(), self.reach, mode="reflect"), s=self.padded))

    def answer(self, half: NDArray[np.complex64], template: NDArray[np.complex64]) -> Float:
        """Templates are their own mirror images: convolution and correlation are the same."""
        start = 2 * self.reach
        whole = scipy.fft.irfft2(half * template, s=self.padded)
        return np.asarray(whole[start : start + self.size[0], start : start + self.size[1]])

    def discs_answer(self, half: NDArray[np.complex64]) -> tuple[Float, Float]:
        """How much darker than its surroundings a disc is, and how much brighter."""
        answers = [self.answer(half, disc) for disc in self.discs]
        return np.maximum.reduce(answers), -np.minimum.reduce(answers)


def _away_from_edges(mask: Mask, distance: float) -> Mask:
    """Where a pick may lie; the mask itself already keeps its distance."""
    # A pixel's centre lies half a pixel within its border.
    edge = max(0, int(np.ceil(distance - 0.5)))
    inner = np.zeros(mask.shape, np.bool_)
    inner[edge : mask.shape[0] - edge, edge : mask.shape[1] - edge] = True
    return np.asarray(~mask & inner)


def _maxima(answer: Float, usable: Mask, distance: float) -> tuple[NDArray[np.int64], Float64]:
    """(pick, yx) and scores of local maxima, best first, none nearer than `distance` to a better one."""
    y, x = np.nonzero(usable)
    rows, columns = (
        np.clip(n + np.array([[-1], [0], [1]]), 0, size - 1) for n, size in zip((y, x), answer.shape, strict=True)
    )
    tallest = answer[rows[:, None], columns[None, :]].max(axis=(0, 1)) <= answer[y, x]
    y, x = y[tallest], x[tallest]
    order = np.argsort(-answer[y, x], kind="stable")
    places = np.stack([y, x], axis=1)[order]
    places = places[_best_of_near(places, distance)]
    return places, np.asarray(answer[places[:, 0], places[:, 1]])


def _best_of_near(places: NDArray[np.int64] | Float64, distance: float) -> Mask:  # (pick,)
    """Leave out what is nearer than `distance` to something that is kept and stands before it."""
    kept = np.ones(len(places), np.bool_)
    if not len(places):
        return kept
    tree = cKDTree(places)
    for place, near in enumerate(tree.query_ball_tree(tree, distance)):
        if kept[place]:
            kept[[other for other in near if other > place]] = False
    return kept


def _centred(places: NDArray[np.int64], mounds: Float, reach: float) -> NDArray[np.int64]:
    """(pick, yx) of the best mounds within `reach` of picks."""
    steps = np.arange(-int(reach), int(reach) + 1)
    near = np.array([(y, x) for y in steps for x in steps if np.hypot(y, x) <= reach])
    y, x = (np.clip(places[:, [axis]] + near[:, axis], 0, mounds.shape[axis] - 1) for axis in (0, 1))
    best = mounds[y, x].argmax(axis=1)[:, None]
    return np.concatenate([np.take_along_axis(y, best, 1), np.take_along_axis(x, best, 1)], axis=1)


def _threshold(scores: Float64, bright_scores: Float64, *, discs: float, options: PickOptions) -> float:
    """Least score of a particle; scores are sorted, best first, `discs` is how many would fill the usable area.

    Few of what is picked can be noise, whose tallest peaks are known (R. Adler's count of maxima of a smooth
    Gaussian field); more may be, as long as a fainter pick is still more often a particle. Where bright discs are as
    many as dark ones, both are structure of the ice. And a pick scores half of what the particles usually do, so
    that their fragments stay away.
    """
    above = np.arange(1, len(scores) + 1)
    # Around a better pick there is no room for noise.
    free = np.maximum(discs - np.pi * options.distance**2 * above, LEAST_FREE * discs)
    noise = NOISE_PEAKS * free * scores * np.exp(-0.5 * scores**2)
    bright = np.searchsorted(-bright_scores, -scores, side="right")
    credible = (
        (scores >= options.least_score)
        & (
            (noise <= np.maximum(MOST_NOISE_PICKS, MOST_NOISE_SHARE * above))
            | ((noise <= FAINTEST_NOISE_SHARE * above) & (_rise(noise) <= MOST_NOISE_NEARBY))
        )
        & (bright <= MOST_BRIGHT * above)
    )
    if not credible.any():
        return float("inf")
    least = threshold = float(scores[np.flatnonzero(credible)[-1]])
    for _ in range(10):
        threshold = max(least, options.least_share * float(np.median(scores[scores >= threshold])))
    return threshold


def _rise(noise: Float64) -> Float64:
    """Noise per pick, among those that score about the same as each."""
    rank = np.arange(len(noise))
    beside = np.maximum(5, rank // 20)
    first, last = np.maximum(rank - beside, 0), np.minimum(rank + beside, len(noise) - 1)
    return np.asarray((noise[last] - noise[first]) / np.maximum(last - first, 1))


def _between_pixels(answer: Float, places: NDArray[np.int64]) -> Float64:
    """(pick, yx) of maxima between pixels, by parabolas."""
    y, x = np.clip(places, 1, np.array(answer.shape) - 2).T
    fine = places.astype(np.float64)
    for axis, (before, after) in enumerate(
        ((answer[y - 1, x], answer[y + 1, x]), (answer[y, x - 1], answer[y, x + 1]))
    ):
        bend = 2 * answer[y, x] - before - after
        fine[:, axis] += np.clip((after - before) / np.maximum(2 * bend, 1e-12), -0.5, 0.5)
    return fine
