"""After `cryodaq doctor --warm` no movie waits for a compiler, whatever its frames are stored as."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

MAKE_EER = Path(__file__).parents[4] / "shared/tools/make_eer.py"
PROCESS = """
import contextlib, gc, io, json, sys
from numba.core.dispatcher import Dispatcher
from cryodaq.cli import main

compiled = {}
for movie in sys.argv[1:]:
    known = [movie, "--pixel-size-ang", "1", "--dose-per-frame-e-ang2", "1", "--patches", "2x2", "--json"]
    for stage in (["process", "--particle-diameter-ang", "40"], ["align", "--halves"]):
        sys.argv = ["cryodaq", *stage, *known]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main()
    loops = [loop for loop in gc.get_objects() if isinstance(loop, Dispatcher)]
    ours = [loop for loop in loops if loop.py_func.__module__.startswith("cryodaq")]
    compiled[movie] = sorted(loop.py_func.__name__ for loop in ours if loop.stats.cache_misses)
    used = sum(len(loop.stats.cache_hits) for loop in ours)
print(json.dumps({"compiled": compiled, "used": used}))
"""
FORKED = """
import os, signal, sys
import numpy as np
from cryodaq.imaging.motion import align_movie, make_ready

make_ready(np.dtype("u1"))
child = os.fork()
if child == 0:
    frames = np.random.default_rng(2).poisson(2.0, (6, 288, 320)).astype(np.uint8)
    aligned = align_movie(frames, pixel_size_ang=1.0, dose_per_frame_e_ang2=1.0, voltage_kv=300.0)
    os._exit(0 if np.isfinite(aligned.unweighted).all() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def movies(folder: Path) -> list[Path]:
    """One of each stored type and format."""
    counts = np.random.default_rng(3).poisson(2.0, (6, 288, 320))
    for name, stored_type, compression in (("a", "u1", "lzw"), ("b", "u2", None), ("c", "u1", "zlib")):
        path = folder / f"{name}.tiff"
        tifffile.imwrite(path, counts.astype(stored_type), compression=compression, photometric="minisblack")
    for name, stored_type in (("d", "i1"), ("e", "i2"), ("f", "u2"), ("g", "f4")):
        with mrcfile.new(folder / f"{name}.mrc") as written:
            written.set_data(counts.astype(stored_type))
    if MAKE_EER.exists():
        command = [sys.executable, MAKE_EER, folder / "h.eer", "--shape", "256x256", "--frames", "40"]
        subprocess.run([*command, "--dose-per-px", "0.1"], check=True, capture_output=True, timeout=60)
    return sorted(path for path in folder.iterdir() if path.suffix in {".tiff", ".mrc", ".eer"})


@pytest.mark.timeout(300)
def test_the_first_movie_of_any_kind_compiles_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    warm = [sys.executable, "-m", "cryodaq", "doctor", "--warm"]
    subprocess.run(warm, check=True, capture_output=True, timeout=240, env=environment)
    paths = [str(path) for path in movies(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, *paths], capture_output=True, timeout=120, check=True, env=environment
    )
    found = json.loads(done.stdout)
    assert found["compiled"] == {path: [] for path in paths}
    assert found["used"] > 10
    assert len(list(tmp_path.glob("*_cryodaq/coordinates.star"))) == len(paths)


@pytest.mark.timeout(120)
def test_what_is_ready_stays_ready_in_the_forks_of_a_task_runner() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, timeout=100)
