"""Patches of all frames as Fourier transforms, each cut where its part of the specimen was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryodaq.imaging.cores import for_each
from cryodaq.imaging.patch_kernels import cut_pair, take_apart
from cryodaq.imaging.shift_kernels import patch_derivatives, patch_products
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
class Patches(ABC):
    """Half Fourier transforms of patches, with frequencies in cycles per pixel of the raw frames."""

    frequency_y: Float
    frequency_x: Float
    followed_px_yx: Float64  # (frame, yx), raw pixels by which the patches were moved along with the specimen
    places_yx: Float64  # (patch, yx), middles, -1 to 1 over the field
    pixel_size_ang: float
    """Å per raw pixel."""

    @abstractmethod
    def cropped(self, resolution_ang: float) -> Self:
        """Only frequencies up to a resolution."""

    @abstractmethod
    def thinned(self, every: int) -> Self:
        """Only the first of so many patches."""

    @abstractmethod
    def products(self, field: Float64, lags: NDArray[np.int64]) -> Float64:  # (ring, 2 + lag)
        """Products of frames, moved back by the field (patch, frame, yx), summed over rings and patches.

        Of each frame with itself, of all pairs, of pairs `lags` apart.
        """

    @abstractmethod
    def derivatives(self, field: Float64, weights: Float) -> Float64:  # (patch, frame, 8)
        """Slope and curvature of each frame's correlation with the others (`shift_kernels.patch_derivatives`).

        Parameters
        ----------
        field
            Displacements (patch, frame, yx), raw pixels, by which frames are moved back.
        weights
            (3, y, x): of what lasts, of what passes, and how much of that is left one frame later.
        """

    def visible(self, resolution_ang: float) -> tuple[NDArray[np.intp], int] | None:
        """Return the rows and the number of columns that reach to a resolution; None: all of them do."""
        limit = self.pixel_size_ang / resolution_ang
        rows = np.flatnonzero(np.abs(self.frequency_y) <= limit)
        columns = int(np.count_nonzero(self.frequency_x <= limit))
        return None if (len(rows), columns) == (len(self.frequency_y), len(self.frequency_x)) else (rows, columns)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSpectra(Patches):
    """Patches in this machine's memory."""

    spectra: Complex  # (patch, frame, y, x)

    def cropped(self, resolution_ang: float) -> PatchSpectra:
        """Only frequencies up to a resolution."""
        visible = self.visible(resolution_ang)
        if visible is None:
            return self
        rows, columns = visible
        cropped = np.empty((*self.spectra.shape[:2], len(rows), columns), np.complex64)
        upper = int(np.count_nonzero(rows < len(self.frequency_y) / 2))

        def crop(patch: int) -> None:
            cropped[patch, :, :upper] = self.spectra[patch, :, :upper, :columns]
            cropped[patch, :, upper:] = self.spectra[patch, :, rows[upper] :, :columns]

        for_each(crop, range(len(cropped)))
        return replace(
            self, spectra=cropped, frequency_y=self.frequency_y[rows], frequency_x=self.frequency_x[:columns]
        )

    def thinned(self, every: int) -> PatchSpectra:
        """Only the first of so many patches."""
        return replace(self, spectra=self.spectra[::every], places_yx=self.places_yx[::every])

    def products(self, field: Float64, lags: NDArray[np.int64]) -> Float64:
        """Products of frames; see `Patches`."""
        rings = self.rings()
        found = np.zeros((len(field), rings.max() + 1, 2 + len(lags)))

        def multiply(patch: int) -> None:
            patch_products(self.spectra[patch], self.ramps(field[patch]), rings, lags, found[patch])

        for_each(multiply, range(len(field)))
        return np.asarray(found.sum(axis=0))

    def derivatives(self, field: Float64, weights: Float) -> Float64:
        """Slope and curvature; see `Patches`."""
        terms = np.empty((*field.shape[:2], 8))
        frequencies = (self.frequency_y, self.frequency_x)

        def derive(patch: int) -> None:
            patch_derivatives(self.spectra[patch], self.ramps(field[patch]), weights, frequencies, terms[patch])

        for_each(derive, range(len(field)))
        return terms


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPlan:
    """Where patches are cut."""

    sizes_yx: tuple[int, int]
    corners: NDArray[np.int64]  # (frame, patch, yx), binned pixels
    short_px_yx: NDArray[np.int64]  # (frame, patch, yx), raw pixels by which a patch could not follow the specimen
    bin_px: int
    followed_px_yx: Float64  # (frame, yx)
    places_yx: Float64  # (patch, yx)
    pixel_size_ang: float

    @property
    def windows(self) -> tuple[Float, Float]:
        """What fades a patch along y and x."""
        return _taper(self.sizes_yx[0]), _taper(self.sizes_yx[1])

    @property
    def frequencies(self) -> tuple[Float, Float]:
        """Along y and x, cycles per raw pixel."""
        frequency_y = scipy.fft.fftfreq(self.sizes_yx[0]) / self.bin_px
        frequency_x = scipy.fft.rfftfreq(self.sizes_yx[1]) / self.bin_px
        return frequency_y.astype(np.float32), frequency_x.astype(np.float32)

    def phases_of_short(self, frame: int) -> Iterator[tuple[int, Complex]]:
        """Give a frame's patches, by number, that stayed inside it the phases (y, x) of those that followed."""
        frequency_y, frequency_x = self.frequencies
        for patch in np.flatnonzero(self.short_px_yx[frame].any(axis=1)):
            y, x = self.short_px_yx[frame, patch]
            turns = (y * frequency_y, x * frequency_x)
            along_y, along_x = (np.exp(2j * np.pi * turn).astype(np.complex64) for turn in turns)
            yield int(patch), np.outer(along_y, along_x)


def fitting_patches(patches_yx: tuple[int, int], *, binned_shape_yx: tuple[int, int]) -> tuple[int, int]:
    """As many patches as asked for, or fewer where they would get too small to see anything in."""
    most = [max(1, size // SMALLEST_PATCH_PX) for size in binned_shape_yx]
    return max(1, min(patches_yx[0], most[0])), max(1, min(patches_yx[1], most[1]))


def plan_patches(
    patches_yx: tuple[int, int],
    *,
    binned_shape_yx: tuple[int, int],
    bin_px: int,
    pixel_size_ang: float,
    track_px_yx: Float64,  # (frame, yx), rough
) -> PatchPlan:
    """Lay out overlapping windows that follow the specimen by whole pixels.

    Parameters
    ----------
    bin_px
        Raw pixels that a binned pixel is wide.
    track_px_yx
        Displacement of the specimen, raw pixels.
    """
    shape = binned_shape_yx
    sizes = [_patch_size(n, count) for n, count in zip(shape, patches_yx, strict=True)]
    corners = [
        np.linspace(0, n - size, count) if count > 1 else np.array([(n - size) / 2])
        for n, size, count in zip(shape, sizes, patches_yx, strict=True)
    ]
    follow = np.rint(track_px_yx / bin_px).astype(int)
    tops, lefts = (np.rint(corner).astype(int) for corner in corners)
    places = np.array([(y, x) for y in tops for x in lefts])
    # Windows stay inside the frame: where the drift is long, patches at the border look at what is left.
    kept = np.array([np.clip(places + step, 0, np.array(shape) - sizes) - places for step in follow])
    middles = places + np.array(sizes) / 2
    return PatchPlan(
        sizes_yx=(sizes[0], sizes[1]),
        corners=places + kept,
        short_px_yx=(follow[:, None, :] - kept) * bin_px,
        bin_px=bin_px,
        followed_px_yx=(follow * bin_px).astype(np.float64),
        places_yx=2 * middles / np.array(shape) - 1,
        pixel_size_ang=pixel_size_ang,
    )


def cut_patches(binned: Float, plan: PatchPlan, *, workspace: Workspace) -> PatchSpectra:
    """Cut windows out of all binned frames (frame, y, x) and transform them.

    Parameters
    ----------
    workspace
        Memory for the transforms.
    """
    height, width = plan.sizes_yx
    frame_count, patch_count = plan.corners.shape[:2]
    spectra = workspace.empty((patch_count, frame_count, height, width // 2 + 1), np.complex64)
    windows = plan.windows

    def transform(frame: int) -> None:
        pair = np.empty((height, width), np.complex64)
        corners = plan.corners[frame]
        for one in range(0, len(corners), 2):
            # An odd one out travels with itself.
            other = min(one + 1, len(corners) - 1)
            cut_pair(binned[frame], (*corners[one], *corners[other]), windows, pair)
            pair = scipy.fft.fft2(pair, overwrite_x=True)
            take_apart(pair, spectra[one, frame], spectra[other, frame])
        for patch, phases in plan.phases_of_short(frame):
            spectra[patch, frame] *= phases

    for_each(transform, range(frame_count))
    frequency_y, frequency_x = plan.frequencies
    return PatchSpectra(
        spectra=spectra,
        frequency_y=frequency_y,
        frequency_x=frequency_x,
        followed_px_yx=plan.followed_px_yx,
        places_yx=plan.places_yx,
        pixel_size_ang=plan.pixel_size_ang,
    )


def _patch_size(length: int, count: int) -> int:
    size = length if count == 1 else int(length / (count - OVERLAP * (count - 1)))
    return int(scipy.fft.prev_fast_len(max(size, 2), real=True)) // 2 * 2 or 2


def _taper(size: int) -> Float:
    """1, falling to 0 at both ends over the overlap."""
    rise = np.arange(0.5, size) / max(1.0, size * OVERLAP)
    return np.asarray(np.sin(np.pi / 2 * np.clip(np.minimum(rise, rise[::-1]), 0, 1)) ** 2, dtype=np.float32)
