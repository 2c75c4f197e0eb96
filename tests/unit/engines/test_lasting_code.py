"""Code that is loaded for good is left out of garbage collection, once in a process."""

from __future__ import annotations

import subprocess
import sys

LOADS_TWICE = """
import gc
from cryodaq.engines.lasting_code import lasting_code

with lasting_code():
    assert not gc.isenabled()
    import numba
kept = gc.get_freeze_count()
assert gc.isenabled() and kept > 10_000, kept
own = [[] for _ in range(1000)]
with lasting_code():
    assert gc.isenabled()
assert gc.get_freeze_count() <= kept
"""


def test_only_what_is_loaded_first_is_left_out_of_garbage_collection() -> None:
    subprocess.run([sys.executable, "-c", LOADS_TWICE], check=True, timeout=60)
