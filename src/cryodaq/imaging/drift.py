"""How the whole field moved during the exposure, roughly.

Each frame is correlated with the sum of all others, moved by what is known so far, again and again, with
correlation maps averaged over neighbouring frames. After X. Li et al., Nature Methods 10 (2013) 584.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cryodaq.imaging.cores import for_each
from cryodaq.imaging.movie_kernels import add_squares
from cryodaq.imaging.path_kernels import best_ways
from cryodaq.imaging.shift_kernels import add_moved, correlate_with_others

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

COARSE_PIXEL_ANG = 8.0
REACH_ANG = 80.0
"""How far from its neighbours' mean a frame is looked for at first, Å."""
LONGEST_WAVE_ANG = 300.0
"""Longer waves are illumination rather than specimen, Å."""
COARSE_PASSES = (4.0, 2.0, 2.0, 1.0)
"""Over how many neighbouring frames correlation maps are averaged, pass by pass."""
PATH_PASSES = 3
USUAL_STEP_ANG = 2.0
"""Steps from frame to frame that cost little, Å; larger ones cost with their logarithm, so that jumps are possible."""
JUMP_ANG = 5.0
JUMP_RATIO = 5.0
SMALLEST_PX = 32
ROWS_AT_ONCE = 64
"""Rows of frequencies that one thread adds up in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSpectra:
    """Half Fourier transforms of all frames, with frequencies in cycles per pixel of the raw frames."""

    spectra: Complex  # (frame, y, x)
    frequency_y: Float
    frequency_x: Float
    shape_yx: tuple[int, int]
    pixel_size_ang: float
    """Å per raw pixel."""

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

    def total(self, track_yx: Float64) -> Complex:
        """Sum of all frames, moved back."""
        total = np.zeros(self.spectra.shape[1:], np.complex64)
        ramps = [self.ramps(displacement_yx) for displacement_yx in track_yx]

        def add(rows: slice) -> None:
            for frame, (ramp_y, ramp_x) in enumerate(ramps):
                add_moved(self.spectra[frame, rows], ramp_y[rows], ramp_x, total[rows])

        for_each(add, [slice(first, first + ROWS_AT_ONCE) for first in range(0, len(total), ROWS_AT_ONCE)])
        return total


def coarse_factor(binned_shape_yx: tuple[int, int], *, bin_px: int, pixel_size_ang: float) -> int:
    """Return how many binned pixels, each `bin_px` raw pixels of `pixel_size_ang` wide, the rough search adds up."""
    return int(max(1, min(COARSE_PIXEL_ANG / (bin_px * pixel_size_ang), min(binned_shape_yx) / SMALLEST_PX)))


def binned_spectra(
    binned: Float,  # (frame, y, x)
    *,
    bin_px: int,
    pixel_size_ang: float,
) -> FrameSpectra:
    """Transforms of binned frames, with no more frequencies than the rough search needs.

    Parameters
    ----------
    binned
        Frames in which one pixel is `bin_px` raw pixels wide.
    pixel_size_ang
        Å per raw pixel.
    """
    frame_count, *shape = binned.shape
    more = coarse_factor((shape[0], shape[1]), bin_px=bin_px, pixel_size_ang=pixel_size_ang)
    height, width = (2 * (scipy.fft.prev_fast_len(max(2, n // more), real=True) // 2) for n in shape)
    window = _edge_taper(height)[:, None] * _edge_taper(width)[None, :]
    spectra = np.empty((frame_count, height, width // 2 + 1), np.complex64)

    def transform(frame: int) -> None:
        small = np.empty((height, width), np.float32)
        add_squares(binned[frame], more, small)
        spectra[frame] = scipy.fft.rfft2((small - small.mean()) * window)

    for_each(transform, range(frame_count))
    size = bin_px * more
    return FrameSpectra(
        spectra=spectra,
        frequency_y=(scipy.fft.fftfreq(height) / size).astype(np.float32),
        frequency_x=(scipy.fft.rfftfreq(width) / size).astype(np.float32),
        shape_yx=(height, width),
        pixel_size_ang=pixel_size_ang,
    )


def _edge_taper(size: int) -> Float:
    """1, falling to 0 at both ends over a sixteenth, so that borders look alike in no two frames."""
    rise = np.arange(0.5, size) / max(1, size / 16)
    return np.asarray(np.sin(np.pi / 2 * np.clip(np.minimum(rise, rise[::-1]), 0, 1)) ** 2, dtype=np.float32)


def rough_track(frames: FrameSpectra, *, b_factor_ang2: float) -> Float64:  # (frame, yx)
    """Displacement of the whole field in each frame relative to frame 0, raw pixels, to about a pixel.

    From maxima of correlation maps, averaged over ever fewer neighbouring frames, and at last from the likeliest
    path through the maps of single frames, on which jumps are rare but possible.

    Parameters
    ----------
    b_factor_ang2
        How steeply high frequencies are played down, Å².
    """
    track = np.zeros((len(frames.spectra), 2))
    if len(track) == 1:
        return track
    weight = _search_weight(frames, b_factor_ang2)
    reach = int(max(2, min(REACH_ANG / COARSE_PIXEL_ANG, min(frames.shape_yx) // 2 - 1)))
    for neighbours in COARSE_PASSES:
        maps = gaussian_filter1d(_correlation_maps(frames, track, weight, reach), neighbours, axis=0)
        change = np.array([_peak(around) for around in maps]) * frames.step_px_yx
        track += change - change.mean(axis=0)
    for _ in range(PATH_PASSES):
        maps = _correlation_maps(frames, track, weight, reach)
        track += (
            _likeliest_path(maps, track / frames.step_px_yx, frames.step_px_yx * frames.pixel_size_ang)
            * frames.step_px_yx
        )
    return np.asarray(track - track[0])


def find_jumps(track_px_yx: Float64, *, pixel_size_ang: float) -> tuple[int, ...]:
    """Frames before which the whole field jumped: steps far longer than those around them."""
    steps = np.hypot(*np.diff(track_px_yx, axis=0).T) * pixel_size_ang
    found = []
    for number, step in enumerate(steps):
        around = np.delete(steps[max(0, number - 3) : number + 4], min(number, 3))
        if around.size >= 3 and step > max(JUMP_ANG, JUMP_RATIO * float(np.median(around))):
            found.append(number + 1)
    return tuple(found)


def _likeliest_path(maps: Float, present: Float64, pixel_ang: Float64) -> Float64:  # (frame, yx)
    """Change of the track, map pixels, that makes correlations high and steps short (Viterbi's algorithm).

    Parameters
    ----------
    maps
        (frame, y, x) around the present places.
    present
        Places (frame, yx) in map pixels.
    pixel_ang
        Å per map pixel along y and x.
    """
    frame_count, size = maps.shape[:2]
    reach = size // 2
    noise = maps.std(axis=(1, 2), keepdims=True)
    # The height that the true peak has on average tells how much a height says.
    height = max(
        1.0, float((maps[:, reach - 1 : reach + 2, reach - 1 : reach + 2].max(axis=(1, 2)) / noise[:, 0, 0]).mean())
    )
    gain = (height * maps / noise).astype(np.float32)
    apart = np.arange(1 - size, size)
    best = gain[0]
    came_from = np.zeros(gain.shape, np.int32)
    for frame in range(1, frame_count):
        steps = (apart[:, None] - (present[frame - 1] - present[frame])) * pixel_ang / USUAL_STEP_ANG
        cost = 1.5 * np.log(1 + steps[:, 0, None] ** 2 + steps[None, :, 1] ** 2)
        likely, best = best, np.empty_like(best)
        best_ways(likely, cost.astype(np.float32), best, came_from[frame])
        best += gain[frame]
    state = int(best.argmax())
    change = np.zeros((frame_count, 2))
    for frame in range(frame_count - 1, -1, -1):
        place = np.array(divmod(state, size))
        change[frame] = place - reach + _between(maps[frame], place)
        state = int(came_from[frame].flat[state])
    return change


def _search_weight(frames: FrameSpectra, b_factor_ang2: float) -> Float:
    """Weight (y, x) that leaves out illumination, whitens, and favours low frequencies."""
    width = max(frames.frequency_y[1], frames.frequency_x[1])
    radius = np.hypot(frames.frequency_y[:, None], frames.frequency_x[None, :]) / width
    rings = np.rint(radius).astype(np.int64)
    power = np.mean([np.abs(spectrum) ** 2 for spectrum in frames.spectra[::8]], axis=0)
    noise = np.bincount(rings.ravel(), power.ravel()) / np.maximum(np.bincount(rings.ravel()), 1) + 1e-30
    longest = min(LONGEST_WAVE_ANG, frames.pixel_size_ang / float(3 * frames.frequency_x[1]))
    square = frames.frequency_squared()
    weight = (1 - np.exp(-0.5 * square * longest**2)) * np.exp(-b_factor_ang2 / 4 * square) / noise[rings]
    return np.asarray(weight, dtype=np.float32)


def _correlation_maps(coarse: FrameSpectra, track: Float64, weight: Float, reach: int) -> Float:
    """(frame, y, x): correlation of each frame with the others, `reach` pixels around its present place.

    Only the rows around are transformed back along x.
    """
    total = coarse.total(track)
    near = np.arange(-reach, reach + 1)
    maps = np.empty((len(track), len(near), len(near)), np.float32)

    def correlate(frame: int) -> None:
        product = np.empty_like(total)
        ramps = coarse.ramps(track[frame])
        correlate_with_others(coarse.spectra[frame], *ramps, total, weight, product)
        rows = scipy.fft.ifft(product, axis=0, overwrite_x=True)[near]
        maps[frame] = scipy.fft.irfft(rows, n=coarse.shape_yx[1], axis=1)[:, near]

    for_each(correlate, range(len(track)))
    return maps


def _peak(around: Float) -> Float64:
    """(y, x) of the maximum relative to the middle of a map, between pixels by parabolas."""
    reach = around.shape[0] // 2
    y, x = np.unravel_index(np.argmax(around[1:-1, 1:-1]), (around.shape[0] - 2, around.shape[1] - 2))
    whole = np.array([y + 1, x + 1])
    return np.asarray(whole - reach + _between(around, whole))


def _between(around: Float, peak_yx: NDArray[np.int64]) -> Float64:
    """How far beside a pixel the maximum lies, by parabolas; 0 at the border."""
    y, x = peak_yx
    if min(y, x) < 1 or max(y, x) > around.shape[0] - 2:
        return np.zeros(2)
    cross = around[y - 1 : y + 2, x], around[y, x - 1 : x + 2]
    between = [(c[2] - c[0]) / max(2 * (2 * c[1] - c[0] - c[2]), 1e-30) for c in cross]
    return np.asarray(np.clip(between, -0.5, 0.5))
