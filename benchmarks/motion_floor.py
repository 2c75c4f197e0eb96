"""The process that measures what no motion correction can leave out and ours does not do by itself.

Prints wall seconds, the best of a few, of decoding the movie in a folder with nothing beside it, and of transforming
one frame and back.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.fft

from cryodaq.engines.fresh_memory import fitting_pages
from cryodaq.formats.movie import read_frames
from cryodaq.imaging.cores import available_cores

RUNS = 3


def main() -> None:
    folder = Path(sys.argv[1])
    with fitting_pages():
        found = {"decoding": best_s(lambda: read_frames(folder / "movie.tif", threads=available_cores()))}
        frame = read_frames(folder / "gain.mrc")[0].astype(np.float32)
        found["one pair of transforms"] = best_s(lambda: pair(frame))
    print(json.dumps(found))


def pair(frame: np.ndarray) -> np.ndarray:
    """Transform and back."""
    transform = scipy.fft.rfft2(frame, workers=available_cores())
    return np.asarray(scipy.fft.irfft2(transform, s=frame.shape, workers=available_cores(), overwrite_x=True))


def best_s(job: Callable[[], object]) -> float:
    """Wall seconds of the fastest of a few runs."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        job()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
