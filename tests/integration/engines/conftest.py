"""Movies, parameters, and programs that stand in for those that cannot be had."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cryodaq.domain.parameters import ImagingParameters, Source, Sourced
from cryodaq.formats.mrc import write_micrograph

StandIn = Callable[[str, str], str]
HEAD = """#!{python}
# Stands in for a program: keeps the arguments it was given, and refuses those that the program does not know.
import json, os, sys
from pathlib import Path
import numpy as np

arguments = sys.argv[1:]
kept = Path({kept!r})
calls = json.loads(kept.read_text()) if kept.exists() else []
calls.append({{"arguments": arguments, "folder": os.getcwd(), "seen": sorted(os.environ)}})
kept.write_text(json.dumps(calls))


def options(known, *, flag="-"):
    found, name = {{}}, None
    for word in arguments:
        if word.startswith(flag) and word.lstrip("-")[:1].isalpha():
            name = word
            if name not in known:
                sys.exit(f"unknown option {{name}}")
            found[name] = []
        elif name is not None:
            found[name].append(word)
    return found


def write_mrc(path, picture):
    import mrcfile

    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.asarray(picture, np.float32))

"""


def said(value: float) -> Sourced:
    """A value as the operator says it."""
    return Sourced(value=value, source=Source.OPERATOR)


@pytest.fixture
def parameters() -> ImagingParameters:
    """What an operator says of a small movie."""
    return ImagingParameters(
        pixel_size_ang=said(1.0),
        voltage_kv=said(300.0),
        cs_mm=said(2.7),
        amplitude_contrast=said(0.1),
        dose_per_frame_e_ang2=said(1.5),
        particle_diameter_ang=said(150.0),
        patches_yx=(5, 7),
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """Make an executable of a name; its body comes after `HEAD`."""

    def make(name: str, body: str) -> str:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD.format(python=sys.executable, kept=str(tmp_path / f"{name}.calls.json")) + body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[str], list[list[str]]]:
    """Return the arguments of every call of a stand-in."""

    def read(name: str) -> list[list[str]]:
        kept = json.loads((tmp_path / f"{name}.calls.json").read_text())
        return [call["arguments"] for call in kept]

    return read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of one attempt."""
    path = tmp_path / "attempt"
    path.mkdir()
    return path


@pytest.fixture
def write_movie(tmp_path: Path) -> Callable[[str, NDArray[np.uint8]], Path]:
    """Write frames (frame, y, x) as TIFF or MRC of a name, rows in their order."""

    def write(name: str, frames: NDArray[np.uint8]) -> Path:
        path = tmp_path / name
        if path.suffix == ".mrc":
            with mrcfile.new(path, overwrite=True) as file:
                file.set_data(frames.astype(np.int8))
                file.set_image_stack()
        else:
            tifffile.imwrite(path, frames, photometric="minisblack", compression="lzw")
        return path

    return write


@pytest.fixture
def write_gain(tmp_path: Path) -> Callable[[NDArray[np.float32]], Path]:
    """Write a gain reference (y, x) as MRC."""

    def write(factors: NDArray[np.float32]) -> Path:
        path = tmp_path / "reference.mrc"
        write_micrograph(path, factors, pixel_size_ang=1.0)
        return path

    return write
