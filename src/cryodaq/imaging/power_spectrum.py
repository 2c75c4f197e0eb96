"""Mean power spectrum of a micrograph, and its rings in polar coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from cryodaq.errors import ImagingError
from cryodaq.imaging.soundness import check_micrograph

Float = NDArray[np.float32]
Float64 = NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)

SMALLEST_PX = 128
LARGEST_PX = 2048
"""Of a spectrum that is given: a larger one is of a whole micrograph, and all speckle."""
LEAST_SYMMETRY = 0.5
BEYOND_FINEST = 0.7
"""Pixel of the cut spectrum over half of the finest resolution asked for; 1 would end right there."""
TAPER = 0.1
"""Share of a tile, at each end, over which it fades."""
LEFT_OUT = 0.4
"""0.5 less the share of a tile that may stay without one."""
FINE_ANGLES = 720
"""Directions over half a turn in which a spectrum is sampled."""
FEWEST_RINGS = 24
SMEAR_SAMPLES = 512
MOST_FOR_USUAL = 20_000
"""Pixels of which the median is taken where it need not be exact."""
SECTORS = 48
"""Groups of those directions that are fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSpectrum:
    """Power (y, x), frequency 0 at the middle (size // 2)."""

    power: Float
    step_per_ang: float
    """Frequency from one pixel to the next, 1/Å."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarSpectrum:
    """Power (direction, frequency)."""

    power: Float64
    angle: Float64
    """Directions, radians from x towards +y, in [0, pi)."""
    frequency: Float64
    """1/Å."""

    def until(self, finest_ang: float) -> PolarSpectrum:
        """Frequencies that are no finer than this resolution.

        Raises
        ------
        ImagingError
            When they are too few to see rings in.
        """
        count = int(np.count_nonzero(self.frequency <= 1 / finest_ang))
        if count < FEWEST_RINGS:
            coarsest_ang = 1 / self.frequency[0] if len(self.frequency) else np.inf
            problem = (
                f"between {coarsest_ang:.3g} and {finest_ang:g} Å this spectrum has {count} rings; "
                "take a larger box or finer pixels"
            )
            raise ImagingError(problem)
        return PolarSpectrum(power=self.power[:, :count], angle=self.angle, frequency=self.frequency[:count])

    def in_sectors(self) -> PolarSpectrum:
        """Averages over neighbouring directions."""
        group = len(self.angle) // SECTORS
        return PolarSpectrum(
            power=self.power.reshape(SECTORS, group, -1).mean(axis=1),
            angle=self.angle.reshape(SECTORS, group).mean(axis=1),
            frequency=self.frequency,
        )


def mean_power(
    micrograph: NDArray[np.floating],  # (y, x)
    *,
    pixel_size_ang: float,
    box_size_px: int,
    finest_ang: float,
) -> PowerSpectrum:
    """Average over tiles, cut to about `box_size_px` of the low frequencies.

    Tiles are so large that the cut spectrum ends a little beyond `finest_ang`: its rings are sampled as
    finely as the box allows, and no transform is spent on frequencies that nobody looks at. Each tile is
    scaled to the same power, so that neither contamination nor a dark corner outshouts the rest.

    Raises
    ------
    ImagingError
        When the micrograph is too small, empty, or not finite.
    """
    smallest = _checked_side(micrograph)
    wanted = _wanted_tile(box_size_px, pixel_size_ang=pixel_size_ang, finest_ang=finest_ang)
    # As many tiles as fill the shorter side, and a box that still ends where it should.
    tile = 2 * scipy.fft.prev_fast_len(smallest // max(1, round(smallest / wanted)) // 2, real=True)
    box = min(2 * round(box_size_px * tile / wanted / 2), tile)
    return _averaged(micrograph, tile=tile, box=box, pixel_size_ang=pixel_size_ang)


def mean_power_of_size(
    micrograph: NDArray[np.floating],  # (y, x)
    *,
    pixel_size_ang: float,
    size_px: int,
    finest_ang: float,
) -> PowerSpectrum:
    """Average over tiles, cut to exactly `size_px` where the micrograph is as large; see `mean_power`."""
    smallest = _checked_side(micrograph)
    wanted = _wanted_tile(size_px, pixel_size_ang=pixel_size_ang, finest_ang=finest_ang)
    tile = min(2 * (scipy.fft.next_fast_len(wanted, real=True) // 2), 2 * (smallest // 2))
    return _averaged(micrograph, tile=tile, box=min(size_px, tile), pixel_size_ang=pixel_size_ang)


def _checked_side(micrograph: NDArray[np.floating]) -> int:
    """Return the shorter side."""
    check_micrograph(micrograph)
    smallest = min(micrograph.shape)
    if smallest < SMALLEST_PX:
        problem = f"a micrograph of {micrograph.shape} pixels is too small for a spectrum; {SMALLEST_PX} are needed"
        raise ImagingError(problem)
    return int(smallest)


def _wanted_tile(box: int, *, pixel_size_ang: float, finest_ang: float) -> int:
    return max(box, round(box * BEYOND_FINEST * finest_ang / 2 / pixel_size_ang))


def _averaged(micrograph: NDArray[np.floating], *, tile: int, box: int, pixel_size_ang: float) -> PowerSpectrum:
    total = np.zeros((box, box // 2 + 1))
    for picture in _tiles(micrograph, tile):
        low = _low_frequencies(picture, box)
        half = low.real**2 + low.imag**2
        total += half / max(float(half[box // 8 : -box // 8].mean()), 1e-30)
    if not total.any():
        raise ImagingError("the micrograph has no detail; there is no spectrum to look at")
    return PowerSpectrum(power=_whole_plane(total), step_per_ang=1 / (tile * pixel_size_ang))


def _tiles(micrograph: NDArray[np.floating], tile: int) -> Iterator[Float]:
    """Squares that cover the micrograph, mean removed, faded at the edges."""
    fade = scipy.signal.windows.tukey(tile, 2 * TAPER).astype(np.float32)
    faded = int(TAPER * tile) + 1
    starts = [np.linspace(0, n - tile, round(n / tile + LEFT_OUT)).round().astype(int) for n in micrograph.shape]
    for y in starts[0]:
        for x in starts[1]:
            seen = micrograph[y : y + tile, x : x + tile]
            mean = float(seen.mean(axis=1, dtype=np.float32).mean(dtype=np.float64))
            part = np.subtract(seen, mean, dtype=np.float32)
            for edge in (slice(None, faded), slice(-faded, None)):
                part[edge] *= fade[edge, None]
                part[:, edge] *= fade[edge]
            yield part


def smear_px2(turns_per_px: Float64) -> Float64:
    """Variance along an axis, px², of what smears a spectrum, as rings of so many turns per pixel feel it.

    Tiles that fade at their edges smear by the transform of their own correlation, sampling between pixels by a
    triangle. Both have long tails, so a wave feels the less of them the faster it turns.
    """
    fade = scipy.signal.windows.tukey(SMEAR_SAMPLES, 2 * TAPER)
    correlation = scipy.fft.irfft(np.abs(scipy.fft.rfft(fade, 2 * SMEAR_SAMPLES)) ** 2)[:SMEAR_SAMPLES]
    turns = (np.arange(SMEAR_SAMPLES) + 0.5) / SMEAR_SAMPLES
    kept = np.log(np.maximum(correlation / correlation[0], 1e-9))
    felt = -np.diff(kept, append=kept[-1]) * SMEAR_SAMPLES
    felt -= 2 * np.gradient(np.log(np.sinc(turns)), turns)
    return np.asarray(np.interp(turns_per_px, turns, felt / (4 * np.pi**2 * turns)))


def _low_frequencies(picture: Float, box: int) -> NDArray[np.complex64]:
    """Half transform (y, x) of a smaller picture with the same low frequencies; no column is transformed in vain."""
    columns = np.ascontiguousarray(scipy.fft.rfft(picture, axis=1)[:, : box // 2 + 1])
    whole = scipy.fft.fft(columns, axis=0, overwrite_x=True)
    return np.concatenate([whole[: box // 2], whole[-(box // 2) :]])


def _whole_plane(half: Float64) -> Float:
    """Centred (y, x) from a half plane with rows in the transform's order."""
    box = len(half)
    right = np.roll(half, box // 2, axis=0)
    whole = np.empty((box, box), np.float32)
    whole[:, box // 2 :] = right[:, : box // 2]
    # Row -y, column -x holds the same power; row and column -box/2 are their own opposites.
    opposite = np.roll(right[::-1], 1, axis=0)
    whole[:, : box // 2] = opposite[:, box // 2 : 0 : -1]
    return whole


def given_power(
    spectrum: NDArray[np.floating],  # (y, x)
    *,
    pixel_size_ang: float,
) -> PowerSpectrum:
    """Take a centred amplitude or power spectrum that another program made.

    Raises
    ------
    ImagingError
        When this is no square spectrum.
    """
    square = spectrum.ndim == 2 and spectrum.shape[0] == spectrum.shape[1]
    if not square or not SMALLEST_PX <= len(spectrum) <= LARGEST_PX:
        problem = f"a spectrum is square and has {SMALLEST_PX} to {LARGEST_PX} pixels; this one is {spectrum.shape}"
        raise ImagingError(problem)
    power = np.asarray(spectrum, dtype=np.float32)
    if not np.isfinite(power).all() or power.max() <= 0:
        problem = "the spectrum is empty or holds NaN; compute it again"
        raise ImagingError(problem)
    if _symmetry(power) < LEAST_SYMMETRY:
        problem = "this is no spectrum with frequency 0 in its middle: its halves differ; is it a micrograph?"
        raise ImagingError(problem)
    return PowerSpectrum(power=np.maximum(power, 0), step_per_ang=1 / (len(power) * pixel_size_ang))


def reduced(spectrum: PowerSpectrum, *, size_px: int) -> PowerSpectrum:
    """Average neighbouring pixels, as many as leave `size_px` or more; frequency 0 stays at the middle."""
    factor = max(1, len(spectrum.power) // size_px)
    near = factor - np.abs(np.arange(1 - factor, factor))
    first = len(spectrum.power) // 2 % factor
    rows = correlate1d(spectrum.power, near / near.sum(), axis=0)[first::factor]
    power = correlate1d(rows, near / near.sum(), axis=1)[:, first::factor]
    return PowerSpectrum(power=np.asarray(power, np.float32), step_per_ang=spectrum.step_per_ang * factor)


def _symmetry(power: Float) -> float:
    """Correlation of opposite pixels, 1 in the spectrum of any real picture."""
    logarithm = logarithm_of(power[1:, 1:]).ravel()
    logarithm -= logarithm.mean()
    return float((logarithm * logarithm[::-1]).sum() / max(float((logarithm * logarithm).sum()), 1e-30))


def logarithm_of(power: NDArray[Real]) -> NDArray[Real]:
    """Logarithm, of the kind of the power; a millionth of the usual power stands for none at all."""
    some = power.ravel()[:: max(1, power.size // MOST_FOR_USUAL)]
    return np.asarray(np.log(np.maximum(power, power.dtype.type(1e-6 * float(np.median(some)) + 1e-30))))


def polar(spectrum: PowerSpectrum, *, coarsest_ang: float) -> PolarSpectrum:
    """Sample half a plane in directions and rings, one pixel from ring to ring, bilinearly."""
    half = len(spectrum.power) // 2
    first = max(2, int(np.ceil(1 / (coarsest_ang * spectrum.step_per_ang))))
    radius = np.arange(first, max(first, half - 1), dtype=np.float64)
    angle = (np.arange(FINE_ANGLES) + 0.5) * np.pi / FINE_ANGLES
    y = half + radius[None, :] * np.sin(angle)[:, None]
    x = half + radius[None, :] * np.cos(angle)[:, None]
    return PolarSpectrum(
        power=_between_pixels(spectrum.power, y, x), angle=angle, frequency=radius * spectrum.step_per_ang
    )


def _between_pixels(picture: Float, y: Float64, x: Float64) -> Float64:
    """Bilinear interpolation."""
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    down, right = y - top, x - left
    flat, width = picture.ravel(), picture.shape[1]
    corner = top * width + left
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + width] * (1 - right) + flat[corner + width + 1] * right
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float64)
