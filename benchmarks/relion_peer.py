"""RELION's own motion correction, as a peer: Debian's package, run on a movie that was made here."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

PROGRAM = "relion_run_motioncorr"
OPTICS = """data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
opticsGroup1 1 {pixel} 300 2.7 0.1

data_movies

loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
movie.tif 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a whole process took, and what it made."""

    wall_s: float
    cpu_s: float
    peak_gb: float
    sum: NDArray[np.float32]  # (y, x), not dose weighted
    dose_weighted: NDArray[np.float32]  # (y, x)


def install() -> None:
    """Install the Debian package unless the program is there already (needs root)."""
    if shutil.which(PROGRAM) is None:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", "relion"], check=True)


def timed(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a program; wall seconds, CPU seconds and peak memory in GB of it alone."""
    started = time.perf_counter()
    with (folder / "output.txt").open("wb") as output:
        child = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError((folder / "output.txt").read_text(errors="replace")[-2000:])
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def align(folder: Path, *, pixel_size_ang: float, dose_per_frame_e_ang2: float, patches_yx: tuple[int, int]) -> Run:
    """Align `folder`/movie.tif with `folder`/gain.mrc; RELION reads the rows of a TIFF from the last one on."""
    (folder / "movies.star").write_text(OPTICS.format(pixel=pixel_size_ang))
    with mrcfile.open(folder / "gain.mrc") as gain:
        mrcfile.write(folder / "gain_turned.mrc", gain.data[::-1].copy(), overwrite=True)
    command = [PROGRAM, "--use_own", "--i", "movies.star", "--o", "relion/", "--j", "2", "--gainref", "gain_turned.mrc"]
    command += ["--angpix", str(pixel_size_ang), "--dose_per_frame", str(dose_per_frame_e_ang2), "--voltage", "300"]
    command += ["--patch_x", str(patches_yx[1]), "--patch_y", str(patches_yx[0]), "--bfactor", "150"]
    command += ["--dose_weighting", "--save_noDW"]
    wall_s, cpu_s, peak_gb = timed(command, folder)
    plain, weighted = (mrcfile.read(folder / "relion" / name)[::-1] for name in ("movie_noDW.mrc", "movie.mrc"))
    return Run(
        wall_s=wall_s,
        cpu_s=cpu_s,
        peak_gb=peak_gb,
        sum=plain.astype(np.float32),
        dose_weighted=weighted.astype(np.float32),
    )
