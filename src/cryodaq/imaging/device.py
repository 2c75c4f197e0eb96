"""Whether there is a GPU to compute on: torch is optional (`cryodaq[gpu]`), and slow to import."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from cryodaq.errors import ImagingError

Device = Literal["auto", "cpu", "cuda"]


def gpu_for(wanted: Device) -> str | None:
    """Return torch's name of the device to compute on; None: this machine's cores, without torch.

    Parameters
    ----------
    wanted
        auto takes a GPU where torch is installed and finds one.

    Raises
    ------
    ImagingError
        When a GPU is asked for and there is none, or no torch.
    """
    if wanted == "cpu":
        return None
    if find_spec("torch") is None:
        if wanted == "auto":
            return None
        raise ImagingError("computing on a GPU needs torch; install cryodaq[gpu], or choose the device cpu")
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "auto":
        return None
    raise ImagingError("torch finds no GPU; check the driver (nvidia-smi), or choose the device cpu")
