"""Where each part of the field was in each frame: one smooth function of place for every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionField:
    """Displacement of the specimen relative to frame 0, in pixels, as Legendre polynomials of place.

    Place is -1 to 1 over the height and over the width.
    """

    degrees_yx: tuple[tuple[int, int], ...]
    """Degree along y and along x of each term."""
    coefficients: Float64  # (frame, term, yx), 0 in frame 0
    shape_yx: tuple[int, int]

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.coefficients)

    def of(self, frames: slice) -> MotionField:
        """The field of some of the frames, still relative to frame 0 of all."""
        return MotionField(degrees_yx=self.degrees_yx, coefficients=self.coefficients[frames], shape_yx=self.shape_yx)

    def displacement_px_yx(
        self,
        points_px_yx: Float64,  # (point, yx)
    ) -> Float64:  # (frame, point, yx)
        """Displacement of what lay at these pixels."""
        place = 2 * (points_px_yx + 0.5) / np.array(self.shape_yx) - 1
        terms = basis(place, self.degrees_yx)
        return np.asarray(np.einsum("pk,fkd->fpd", terms, self.coefficients))

    def at_finer_pixels(self, factor: int) -> MotionField:
        """The same field in pixels so much smaller."""
        return MotionField(
            degrees_yx=self.degrees_yx,
            coefficients=self.coefficients * factor,
            shape_yx=(self.shape_yx[0] * factor, self.shape_yx[1] * factor),
        )

    def mean_px_yx(self) -> Float64:  # (frame, yx)
        """Mean displacement of the field."""
        # All Legendre polynomials but the constant have the mean 0.
        constant = self.degrees_yx.index((0, 0))
        return self.coefficients[:, constant]

    def tiled(self, tiles_yx: tuple[int, int]) -> Float64:  # (frame, tile y, tile x, yx)
        """Displacement in the middle of equal tiles."""
        middles = [(np.arange(n) + 0.5) * size / n - 0.5 for n, size in zip(tiles_yx, self.shape_yx, strict=True)]
        return self.on_grid(middles[0], middles[1])

    def on_grid(self, rows_px: Float64, columns_px: Float64) -> Float64:  # (frame, y, x, yx)
        """Displacement of what lay where these rows and columns cross, pixels."""
        highest = max(max(pair) for pair in self.degrees_yx)
        by_degree = np.zeros((highest + 1, highest + 1, self.frame_count, 2))
        for term, (y, x) in enumerate(self.degrees_yx):
            by_degree[y, x] = self.coefficients[:, term]
        along_y, along_x = (
            np.polynomial.legendre.legvander(2 * (px + 0.5) / size - 1, highest)
            for px, size in zip((rows_px, columns_px), self.shape_yx, strict=True)
        )
        rows = np.einsum("ya,abfd->bfyd", along_y, by_degree)
        return np.asarray(np.einsum("xb,bfyd->fyxd", along_x, rows))

    def steepness(self) -> float:
        """Root mean square change of displacements from one pixel to the next along x."""
        coarse = self.tiled((16, 16))
        return float(np.sqrt((np.diff(coarse, axis=2) ** 2).mean()) * 16 / self.shape_yx[1])

    def relion_coefficients(self) -> tuple[Float64, Float64]:  # (18,), (18,)
        """Local part of the field as RELION writes it, for x and for y: least squares over a grid of places.

        The shift is minus the displacement beyond the mean, Σ c[3 s + t] S[s] z^(t + 1) with
        S = 1, x, x², y, y², xy, x and y from -0.5 to 0.5, and z the number of frames since the first
        (RELION 3.1, ThirdOrderPolynomialModel; data_local_motion_model).
        """
        local = -(self.tiled((12, 12)) - self.mean_px_yx()[:, None, None, :])
        along = (np.arange(12) + 0.5) / 12 - 0.5
        y, x = (axis.ravel() for axis in np.meshgrid(along, along, indexing="ij"))
        space = np.stack([np.ones_like(x), x, x * x, y, y * y, x * y], axis=1)
        z = np.arange(self.frame_count, dtype=float)
        # Scaled to 1 for the fit: powers of many frames would drown the rest.
        last = max(1.0, z[-1])
        time = np.stack([(z / last) ** power for power in (1, 2, 3)], axis=1)
        fitted = np.linalg.pinv(time) @ local.reshape(self.frame_count, -1)
        fitted = fitted.reshape(3, -1, 2)
        both = np.einsum("sp,tpd->std", np.linalg.pinv(space), fitted)
        both /= last ** np.arange(1, 4)[None, :, None]
        return both[..., 1].ravel(), both[..., 0].ravel()


def still_field(frame_count: int, *, shape_yx: tuple[int, int]) -> MotionField:
    """Nothing moves."""
    return MotionField(degrees_yx=((0, 0),), coefficients=np.zeros((frame_count, 1, 2)), shape_yx=shape_yx)


def degrees_for(patches_yx: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Terms that so many patches can tell apart with some left to judge the noise by, by rising degree."""
    chosen: list[tuple[int, int]] = [(0, 0)]
    for degree in range(1, sum(patches_yx)):
        terms = [(degree - x, x) for x in range(degree + 1)]
        terms = [term for term in terms if term[0] < patches_yx[0] and term[1] < patches_yx[1]]
        if len(chosen) + len(terms) > 2 * patches_yx[0] * patches_yx[1] / 3:
            break
        chosen += terms
    return tuple(chosen)


def basis(
    place_yx: Float64,  # (point, yx), -1 to 1
    degrees_yx: tuple[tuple[int, int], ...],
) -> Float64:  # (point, term)
    """Products of Legendre polynomials."""
    highest = max(max(pair) for pair in degrees_yx)
    along_y, along_x = (np.polynomial.legendre.legvander(place_yx[:, axis], highest) for axis in (0, 1))
    return np.stack([along_y[:, y] * along_x[:, x] for y, x in degrees_yx], axis=1)
