"""Topaz and crYOLO, played back: arguments checked, coordinates in pixels of the micrograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.engines import catalogue
from cryodaq.engines.program import ProgramSettings
from cryodaq.errors import EngineError
from cryodaq.formats.mrc import write_micrograph
from cryodaq.formats.star import read_star

TOPAZ = """
if arguments == ["--version"]:
    print("TOPAZ 0.2.5")
    sys.exit()
verb = arguments.pop(0)
if verb == "preprocess":
    given = options({"--scale", "--device", "--num-workers", "--num-threads", "--destdir"}, flag="--")
    target = Path(given["--destdir"][0])
    if not target.is_dir():
        sys.exit("no folder")
    (target / Path(arguments[-1]).name).write_bytes(Path(arguments[-1]).read_bytes())
else:
    given = options({"--model", "--radius", "--threshold", "--up-scale", "--device", "--num-workers", "--num-threads",
                     "--output"}, flag="--")
    if not Path(arguments[-1]).is_file():
        sys.exit("no micrograph")
    scale = int(given["--up-scale"][0])
    rows = [f"micrograph\\t{x * scale}\\t{y * scale}\\t{score}" for x, y, score in ((3, 4, 0.5), (10, 20, 4.25))]
    Path(given["--output"][0]).write_text("\\n".join(["image_name\\tx_coord\\ty_coord\\tscore", *rows, ""]))
"""
CRYOLO = """
given = options({"-c", "-w", "-i", "-o", "-t", "-g", "-nc", "--otf"})
if json.loads(Path(given["-c"][0]).read_text())["model"]["anchors"] != [150, 150] or not Path(given["-i"][0]).is_file():
    sys.exit("bad configuration")
stars = Path(given["-o"][0]) / "STAR"
stars.mkdir(parents=True)
if PICKS:
    (stars / "micrograph.star").write_text(
        "\\ndata_\\n\\nloop_\\n_rlnCoordinateX #1\\n_rlnCoordinateY #2\\n_rlnClassNumber #3\\n_rlnAnglePsi #4\\n"
        "120.5 80.25 -9999 -9999\\n400.0 310.0 -9999 -9999\\n")
"""


@pytest.fixture
def micrograph(tmp_path: Path) -> Path:
    path = tmp_path / "one.mrc"
    write_micrograph(path, np.ones((64, 64), np.float32), pixel_size_ang=1.0)
    return path


def test_topaz_picks_come_in_pixels_of_the_micrograph_best_first(
    stand_in,
    calls,
    micrograph: Path,
    folder: Path,
    parameters: ImagingParameters,  # type: ignore[no-untyped-def]
) -> None:
    settings = ProgramSettings(executable=stand_in("topaz", TOPAZ), gpus=())
    result = catalogue.particle_picking("topaz", settings).pick(micrograph, parameters=parameters, folder=folder)
    table = next(iter(read_star(Path(result.coordinates)).values()))
    assert (table["rlnCoordinateX"], table["rlnCoordinateY"]) == ([70.0, 21.0], [140.0, 28.0])
    assert table["rlnAutopickFigureOfMerit"] == [4.25, 0.5]
    assert (result.count, result.diameter_ang, result.engine) == (2, 150.0, "topaz")
    _, preprocess, extract = (" ".join(words) for words in calls("topaz"))
    assert preprocess.startswith("preprocess --scale 7 --device -1 --num-workers 0 --num-threads 1")
    assert "--model resnet16 --radius 10 --threshold -1 --up-scale 7 --device -1" in extract


def test_a_site_chooses_topazs_model_threshold_and_device(
    stand_in,
    calls,
    micrograph: Path,
    folder: Path,
    parameters: ImagingParameters,  # type: ignore[no-untyped-def]
) -> None:
    settings = ProgramSettings(executable=stand_in("topaz", TOPAZ), gpus=(2,), model="/soft/own.sav", threshold=0.0)
    catalogue.particle_picking("topaz", settings).pick(micrograph, parameters=parameters, folder=folder)
    extract = " ".join(calls("topaz")[-1])
    assert "--model /soft/own.sav" in extract
    assert "--threshold 0" in extract
    assert "--device 2" in extract


def test_cryolo_picks_with_the_sites_model(
    stand_in,
    calls,
    micrograph: Path,
    folder: Path,
    parameters: ImagingParameters,  # type: ignore[no-untyped-def]
) -> None:
    executable = stand_in("cryolo_predict.py", CRYOLO.replace("PICKS", "True"))
    settings = ProgramSettings(executable=executable, model="/soft/gmodel.h5")
    result = catalogue.particle_picking("cryolo", settings).pick(micrograph, parameters=parameters, folder=folder)
    table = next(iter(read_star(Path(result.coordinates)).values()))
    assert (table["rlnCoordinateX"], table["rlnCoordinateY"]) == ([120.5, 400.0], [80.25, 310.0])
    (words,) = calls("cryolo_predict.py")
    assert words[words.index("-w") + 1] == "/soft/gmodel.h5"
    assert words[words.index("-t") + 1] == "0.3"


def test_no_particles_are_no_error(
    stand_in,
    micrograph: Path,
    folder: Path,
    parameters: ImagingParameters,  # type: ignore[no-untyped-def]
) -> None:
    executable = stand_in("cryolo_predict.py", CRYOLO.replace("PICKS", "False"))
    settings = ProgramSettings(executable=executable, model="/soft/gmodel.h5")
    result = catalogue.particle_picking("cryolo", settings).pick(micrograph, parameters=parameters, folder=folder)
    assert result.count == 0
    assert Path(result.coordinates).is_file()


def test_cryolo_without_a_model_says_so(micrograph: Path, folder: Path, parameters: ImagingParameters) -> None:
    with pytest.raises(EngineError, match="trained model"):
        catalogue.particle_picking("cryolo").pick(micrograph, parameters=parameters, folder=folder)
