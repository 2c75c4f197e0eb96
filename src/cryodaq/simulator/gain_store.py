"""The camera's gain reference on the gain share: one for each frame size, kept from session to session."""

from __future__ import annotations

import filecmp
import shutil
import zlib
from datetime import datetime
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryodaq.errors import ConfigError
from cryodaq.simulator.detector import Detector, make_detector, make_gain


def provide_detector(
    folder: Path,
    *,
    shape_yx: tuple[int, int],
    pixel_size_ang: float,
    seed: int,
    now: datetime,
) -> tuple[Detector, str]:
    """Give the camera for this frame size and the file name of its gain reference, which is written if new.

    A camera keeps its gain: a later session uses the file that is there, and the hot pixels that go with it.
    """
    import mrcfile

    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"EF-CCD_gain_{shape_yx[1]}x{shape_yx[0]}_"
    known = sorted(folder.glob(f"{prefix}*.mrc"))
    if known:
        with mrcfile.open(known[-1], mode="r") as mrc:
            return _detector(np.array(mrc.data, dtype=np.float32)), known[-1].name
    gain = make_gain(shape_yx, np.random.default_rng(seed))
    path = folder / f"{prefix}{now:%Y%m%d_%H%M%S}.mrc"
    part = path.with_suffix(".part")
    with mrcfile.new(part, overwrite=True) as mrc:
        mrc.set_data(gain)
        mrc.voxel_size = pixel_size_ang
    part.replace(path)
    return _detector(gain), path.name


def provide_gain_file(folder: Path, gain: Path) -> str:
    """Make the gain reference of an existing movie the newest of the gain share; return its name there.

    Where its name is taken, by another gain reference or by an older copy of itself, it gets a number.

    Raises
    ------
    ConfigError
        There is no such gain reference.
    """
    if not gain.is_file():
        problem = f"the gain reference {gain} does not exist; give the path of an MRC file"
        raise ConfigError(problem)
    folder.mkdir(parents=True, exist_ok=True)
    taken = [path for path in folder.iterdir() if path.is_file()]
    newest = max(taken, key=lambda path: path.stat().st_mtime_ns, default=None)
    if newest is not None and filecmp.cmp(newest, gain, shallow=False):
        return newest.name
    numbered = (gain.name if number == 1 else f"{gain.stem}_{number}{gain.suffix}" for number in count(1))
    target = next(path for path in (folder / name for name in numbered) if path not in taken)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(gain, part)
    part.replace(target)
    return target.name


def _detector(gain: NDArray[np.float32]) -> Detector:
    """Hot pixels belong to the camera, so they follow from its gain."""
    return make_detector(gain, np.random.default_rng(zlib.crc32(gain.tobytes())))
