"""The frames as the search for motion wants them: binned, and cut into patches; on this machine's cores."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.cores import for_each
from cryodaq.imaging.detector import Detector, row_blocks
from cryodaq.imaging.drift import FrameSpectra, binned_spectra
from cryodaq.imaging.frame_groups import FrameGroups
from cryodaq.imaging.movie_kernels import bin_rows
from cryodaq.imaging.patches import Patches, PatchPlan, PatchSpectra, cut_patches
from cryodaq.imaging.workspace import Workspace

ROWS_AT_ONCE = 16
"""Binned rows that one thread makes of all frames."""


class BinnedFrames(Protocol):
    """Frames, or groups of them, without the detector's faults, squares of pixels added up, wherever they lie."""

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Of a binned frame."""
        ...

    def coarse(self, *, pixel_size_ang: float) -> FrameSpectra:
        """Return what the rough search for the track of the whole field needs; Å per raw pixel."""
        ...

    def cut(self, plan: PatchPlan) -> Patches:
        """Cut patches; the binned frames are gone then."""
        ...

    def release(self) -> None:
        """Give back what the patches took; nobody looks at them any more."""
        ...


class FramesOnCores:
    """`BinnedFrames` in this machine's memory."""

    def __init__(
        self,
        counts: NDArray[np.generic],  # (frame, y, x)
        detector: Detector,
        *,
        groups: FrameGroups,
        bin_px: int,
        workspace: Workspace,
    ) -> None:
        self._bin_px, self._workspace = bin_px, workspace
        self._patches: PatchSpectra | None = None
        shape_yx = counts.shape[1] // bin_px, counts.shape[2] // bin_px
        self._binned = workspace.empty((len(groups.starts), *shape_yx), np.float32)
        if groups.size == 1:
            _bin(counts, 0, detector, self._binned)
            return
        few = np.empty((groups.size, *shape_yx), np.float32)
        for number, members in enumerate(groups.members()):
            some = few[: members.stop - members.start]
            _bin(counts[members], members.start, detector, some)
            some.sum(axis=0, out=self._binned[number])

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Of a binned frame."""
        return self._binned.shape[1], self._binned.shape[2]

    def coarse(self, *, pixel_size_ang: float) -> FrameSpectra:
        """Return what the rough search needs."""
        return binned_spectra(self._binned, bin_px=self._bin_px, pixel_size_ang=pixel_size_ang)

    def cut(self, plan: PatchPlan) -> Patches:
        """Cut patches; the binned frames' memory is free then."""
        self._patches = cut_patches(self._binned, plan, workspace=self._workspace)
        self._workspace.give_back(self._binned)
        return self._patches

    def release(self) -> None:
        """Let later steps use the patches' memory."""
        if self._patches is not None:
            self._workspace.give_back(self._patches.spectra)
            self._patches = None


def _bin(counts: NDArray[np.generic], first: int, detector: Detector, binned: NDArray[np.float32]) -> None:
    """Correct frames, from the `first` of the movie on, and add up squares of their pixels, both (frame, y, x)."""
    blocks = row_blocks(binned.shape[1], ROWS_AT_ONCE)
    for_each(lambda rows: bin_rows(counts, first, rows, detector.correction, binned), blocks)
