"""How the parts of the field moved: one smooth field fitted to the correlations of all patches at once.

Each patch of each frame is correlated with that patch in the other frames, moved by what is known so far; near
frames count more than distant ones where the picture changes with the dose (`frame_likeness`). Slope and curvature
of the correlation say where the patch is, and how well that is known. No patch is
believed by itself: the measurements of all patches give the coefficients of a smooth field, ordered from uniform
motion to ever finer structure, and the history of each order is smoothed as much as its own noise asks for.
Orders in which nothing moves thus vanish, and where the data are rich they speak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.drift import find_jumps
from cryodaq.imaging.frame_likeness import FrameLikeness, frame_likeness, usable_lags
from cryodaq.imaging.motion_field import MotionField, basis, degrees_for
from cryodaq.imaging.patches import Patches
from cryodaq.imaging.standing_pattern import StandingPattern, find_standing_pattern
from cryodaq.imaging.trajectory import FrameErrors, likeliest_flow, likeliest_noise, likeliest_tracks

Float64 = NDArray[np.float64]

COARSE_PASSES_ANG = (28.0, 16.0)
"""Resolution of the first passes, which must find what is still far away."""
MOST_FINE_PASSES = 6
SETTLED_ANG = 0.03
"""Change of the field from pass to pass, RMS in Å, that no picture shows."""
SAME_LIKENESS_ANG = 0.15
"""Change of the field, RMS in Å, that makes frames neither more nor less alike at the frequencies of patches."""
SEEN = 6.0
"""Standard errors by which frames must agree in a coarse pass, and half of what it must be in a fine one.

Weights that are found in the same frames, and the search for the rough track, make frames of nothing but noise agree
by 1 to 5, at fine resolution by 4 to 9; those of specimens agree by 12 to 60 in one or the other.
"""
LEAST_CURVATURE = 0.05
"""Of the mean of all patches: a patch that shows nothing still counts a little, against its own nonsense."""


def estimate_field(
    patches: Patches,
    patches_yx: tuple[int, int],
    *,
    track_px_yx: Float64,  # (frame, yx)
    shape_yx: tuple[int, int],
    local: bool,
    brightness: Float64,  # (frame,)
) -> MotionField:
    """Find the motion of the field, starting from the rough track of the whole.

    Parameters
    ----------
    patches_yx
        Rows and columns of patches.
    shape_yx
        Of the raw frames.
    local
        Whether parts may move against each other.
    brightness
        Electrons in each frame relative to the mean: how well it can be measured.
    """
    degrees = degrees_for(patches_yx)
    fit = FieldFit(terms=basis(patches.places_yx, degrees), orders=np.array([sum(pair) for pair in degrees]))
    highest = int(fit.orders[-1]) if local else 0
    coefficients = np.zeros((len(track_px_yx), len(degrees), 2))
    coefficients[:, 0] = track_px_yx
    jumps = find_jumps(track_px_yx, pixel_size_ang=patches.pixel_size_ang)
    passes = [patches.cropped(limit) for limit in COARSE_PASSES_ANG] + [patches] * MOST_FINE_PASSES
    likeness, compared, compared_at = None, None, np.zeros((len(fit.terms), *track_px_yx.shape))
    steps, seen = Steps(), False
    standing = find_standing_pattern(patches, track_px_yx, brightness)
    for visible in passes:
        field = np.einsum("pk,fkd->pfd", fit.terms, coefficients)
        if likeness is None or compared is not visible or _change_ang(patches, compared_at, field) > SAME_LIKENESS_ANG:
            likeness, compared, compared_at = _likeness(visible, field, brightness, standing), visible, field
            steps.forget()
        places = _measure(visible, field, brightness, likeness, standing)
        seen = seen or places.certainty >= SEEN * (2 if visible is patches else 1)
        if not seen:
            # Where the rough track leads is chance: whatever can be seen is near rest, or nowhere.
            coefficients = np.zeros_like(coefficients)
            if visible is patches:
                break
            continue
        if steps.is_better(places.agreement):
            steps.take(coefficients, fit.coefficients(places, highest_order=highest, jumps=jumps), places.agreement)
        coefficients = steps.coefficients()
        found = np.einsum("pk,fkd->pfd", fit.terms, coefficients)
        if visible is patches and _change_ang(patches, field, found) < SETTLED_ANG:
            break
    return MotionField(degrees_yx=degrees, coefficients=coefficients - coefficients[0], shape_yx=shape_yx)


class Steps:
    """Steps from one field to the next, halved for good whenever one led to frames that agree less.

    How surely frames fix each other's place is known for all patches together. Where a few patches show far more than
    all others (carbon), slow motion in them is known better than that, and a whole step goes too far: the same way
    back in the next pass, or ever further.
    """

    def __init__(self) -> None:
        self._start = self._target = np.zeros(0)
        self._agreement = -np.inf
        self._share = 1.0

    def forget(self) -> None:
        """Frames are compared in another way from now on: what they agreed before says nothing."""
        self._agreement = -np.inf

    def is_better(self, agreement: float) -> bool:
        """Whether the field that the last step led to is as good as the one before; if not, steps become half."""
        better = agreement >= self._agreement
        if not better:
            self._share /= 2
        return better

    def take(self, start: Float64, target: Float64, agreement: float) -> None:
        """Go on from the coefficients (frame, term, yx) at which frames agree so much, towards others."""
        self._start, self._target, self._agreement = start, target, agreement

    def coefficients(self) -> Float64:  # (frame, term, yx)
        """Where the last step leads."""
        if self._share == 1.0:
            return self._target
        return np.asarray(self._start + self._share * (self._target - self._start))


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where each patch was found in each frame, and how surely."""

    position: Float64  # (patch, frame, yx), pixels
    precision: Float64  # (patch, yx), 1/pixels²: how surely a usual frame's place is known
    errors: FrameErrors
    agreement: float
    """Of all frames of all patches before they were moved to these places, weighted as they were compared."""
    certainty: float
    """That agreement in standard errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFit:
    """Turns measured displacements of patches into coefficients of a smooth field."""

    terms: Float64  # (patch, term)
    orders: NDArray[np.int64]  # (term,), rising

    def coefficients(
        self,
        places: Places,
        *,
        highest_order: int,
        jumps: tuple[int, ...] = (),
    ) -> Float64:  # (frame, term, yx)
        """Fit all patches at once; orders above the highest stay 0, and only the whole field may jump."""
        count = self.terms.shape[1]
        scores, solvers = [], []
        for axis in (0, 1):
            root = np.sqrt(places.precision[:, axis])
            # Nested and independent: each column holds what the coarser ones could not say, with unit noise.
            columns, solver = np.linalg.qr(root[:, None] * self.terms, mode="complete")
            scores.append(columns.T @ (root[:, None] * places.position[..., axis]))
            solvers.append(solver[:count])
        noise = likeliest_noise(np.concatenate([score[count:] for score in scores]), places.errors)
        found = np.zeros((places.position.shape[1], count, 2))
        for order in range(highest_order + 1):
            members = np.flatnonzero(self.orders == order)
            if order == 0:
                # The whole field has so much to say that each direction speaks for itself.
                smooth = np.concatenate([likeliest_tracks(score[members], noise, jumps=jumps) for score in scores])
            else:
                smooth = likeliest_flow(np.concatenate([score[members] for score in scores]), noise)
            found[:, members, 0], found[:, members, 1] = np.split(smooth.T, 2, axis=1)
        for axis in (0, 1):
            found[..., axis] = np.linalg.solve(solvers[axis], found[..., axis].T).T
        return found


def _change_ang(patches: Patches, before: Float64, after: Float64) -> float:
    """RMS change of a field (patch, frame, yx), Å; where all frames of a patch lie together, nothing says."""
    change = after - before
    change -= change.mean(axis=1, keepdims=True)
    return float(np.sqrt((change**2).sum(axis=2).mean())) * patches.pixel_size_ang


def _likeness(patches: Patches, field: Float64, brightness: Float64, standing: StandingPattern | None) -> FrameLikeness:
    """How alike frames are that are moved by the field (patch, frame, yx)."""
    products = patches.products(field, usable_lags(len(brightness)))
    members = np.bincount(patches.rings().ravel()).astype(np.float64) * len(field)
    if standing is not None:
        power = products[:, 0] / (members * brightness.sum())
        products[:, 1:] -= standing.products(patches, field, brightness, power)
    return frame_likeness(products, members, brightness)


def _measure(
    patches: Patches, field: Float64, brightness: Float64, likeness: FrameLikeness, standing: StandingPattern | None
) -> Places:
    """Compare each frame of each patch with the others, moved by the field (patch, frame, yx) known so far."""
    rings, emphasis = patches.rings(), patches.without_long_waves()
    lasting, passing = (emphasis * weight[rings] for weight in likeness.weights(len(brightness)))
    weights = np.stack([lasting, passing, likeness.fading[rings]]).astype(np.float32)
    terms = patches.derivatives(field, weights)
    if standing is not None:
        terms[..., :4] -= standing.derivatives(patches, field, brightness, weights, likeness.power)
    spread = np.maximum(terms[..., 4:6].mean(axis=1) / 2, 1e-30)
    curvature = _curvature(terms, loudness=np.sqrt(spread)) * 2 * np.pi
    information = likeness.information(brightness, _ring_sum(emphasis * rings**2.0, rings))
    errors = FrameErrors.from_information(information)
    step = np.einsum("fg,pgd->pfd", errors.covariance, terms[..., :2]) / curvature[:, None, :]
    wavelength = 1 / max(np.abs(patches.frequency_y).max(), patches.frequency_x.max())
    return Places(
        position=field + np.clip(step, -wavelength, wavelength),
        precision=curvature**2 / spread,
        errors=errors,
        agreement=float(terms[..., 2:4].sum()),
        certainty=_certainty(terms),
    )


def _certainty(terms: Float64) -> float:
    """Agreement of all frames of all patches over its own standard error, mean of both axes."""
    agreement, variance = terms[..., 2:4].sum(axis=(0, 1)), terms[..., 6:8].sum(axis=(0, 1))
    return float(np.mean(agreement / np.sqrt(variance + 1e-30)))


def _ring_sum(values: NDArray[np.floating], rings: NDArray[np.int64]) -> Float64:
    return np.asarray(np.bincount(rings.ravel(), values.ravel()))


def _curvature(
    terms: Float64,
    *,
    loudness: Float64,  # (patch, yx)
) -> Float64:  # (patch, yx)
    """Mean curvature of each patch's correlation, drawn towards that of all patches where it is uncertain.

    Where few electrons arrive (gold, a bar of the grid), slopes of nothing but noise are small as well. What is
    usual there is less in the same proportion, else the noise of such a patch would pass for a sure place.
    """
    mean = terms[..., 2:4].mean(axis=1)
    # Every pair of frames is counted twice.
    variance = terms[..., 6:8].mean(axis=1) / terms.shape[1]
    typical = np.maximum(mean.mean(axis=0), np.sqrt(variance.mean(axis=0)) / len(terms)) + 1e-30
    typical = typical * loudness / loudness.mean(axis=0)
    scatter = (typical / 2) ** 2
    drawn = (mean * scatter + typical * variance) / (scatter + variance)
    return np.asarray(np.maximum(drawn, LEAST_CURVATURE * typical))
