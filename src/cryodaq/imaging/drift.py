"""How the whole field moved during the exposure.

Each frame is correlated with the sum of all others, moved by what is known so far, again and again:
first coarsely, with correlation maps averaged over neighbouring frames, then by slope and curvature of the
correlation at full resolution, each frequency weighted by the signal it was found to carry.
After X. Li et al., Nature Methods 10 (2013) 584, and T. Grant and N. Grigorieff, eLife 4 (2015) e06980.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cryodaq.imaging.compiled import for_each
from cryodaq.imaging.shift_kernels import add_moved, correlate_with_others, correlation_derivatives
from cryodaq.imaging.trajectory import likeliest_track

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

COARSE_PIXEL_ANG = 8.0
REACH_ANG = 80.0
"""How far from its neighbours' mean a frame is looked for at first, Å."""
LONGEST_WAVE_ANG = 300.0
"""Longer waves are illumination rather than specimen, Å."""
COARSE_PASSES = (4.0, 2.0, 2.0, 1.0, 1.0, 0.7, 0.7)
"""Over how many neighbouring frames correlation maps are averaged, pass by pass."""
FINE_PASSES = 4
RING_BLUR = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSpectra:
    """Half Fourier transforms of all frames, with frequencies in cycles per pixel of the raw frames."""

    spectra: Complex  # (frame, y, x)
    frequency_y: Float
    frequency_x: Float
    shape_yx: tuple[int, int]
    pixel_size_ang: float
    """Å per raw pixel."""

    def cropped(self, shape_yx: tuple[int, int]) -> FrameSpectra:
        """Only the low frequencies, as a picture of `shape_yx` would have them; both even."""
        half_y, half_x = shape_yx[0] // 2, shape_yx[1] // 2
        rows = np.r_[0:half_y, self.shape_yx[0] - half_y : self.shape_yx[0]]
        return FrameSpectra(
            spectra=np.ascontiguousarray(self.spectra[:, rows, : half_x + 1]),
            frequency_y=self.frequency_y[rows],
            frequency_x=self.frequency_x[: half_x + 1],
            shape_yx=shape_yx,
            pixel_size_ang=self.pixel_size_ang,
        )

    @property
    def step_px_yx(self) -> Float64:
        """Raw pixels per pixel of a picture of `shape_yx`."""
        periods = np.array([1 / self.frequency_y[1], 1 / self.frequency_x[1]], np.float64)
        return np.asarray(periods / np.array(self.shape_yx))

    def frequency_squared(self) -> Float:
        """(y, x), 1/Å²."""
        square = self.frequency_y[:, None] ** 2 + self.frequency_x[None, :] ** 2
        return np.asarray(square / self.pixel_size_ang**2, dtype=np.float32)

    def ramps(self, displacement_yx: Float64) -> tuple[Complex, Complex]:
        """Phase factors along y and x that move a frame back."""
        turns = (self.frequency_y * displacement_yx[0], self.frequency_x * displacement_yx[1])
        ramp_y, ramp_x = (np.exp(2j * np.pi * turn).astype(np.complex64) for turn in turns)
        return ramp_y, ramp_x

    def total(self, track_yx: Float64, which: range) -> Complex:
        """Sum of some frames, moved back."""
        total = np.zeros(self.spectra.shape[1:], np.complex64)
        for frame in which:
            add_moved(self.spectra[frame], *self.ramps(track_yx[frame]), total)
        return total


def estimate_drift(frames: FrameSpectra, *, b_factor_ang2: float) -> Float64:  # (frame, yx)
    """Displacement of the specimen in each frame relative to frame 0, raw pixels.

    Parameters
    ----------
    b_factor_ang2
        How steeply high frequencies are played down while the track is only roughly known, Å².
    """
    if len(frames.spectra) == 1:
        return np.zeros((1, 2))
    rings = _rings(frames)
    noise = _ring_mean(np.mean([np.abs(spectrum) ** 2 for spectrum in frames.spectra[::8]], axis=0), rings)
    base = _without_long_waves(frames) / noise[rings]
    track = _coarse_track(frames, base * np.exp(-b_factor_ang2 / 4 * frames.frequency_squared()))
    for _ in range(FINE_PASSES):
        weight = (base * _signal_share(frames, track, rings)).astype(np.float32)
        track = _refined(frames, track, weight)
    return np.asarray(track - track[0])


def _rings(frames: FrameSpectra) -> NDArray[np.int64]:
    """Number of the ring of equal frequency that each (y, x) belongs to, one longest wave apart."""
    width = max(frames.frequency_y[1], frames.frequency_x[1])
    radius = np.hypot(frames.frequency_y[:, None], frames.frequency_x[None, :]) / width
    return np.asarray(np.rint(radius), dtype=np.int64)


def _ring_mean(values: NDArray[np.floating], rings: NDArray[np.int64]) -> Float64:
    members = np.bincount(rings.ravel())
    return np.asarray(np.bincount(rings.ravel(), values.ravel()) / np.maximum(members, 1) + 1e-30)


def _without_long_waves(frames: FrameSpectra) -> Float:
    """Weight (y, x) that leaves out illumination and the transform's own edges, and counts both half planes."""
    longest = min(LONGEST_WAVE_ANG, frames.pixel_size_ang / float(3 * frames.frequency_x[1]))
    weight = 1 - np.exp(-0.5 * frames.frequency_squared() * longest**2)
    weight[:, 1:] *= 2
    return np.asarray(weight, dtype=np.float32)


def _coarse_track(frames: FrameSpectra, weight: NDArray[np.floating]) -> Float64:
    """Track from maxima of correlation maps, averaged over ever fewer neighbouring frames."""
    pixel_ang = frames.step_px_yx * frames.pixel_size_ang
    shape = [
        min(2 * (n // 2), max(32, 2 * round(n * ang / COARSE_PIXEL_ANG / 2)))
        for n, ang in zip(frames.shape_yx, pixel_ang, strict=True)
    ]
    coarse = frames.cropped((shape[0], shape[1]))
    rows = np.r_[0 : shape[0] // 2, weight.shape[0] - shape[0] // 2 : weight.shape[0]]
    weight = np.ascontiguousarray(weight[rows, : shape[1] // 2 + 1], dtype=np.float32)
    reach = int(max(2, min(REACH_ANG / COARSE_PIXEL_ANG, min(shape) // 2 - 1)))
    track = np.zeros((len(frames.spectra), 2))
    for neighbours in COARSE_PASSES:
        maps = gaussian_filter1d(_correlation_maps(coarse, track, weight, reach), neighbours, axis=0)
        change = np.array([_peak(around) for around in maps]) * coarse.step_px_yx
        track += change - change.mean(axis=0)
    return track


def _correlation_maps(coarse: FrameSpectra, track: Float64, weight: Float, reach: int) -> Float:
    """(frame, y, x): correlation of each frame with the others, `reach` pixels around its present place."""
    total = coarse.total(track, range(len(track)))
    size = 2 * reach + 1
    maps = np.empty((len(track), size, size), np.float32)

    def correlate(frame: int) -> None:
        product = np.empty_like(total)
        ramps = coarse.ramps(track[frame])
        correlate_with_others(coarse.spectra[frame], *ramps, total, weight, product)
        whole = scipy.fft.irfft2(product, s=coarse.shape_yx)
        maps[frame] = np.roll(whole, (reach, reach), axis=(0, 1))[:size, :size]

    for_each(correlate, range(len(track)))
    return maps


def _peak(around: Float) -> Float64:
    """(y, x) of the maximum relative to the middle of a map, between pixels by parabolas."""
    reach = around.shape[0] // 2
    y, x = np.unravel_index(np.argmax(around[1:-1, 1:-1]), (around.shape[0] - 2, around.shape[1] - 2))
    cross = around[y : y + 3, x + 1], around[y + 1, x : x + 3]
    between = [(c[2] - c[0]) / max(2 * (2 * c[1] - c[0] - c[2]), 1e-30) for c in cross]
    whole = np.array([y + 1 - reach, x + 1 - reach], np.float64)
    return np.asarray(whole + np.clip(between, -0.5, 0.5))


def _signal_share(frames: FrameSpectra, track: Float64, rings: NDArray[np.int64]) -> Float64:
    """(y, x): what part of the sum is signal, from the agreement of the sums of even and odd frames.

    It is the weight that makes the correlation the best estimate (a Wiener filter), and it leaves out
    frequencies where the CTF or the detector let nothing through.
    """
    even, odd = (frames.total(track, range(half, len(track), 2)) for half in (0, 1))
    shared = _ring_mean((even * np.conj(odd)).real, rings)
    power = _ring_mean((np.abs(even) ** 2 + np.abs(odd) ** 2) / 2, rings)
    members = np.bincount(rings.ravel())
    agreement = gaussian_filter1d(shared, RING_BLUR) / gaussian_filter1d(power, RING_BLUR)
    doubt = 1 / np.sqrt(gaussian_filter1d(members.astype(float), RING_BLUR) * 2 * np.sqrt(np.pi) * RING_BLUR)
    agreement = np.clip(agreement - doubt, 0, 1)
    if not agreement.any():
        agreement[1:] = 1
    return np.asarray((2 * agreement / (1 + agreement))[rings])


def _refined(frames: FrameSpectra, track: Float64, weight: Float) -> Float64:
    """One step of Newton's method for each frame, then the likeliest track behind the measured places."""
    total = frames.total(track, range(len(track)))
    terms = np.zeros((len(track), 8))
    frequencies = (frames.frequency_y, frames.frequency_x)

    def measure(frame: int) -> None:
        ramps = frames.ramps(track[frame])
        correlation_derivatives(frames.spectra[frame], ramps, total, weight, frequencies, terms[frame])

    for_each(measure, range(len(track)))
    mean = terms.mean(axis=0)
    curvature = np.array([[mean[2], mean[3]], [mean[3], mean[4]]]) * 2 * np.pi
    scatter = np.array([[mean[5], mean[6]], [mean[6], mean[7]]]) / 2
    if np.linalg.eigvalsh(curvature)[0] <= 0:
        return track
    inverse = np.linalg.inv(curvature)
    step = terms[:, :2] @ inverse
    variance = np.diag(inverse @ scatter @ inverse)
    longest = frames.step_px_yx.max()
    measured = track + np.clip(step, -longest, longest)
    return np.stack([likeliest_track(measured[:, axis], variance=variance[axis]) for axis in (0, 1)], axis=1)
