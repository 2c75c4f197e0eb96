"""Frames of next to no dose, added up in groups for finding the motion.

A detector that is read out hundreds of times shows nothing in one frame that it does not show in two, while the work
of weighing kinds of motion grows with the cube of their number: 240 frames took 70 times as long as 40.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryodaq.imaging.motion_field import MotionField

Float64 = NDArray[np.float64]

MOST_GROUPS = 80
"""Points in time between which motion is taken as steady."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameGroups:
    """Which frames belong together; the last group may be smaller."""

    frame_count: int
    size: int
    """Frames in a group."""

    @classmethod
    def for_frames(cls, frame_count: int) -> FrameGroups:
        """Groups as small as their number allows."""
        return cls(frame_count=frame_count, size=-(-frame_count // MOST_GROUPS))

    @property
    def starts(self) -> NDArray[np.intp]:
        """First frame of each group."""
        return np.arange(0, self.frame_count, self.size)

    def members(self) -> list[slice]:
        """Frames of each group."""
        return [slice(start, min(start + self.size, self.frame_count)) for start in self.starts.tolist()]

    def brightness(self, of_frames: Float64) -> Float64:  # (group,)
        """Electrons in each group relative to a usual one, from those in frames relative to a usual frame."""
        return np.asarray(np.add.reduceat(of_frames, self.starts) / self.size)

    def field_of_frames(self, field: MotionField) -> MotionField:
        """Field of all frames from that of the groups, which lies in the middle of each of them."""
        if self.size == 1:
            return field
        middles = np.array([(group.start + group.stop - 1) / 2 for group in self.members()])
        frames = np.arange(self.frame_count)
        # The first and the last frames lie on the lines through their two groups, beyond the middles.
        after = np.clip(np.searchsorted(middles, frames), 1, len(middles) - 1)
        share = ((frames - middles[after - 1]) / (middles[after] - middles[after - 1]))[:, None, None]
        given = field.coefficients
        coefficients = given[after - 1] * (1 - share) + given[after] * share
        return MotionField(
            degrees_yx=field.degrees_yx, coefficients=coefficients - coefficients[0], shape_yx=field.shape_yx
        )
