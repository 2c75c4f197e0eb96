"""Patches of all frames as Fourier transforms, each cut where its part of the specimen was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.imaging.compiled import for_each
from cryodaq.imaging.patch_kernels import cut_pair, take_apart
from cryodaq.imaging.workspace import Workspace

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]
Float64 = NDArray[np.float64]

OVERLAP = 0.2
"""Part of a patch that it shares with the next one; it fades there."""
SMALLEST_PATCH_PX = 64
LONGEST_WAVE_ANG = 300.0
"""Longer waves are illumination rather than specimen, Å."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSpectra:
    """Half Fourier transforms of patches, with frequencies in cycles per pixel of the raw frames."""

    spectra: Complex  # (patch, frame, y, x)
    frequency_y: Float
    frequency_x: Float
    followed_px_yx: Float64  # (frame, yx), raw pixels by which the patches were moved along with the specimen
    places_yx: Float64  # (patch, yx), middles, -1 to 1 over the field
    pixel_size_ang: float
    """Å per raw pixel."""

    def cropped(self, resolution_ang: float) -> PatchSpectra:
        """Only frequencies up to a resolution."""
        limit = self.pixel_size_ang / resolution_ang
        rows = np.flatnonzero(np.abs(self.frequency_y) <= limit)
        columns = int(np.count_nonzero(self.frequency_x <= limit))
        if len(rows) == len(self.frequency_y) and columns == len(self.frequency_x):
            return self
        cropped = np.empty((*self.spectra.shape[:2], len(rows), columns), np.complex64)
        upper = int(np.count_nonzero(rows < len(self.frequency_y) / 2))

        def crop(patch: int) -> None:
            cropped[patch, :, :upper] = self.spectra[patch, :, :upper, :columns]
            cropped[patch, :, upper:] = self.spectra[patch, :, rows[upper] :, :columns]

        for_each(crop, range(len(cropped)))
        return PatchSpectra(
            spectra=cropped,
            frequency_y=self.frequency_y[rows],
            frequency_x=self.frequency_x[:columns],
            followed_px_yx=self.followed_px_yx,
            places_yx=self.places_yx,
            pixel_size_ang=self.pixel_size_ang,
        )

    def frequency_squared(self) -> Float:
        """(y, x), 1/Å²."""
        square = self.frequency_y[:, None] ** 2 + self.frequency_x[None, :] ** 2
        return np.asarray(square / self.pixel_size_ang**2, dtype=np.float32)

    def rings(self) -> NDArray[np.int64]:
        """Number of the ring of equal frequency that each (y, x) belongs to, one longest wave apart."""
        width = max(abs(self.frequency_y[1]), self.frequency_x[1])
        radius = np.hypot(self.frequency_y[:, None], self.frequency_x[None, :]) / width
        return np.asarray(np.rint(radius), dtype=np.int64)

    def without_long_waves(self) -> Float:
        """Weight (y, x) that leaves out illumination and the window's own edges, and counts both half planes."""
        longest = min(LONGEST_WAVE_ANG, self.pixel_size_ang / float(3 * self.frequency_x[1]))
        weight = 1 - np.exp(-0.5 * self.frequency_squared() * longest**2)
        weight[:, self.frequency_x > 0] *= 2
        return np.asarray(weight, dtype=np.float32)

    def ramps(self, displacement_px_yx: Float64) -> tuple[Complex, Complex]:
        """Phase factors (frame, y) and (frame, x) that move the frames of one patch back."""
        rest = displacement_px_yx - self.followed_px_yx
        ramp_y = np.exp(2j * np.pi * rest[:, :1] * self.frequency_y).astype(np.complex64)
        ramp_x = np.exp(2j * np.pi * rest[:, 1:] * self.frequency_x).astype(np.complex64)
        return ramp_y, ramp_x


def fitting_patches(patches_yx: tuple[int, int], *, binned_shape_yx: tuple[int, int]) -> tuple[int, int]:
    """As many patches as asked for, or fewer where they would get too small to see anything in."""
    most = [max(1, size // SMALLEST_PATCH_PX) for size in binned_shape_yx]
    return max(1, min(patches_yx[0], most[0])), max(1, min(patches_yx[1], most[1]))


def cut_patches(
    binned: Float,  # (frame, y, x)
    patches_yx: tuple[int, int],
    *,
    bin_px: int,
    pixel_size_ang: float,
    track_px_yx: Float64,  # (frame, yx), rough
    workspace: Workspace,
) -> PatchSpectra:
    """Cut overlapping windows out of all frames, following the specimen by whole pixels, and transform them.

    Parameters
    ----------
    binned
        Frames in which one pixel is `bin_px` raw pixels wide.
    track_px_yx
        Displacement of the specimen, raw pixels.
    workspace
        Memory for the transforms.
    """
    frame_count, *shape = binned.shape
    sizes = [_patch_size(n, count) for n, count in zip(shape, patches_yx, strict=True)]
    corners = [
        np.linspace(0, n - size, count) if count > 1 else np.array([(n - size) / 2])
        for n, size, count in zip(shape, sizes, patches_yx, strict=True)
    ]
    follow = np.rint(track_px_yx / bin_px).astype(int)
    # Windows stay inside the frame: where the drift is long, patches at the border look at what is left.
    tops, lefts = (np.rint(corner).astype(int) for corner in corners)
    windows = _taper(sizes[0]), _taper(sizes[1])
    places = np.array([(y, x) for y in tops for x in lefts])
    kept = np.array([np.clip(places + step, 0, np.array(shape) - sizes) - places for step in follow])
    spectra = workspace.empty((len(places), frame_count, sizes[0], sizes[1] // 2 + 1), np.complex64)

    def transform(frame: int) -> None:
        pair = np.empty(sizes, np.complex64)
        corners = places + kept[frame]
        for one in range(0, len(corners), 2):
            # An odd one out travels with itself.
            other = min(one + 1, len(corners) - 1)
            cut_pair(binned[frame], (*corners[one], *corners[other]), windows, pair)
            pair = scipy.fft.fft2(pair, overwrite_x=True)
            take_apart(pair, spectra[one, frame], spectra[other, frame])

    for_each(transform, range(frame_count))
    frequency_y = (scipy.fft.fftfreq(sizes[0]) / bin_px).astype(np.float32)
    frequency_x = (scipy.fft.rfftfreq(sizes[1]) / bin_px).astype(np.float32)
    _undo_clipping(spectra, (follow[:, None, :] - kept) * bin_px, frequency_y, frequency_x)
    middles = places + np.array(sizes) / 2
    return PatchSpectra(
        spectra=spectra,
        frequency_y=frequency_y,
        frequency_x=frequency_x,
        followed_px_yx=(follow * bin_px).astype(np.float64),
        places_yx=2 * middles / np.array(shape) - 1,
        pixel_size_ang=pixel_size_ang,
    )


def _undo_clipping(spectra: Complex, short_px_yx: NDArray[np.int64], frequency_y: Float, frequency_x: Float) -> None:
    """Give patches that could not follow the specimen the phases of those that could."""
    for frame, patch in np.argwhere(short_px_yx.any(axis=2)):
        y, x = short_px_yx[frame, patch]
        spectra[patch, frame] *= np.exp(2j * np.pi * y * frequency_y).astype(np.complex64)[:, None]
        spectra[patch, frame] *= np.exp(2j * np.pi * x * frequency_x).astype(np.complex64)[None, :]


def _patch_size(length: int, count: int) -> int:
    size = length if count == 1 else int(length / (count - OVERLAP * (count - 1)))
    return int(scipy.fft.prev_fast_len(max(size, 2), real=True)) // 2 * 2 or 2


def _taper(size: int) -> Float:
    """1, falling to 0 at both ends over the overlap."""
    rise = np.arange(0.5, size) / max(1.0, size * OVERLAP)
    return np.asarray(np.sin(np.pi / 2 * np.clip(np.minimum(rise, rise[::-1]), 0, 1)) ** 2, dtype=np.float32)
