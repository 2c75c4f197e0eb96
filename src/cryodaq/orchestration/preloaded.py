"""Airflow's scheduler, or a worker of Celery, with the libraries of the stages already in memory.

Each task runs in a fork of a fork of that process. What is imported there is shared by
all of them; else each of a movie's four tasks spends 0.6 CPU seconds importing it anew, and each alignment 0.3 more
on loading compiled loops.

    python -m cryodaq.orchestration.preloaded scheduler|celery worker [options of airflow]
"""

from __future__ import annotations

from importlib import import_module

STAGES = (
    "cryodaq.wiring",
    "cryodaq.app.preprocess_movie",
    "cryodaq.app.publish_results",
    "cryodaq.engines.native",
    "cryodaq.imaging.ctf",
    "cryodaq.imaging.motion",
    "cryodaq.imaging.picking",
    "cryodaq.imaging.preview",
)
IMPORTED_BY_THEM_LATE = (
    "cryodaq.formats.eer",
    "cryodaq.formats.lzw",
    "httpx",
    "imagecodecs",
    "numba",
    "PIL.Image",
    "psycopg",
    "scipy.optimize",
    "scipy.signal",
    "xxhash",
)
"""What our modules import inside of functions."""


def main() -> None:
    """Import them, then be the `airflow` command."""
    for name in (*STAGES, *IMPORTED_BY_THEM_LATE):
        import_module(name)
    import numpy as np

    from cryodaq.imaging.motion import make_ready

    # As most cameras write their movies.
    make_ready(np.dtype(np.uint8))
    from airflow.__main__ import main as airflow

    airflow()


if __name__ == "__main__":
    main()
