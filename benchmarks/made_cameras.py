"""What movies hold besides ice: cameras that are not what their gain reference says, and bars of the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.simulator.detector import draw_poisson

Float = NDArray[np.float32]

EDGE_PX = 3.0
"""Over which the edge of a bar fades."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """How the camera of a movie differs from what its gain reference says."""

    gain: Float  # (y, x)
    hot: NDArray[np.int64]  # (pixel,), flat
    columns: NDArray[np.int64]  # the first half counts twice, the others nothing

    def count(self, expected: Float, rng: np.random.Generator) -> NDArray[np.uint8]:  # (y, x)
        """Counts of one frame."""
        counts = draw_poisson(np.maximum(expected, 1e-6) / self.gain, rng)
        counts.flat[self.hot] += rng.poisson(10, len(self.hot))
        twice, never = np.array_split(self.columns, 2)
        counts[:, twice] *= 2
        counts[:, never] = 0
        return np.minimum(counts, 255).astype(np.uint8)


def make_camera(
    gain: Float,  # (y, x), of the reference
    hot: NDArray[np.int64],
    *,
    seed: int,
    stale_gain: float,
    bad_columns: int,
) -> Camera:
    """Draw what the reference does not know, by chances of its own: movies without it stay what they were."""
    rng = np.random.default_rng([seed, 1])
    stale = 1 + stale_gain * rng.standard_normal(gain.shape, dtype=np.float32) if stale_gain else 1
    columns = rng.choice(gain.shape[1], 2 * bad_columns, replace=False)
    return Camera(gain=np.asarray(gain * stale, np.float32), hot=hot, columns=columns)


def bar_of_the_grid(
    outer_yx: tuple[int, int], shape_yx: tuple[int, int], *, margin_px: int, seed: int
) -> Float:  # (y, x) of the outer shape
    """1 below a bar, which lies aslant on the right third of the field, 0 beside it."""
    y, x = np.mgrid[: outer_yx[0], : outer_yx[1]].astype(np.float32)
    y, x = 2 * (y - margin_px) / shape_yx[0] - 1, 2 * (x - margin_px) / shape_yx[1] - 1
    behind_px = (x + 0.4 * math.sin(seed) * y - 0.35) * shape_yx[1] / 2
    return np.asarray(1 / (1 + np.exp(-np.clip(behind_px / EDGE_PX, -60, 60))), np.float32)
