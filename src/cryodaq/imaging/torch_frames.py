"""Frames on a GPU: brought there, and freed from the detector's faults. Imported only where a device was chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cryodaq.errors import ImagingError
from cryodaq.imaging.detector import Detector

Tensor = Any  # Any: torch has no types where it is not installed


@contextmanager
def on_device() -> Iterator[None]:
    """Compute without gradients. Raises `ImagingError` when the device has too little memory."""
    try:
        with torch.inference_mode():
            yield
    except torch.cuda.OutOfMemoryError as error:
        raise ImagingError("the GPU has too little free memory for this movie; choose the device cpu") from error


def corrected_frames(
    frames: NDArray[np.generic],  # (frame, y, x), as `countable` returns them
    detector: Detector,
    device: str,
) -> Iterator[Tensor]:  # (y, x) each
    """Give each frame with the gain applied and bad pixels replaced, as float32 on the device."""
    height, width = frames.shape[1:]
    gain = torch.as_tensor(detector.gain, device=device)
    rows_of_bad = np.repeat(np.arange(height), np.diff(detector.bad_start))
    bad = torch.as_tensor(rows_of_bad * width + detector.bad_columns, device=device)
    number = np.arange(len(detector.bad_columns))
    for frame, counts in enumerate(frames):
        # torch knows only some unsigned types.
        known = np.array(counts, dtype=np.uint8 if counts.dtype == np.uint8 else np.float32)
        picture = torch.from_numpy(known).to(device).float() * gain
        donors = detector.donors[number, (frame + number) % detector.donors.shape[1]]
        flat = picture.view(-1)
        flat[bad] = flat[torch.as_tensor(donors, device=device)]
        yield picture
