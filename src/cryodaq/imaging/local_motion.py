"""How the parts of the field moved: one smooth field fitted to the correlations of all patches at once.

Each patch of each frame is correlated with the sum of that patch over all other frames, moved by what is known so
far. Slope and curvature of the correlation say where the patch is, and how well that is known. No patch is
believed by itself: the measurements of all patches give the coefficients of a smooth field, ordered from uniform
motion to ever finer structure, and the history of each order is smoothed as much as its own noise asks for.
Orders in which nothing moves thus vanish, and where the data are rich they speak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cryodaq.imaging.compiled import for_each
from cryodaq.imaging.drift import find_jumps
from cryodaq.imaging.motion_field import MotionField, basis, degrees_for
from cryodaq.imaging.patches import PatchSpectra
from cryodaq.imaging.shift_kernels import patch_derivatives, patch_halves
from cryodaq.imaging.trajectory import likeliest_noise, likeliest_tracks

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

COARSE_PASSES_ANG = (28.0, 16.0)
"""Resolution of the first passes, which must find what is still far away."""
FINE_PASSES = 4
RING_BLUR = 2.0
EVEN_BRIGHTNESS = 0.15
LEAST_CURVATURE = 0.05
"""Of the mean of all patches: a patch that shows nothing still counts a little, against its own nonsense."""


def estimate_field(
    patches: PatchSpectra,
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
    even = bool(np.ptp(brightness) <= EVEN_BRIGHTNESS)
    fit = FieldFit(
        terms=basis(patches.places_yx, degrees),
        orders=np.array([sum(pair) for pair in degrees]),
        spread=() if even else tuple(float(value) for value in np.round(1 / brightness, 2)),
    )
    highest = int(fit.orders[-1]) if local else 0
    coefficients = np.zeros((len(track_px_yx), len(degrees), 2))
    coefficients[:, 0] = track_px_yx
    jumps = find_jumps(track_px_yx, pixel_size_ang=patches.pixel_size_ang)
    passes = [patches.cropped(limit) for limit in COARSE_PASSES_ANG] + [patches] * FINE_PASSES
    for visible in passes:
        field = np.einsum("pk,fkd->pfd", fit.terms, coefficients)
        position, precision = _measure(visible, field, brightness)
        coefficients = fit.coefficients(position, precision, highest_order=highest, jumps=jumps)
    return MotionField(degrees_yx=degrees, coefficients=coefficients - coefficients[0], shape_yx=shape_yx)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFit:
    """Turns measured displacements of patches into coefficients of a smooth field."""

    terms: Float64  # (patch, term)
    orders: NDArray[np.int64]  # (term,), rising
    spread: tuple[float, ...]  # (frame,), variance of measurements, relative; empty where frames are alike

    def coefficients(
        self,
        position: Float64,  # (patch, frame, yx)
        precision: Float64,  # (patch, yx), 1 / variance of each frame's position
        *,
        highest_order: int,
        jumps: tuple[int, ...] = (),
    ) -> Float64:  # (frame, term, yx)
        """Fit all patches at once; orders above the highest stay 0, and only the whole field may jump."""
        count = self.terms.shape[1]
        scores, solvers = [], []
        for axis in (0, 1):
            root = np.sqrt(precision[:, axis])
            # Nested and independent: each column holds what the coarser ones could not say, with unit noise.
            columns, solver = np.linalg.qr(root[:, None] * self.terms, mode="complete")
            scores.append(columns.T @ (root[:, None] * position[..., axis]))
            solvers.append(solver[:count])
        noise = likeliest_noise(np.concatenate([score[count:] for score in scores]), spread=self.spread)
        found = np.zeros((position.shape[1], count, 2))
        for order in range(highest_order + 1):
            members = np.flatnonzero(self.orders == order)
            if order == 0:
                # The whole field has so much to say that each direction speaks for itself.
                smooth = np.concatenate([likeliest_tracks(score[members], noise, jumps=jumps) for score in scores])
            else:
                smooth = likeliest_tracks(np.concatenate([score[members] for score in scores]), noise)
            found[:, members, 0], found[:, members, 1] = np.split(smooth.T, 2, axis=1)
        for axis in (0, 1):
            found[..., axis] = np.linalg.solve(solvers[axis], found[..., axis].T).T
        return found


def _measure(patches: PatchSpectra, field: Float64, brightness: Float64) -> tuple[Float64, Float64]:
    """Place of each patch in each frame (patch, frame, yx), and its precision (patch, yx), 1/pixels²."""
    patch_count, frame_count, *shape = patches.spectra.shape
    rings = patches.rings()
    halves = np.zeros((patch_count, 2, *shape), np.complex64)
    ramps = [patches.ramps(field[patch]) for patch in range(patch_count)]
    for_each(lambda patch: patch_halves(patches.spectra[patch], ramps[patch], halves[patch]), range(patch_count))
    weight = (patches.without_long_waves() * _signal_share(halves, rings)[rings]).astype(np.float32)
    terms = np.empty((patch_count, frame_count, 8))
    frequencies = (patches.frequency_y, patches.frequency_x)

    def derive(patch: int) -> None:
        total = halves[patch, 0] + halves[patch, 1]
        patch_derivatives(patches.spectra[patch], ramps[patch], total, weight, frequencies, terms[patch])

    for_each(derive, range(patch_count))
    curvature = _curvature(terms) * 2 * np.pi
    step = terms[..., :2] / (curvature[:, None, :] * brightness[:, None])
    wavelength = 1 / max(np.abs(patches.frequency_y).max(), patches.frequency_x.max())
    spread = terms[..., 4:6].mean(axis=1) / 2
    precision = curvature**2 / np.maximum(spread, 1e-30)
    return field + np.clip(step, -wavelength, wavelength), precision


def _signal_share(halves: Complex, rings: NDArray[np.int64]) -> Float64:  # (ring,)
    """What part of each ring of the sums is signal, over its noise: the weight that makes correlation most certain.

    From the agreement of the sums of even and odd frames (a Wiener filter); it leaves out frequencies where the
    CTF or the detector let nothing through.
    """
    even, odd = halves[:, 0], halves[:, 1]
    shared = _ring_sum((even * np.conj(odd)).real.sum(axis=0), rings)
    power = _ring_sum((np.abs(even) ** 2 + np.abs(odd) ** 2).sum(axis=0) / 2, rings)
    members = np.bincount(rings.ravel()) * float(len(halves))
    agreement = gaussian_filter1d(shared, RING_BLUR) / (gaussian_filter1d(power, RING_BLUR) + 1e-30)
    doubt = 1 / np.sqrt(gaussian_filter1d(members, RING_BLUR) * 2 * np.sqrt(np.pi) * RING_BLUR)
    agreement = np.clip(agreement - doubt, 0, 1)
    if not agreement.any():
        agreement[1:] = 1
    return np.asarray(2 * agreement / (1 + agreement) * members / (power + 1e-30))


def _ring_sum(values: NDArray[np.floating], rings: NDArray[np.int64]) -> Float64:
    return np.asarray(np.bincount(rings.ravel(), values.ravel()))


def _curvature(terms: Float64) -> Float64:  # (patch, yx)
    """Mean curvature of each patch's correlation, drawn towards that of all patches where it is uncertain."""
    mean = terms[..., 2:4].mean(axis=1)
    # Every pair of frames is counted twice.
    variance = terms[..., 6:8].mean(axis=1) / terms.shape[1]
    typical = np.maximum(mean.mean(axis=0), np.sqrt(variance.mean(axis=0)) / len(terms)) + 1e-30
    scatter = (typical / 2) ** 2
    drawn = (mean * scatter + typical * variance) / (scatter + variance)
    return np.asarray(np.maximum(drawn, LEAST_CURVATURE * typical))
