"""Motion in movies that are dealt out, electron by electron, of a real counted micrograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cryodaq.formats.mrc import read_sections
from cryodaq.imaging.motion import AlignmentOptions, align_movie

MICROGRAPH = (
    Path(__file__).parents[3] / ".." / "shared" / "data" / "micrographs" / "falcon3_epu2.9" / "epu2.9_example.mrc"
)
UNITS_PER_ELECTRON = 307.0
FRAMES, SEED = 40, 1
CROP_PX = 4096


@pytest.fixture(scope="module")
def dealt() -> NDArray[np.uint8]:  # (frame, y, x)
    """Every electron of a real micrograph dealt to one frame."""
    if not MICROGRAPH.is_file():
        pytest.skip(f"the real micrograph {MICROGRAPH} is not here; the shared data folder belongs beside the project")
    sections, _ = read_sections(MICROGRAPH)
    counts = sections[0][:CROP_PX, :CROP_PX].astype(np.float32) / UNITS_PER_ELECTRON
    left = np.rint(counts).clip(0).astype(np.int64)
    print("seed", SEED)
    rng = np.random.default_rng(SEED)
    frames = np.empty((FRAMES, *left.shape), np.uint8)
    for number, frame in enumerate(frames):
        mine = rng.binomial(left, 1 / (FRAMES - number))
        left -= mine
        frame[:] = mine
    return frames


def moved_and_binned(dealt: NDArray[np.uint8], half_px_yx: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Each frame moved by whole pixels and binned by two."""
    size = CROP_PX // 2
    moved = (np.roll(frame, tuple(shift), axis=(0, 1)) for frame, shift in zip(dealt, half_px_yx, strict=True))
    return np.array([frame.reshape(size, 2, size, 2).sum(axis=(1, 3), dtype=np.uint8) for frame in moved])


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("seed", "total_px", "patches_yx"), [(1, 6.0, (3, 3)), (3, 0.0, (3, 3))])
def test_a_real_specimen_is_followed_within_a_fifth_of_a_pixel(
    dealt: NDArray[np.uint8], seed: int, total_px: float, patches_yx: tuple[int, int]
) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, FRAMES)
    angle = rng.uniform(0, 2 * np.pi)
    path = total_px * (1 - np.exp(-4 * time))[:, None] * np.array([np.sin(angle), np.cos(angle)])
    half_px = np.rint(2 * path).astype(int)
    aligned = align_movie(
        moved_and_binned(dealt, half_px),
        pixel_size_ang=1.3331,
        dose_per_frame_e_ang2=41.17 / FRAMES,
        voltage_kv=300.0,
        options=AlignmentOptions(patches_yx=patches_yx),
    )
    y, x = np.meshgrid(np.linspace(200, 1848, 4), np.linspace(200, 1848, 4), indexing="ij")
    found = aligned.field.displacement_px_yx(np.stack([y.ravel(), x.ravel()], axis=1))
    error = found - half_px[:, None, :] / 2
    # What is off in frame 0 alone is off everywhere: it counts in the second figure only.
    assert np.sqrt(((error - error.mean(axis=0)) ** 2).sum(axis=-1).mean()) < 0.2
    assert np.sqrt((error**2).sum(axis=-1).mean()) < 0.3
