"""The process that is timed: aligns the movie in a folder and leaves sums and track beside it.

It imports what a stage imports and nothing else. With `--forked` it does so first, as the worker does from which tasks
fork, and times a fork that aligns: what a movie takes in a facility.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from motion_profile import READY, REST_OF_DECODING, Stopwatch
from numpy.typing import NDArray

from cryodaq.engines.fresh_memory import fitting_pages
from cryodaq.engines.lasting_code import lasting_code


def main() -> None:
    folder = Path(sys.argv[1])
    if "--forked" in sys.argv[2:]:
        timed_fork(folder)
    else:
        align_here(folder, profile="--profile" in sys.argv[2:])


def align_here(folder: Path, *, profile: bool) -> None:
    """Align as a stage does; leave what each step took."""
    watch = Stopwatch()
    with fitting_pages():
        align(folder, watch, profile=profile)
    if profile:
        (folder / "profile.json").write_text(json.dumps({name: list(s) for name, s in watch.spent_s.items()}))


def timed_fork(folder: Path) -> None:
    """Load everything, then align in a fork; print its wall and CPU seconds."""
    from cryodaq.formats.movie import load_decoder
    from cryodaq.imaging.motion import make_ready

    load_decoder(folder / "movie.tif")
    make_ready(np.dtype(np.uint8))
    started = time.perf_counter()
    child = os.fork()
    if not child:
        align_here(folder, profile=False)
        sys.stdout.flush()
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError("the fork failed")
    print(json.dumps([time.perf_counter() - started, usage.ru_utime + usage.ru_stime]))


def align(folder: Path, watch: Stopwatch, *, profile: bool) -> None:
    """Read, align, and write both sums."""
    from cryodaq.formats.gain import read_gain
    from cryodaq.formats.movie import load_decoder, read_frames
    from cryodaq.formats.mrc import write_micrograph
    from cryodaq.imaging.cores import for_each
    from cryodaq.imaging.motion import AlignmentOptions, align_movie, make_ready

    order = json.loads((folder / "order.json").read_text())
    with ThreadPoolExecutor(2) as readers, lasting_code():
        reading = readers.submit(read_frames, folder / "movie.tif")
        reading_gain = readers.submit(read_gain, folder / "gain.mrc")
        with watch.step(READY):
            load_decoder(folder / "movie.tif")
            make_ready(np.dtype(np.uint8))
        if profile:
            watch.watch()
        with watch.step(REST_OF_DECODING):
            gain, frames = reading_gain.result(), reading.result()
    aligned = align_movie(
        frames,
        gain=gain,
        pixel_size_ang=order["pixel"],
        dose_per_frame_e_ang2=order["dose"],
        voltage_kv=300.0,
        options=AlignmentOptions(patches_yx=tuple(order["patches"])),
    )
    sums = {"micrograph.mrc": aligned.unweighted, "micrograph_DW.mrc": aligned.dose_weighted}
    with watch.step("write"):
        for_each(lambda name: write_micrograph(folder / name, sums[name], pixel_size_ang=order["pixel"]), sums)
    np.save(folder / "track.npy", aligned.field.displacement_px_yx(places(aligned.field.shape_yx)))


def places(shape_yx: tuple[int, int]) -> NDArray[np.float64]:  # (25, yx)
    """Where tracks are compared with the truth."""
    y, x = np.meshgrid(*((np.arange(5) + 0.5) * n / 5 for n in shape_yx), indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


if __name__ == "__main__":
    main()
