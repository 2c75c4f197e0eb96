"""CTFFIND 4, CTFFIND 5 and Gctf, played back: questions answered, real results read, wrong ones not believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cryodaq.domain.parameters import ImagingParameters
from cryodaq.domain.results import CtfResult
from cryodaq.engines import catalogue
from cryodaq.engines.program import ProgramSettings
from cryodaq.errors import EngineError, FormatError
from cryodaq.formats.mrc import write_micrograph

CTFFIND = """
lines = [line.strip() for line in sys.stdin]
micrograph, diagnostic, pixel, voltage, cs, contrast, box, coarse, fine, low, high, step = lines[:12]
if not Path(micrograph).is_file() or min(map(float, (pixel, voltage, box, step))) <= 0:
    sys.exit("bad answer")
if float(fine) < 2 * float(pixel) or lines[12:17] != ["no", "yes", "yes", "500", "no"]:
    sys.exit("bad answer")
kept.with_name("boxes.txt").open("a").write(box + " ")
write_mrc(diagnostic, np.add.outer(np.arange(32.0), np.arange(32.0)))
Path(diagnostic).with_suffix(".txt").write_text(Path("RESULT").read_text())
curves = Path("RESULT".replace(".txt", "_avrot.txt"))
if curves.is_file():
    Path(diagnostic.replace(".mrc", "_avrot.txt")).write_text(curves.read_text())
print(Path("LOG").read_text())
"""
GCTF = """
given = options({"--apix", "--kV", "--cs", "--ac", "--boxsize", "--resL", "--resH", "--defL", "--defH", "--defS",
                 "--gid", "--logsuffix", "--ctfstar", "--do_EPA",
                 "--phase_shift_L", "--phase_shift_H", "--phase_shift_S"}, flag="--")
stem = Path(arguments[-1]).stem
write_mrc(stem + ".ctf", np.add.outer(np.arange(32.0), np.arange(32.0)))
Path(stem + given["--logsuffix"][0]).write_text(VALUES)
print("done")
"""
GCTF_VALUES = (
    "   Defocus_U   Defocus_V       Angle        CCC\\n"
    "    22195.93    22722.04       47.05    0.139181  Final Values\\n"
    "\\nResolution limit estimated by EPA: RES_LIMIT 3.972\\n"
)
"""A real result (Gctf 1.06), with a better score."""

Fit = Callable[..., CtfResult]


@pytest.fixture
def micrograph(tmp_path: Path) -> Path:
    path = tmp_path / "the aligned one.mrc"
    write_micrograph(path, np.ones((32, 32), np.float32), pixel_size_ang=1.0)
    return path


@pytest.fixture
def fit(stand_in, tmp_path: Path, folder: Path, micrograph: Path, parameters: ImagingParameters) -> Fit:  # type: ignore[no-untyped-def]
    def run(name: str, result: Path, log: Path, *, version: str | None = None, both: bool = False) -> CtfResult:
        body = CTFFIND.replace("RESULT", str(result)).replace("LOG", str(log))
        settings = ProgramSettings(executable=stand_in(name, body), version=version, timeout_s=60)
        engine = catalogue.ctf_estimation(name, settings)
        return engine.fit(micrograph, unaligned_sum=micrograph if both else None, parameters=parameters, folder=folder)

    return run


@pytest.mark.parametrize("number", ["21", "23", "25", "27", "29", "31", "36", "39", "42", "44", "46", "48"])
def test_none_of_the_wrong_ctffind_results_is_believed(
    shared_data: Path, fit: Fit, tmp_path: Path, number: str, caplog: pytest.LogCaptureFixture
) -> None:
    stem = shared_data / f"logs/ctffind4.1.14/201706{29}_000{number}_frameImage_PS"
    result = fit("ctffind4", stem.with_suffix(".txt"), stem.with_name(f"{stem.name}_ctffind4.log"))
    assert not result.aligned.fitted
    assert result.aligned.defocus_u_ang > 30_000  # kept for people to see
    assert "is not believed" in caplog.text
    drawn = json.loads(Path(str(result.curves)).read_text())["aligned"]
    assert drawn["fit"]["fitted"] is False
    assert len(drawn["curve"]["frequency_per_ang"]) == len(drawn["curve"]["fitted"]) > 100
    # A larger box is tried, unless the score is no better than that of an empty picture anyway.
    assert (tmp_path / "boxes.txt").read_text().split()[0] == "512"
    if "aliased" in caplog.text:
        assert (tmp_path / "boxes.txt").read_text() == "512 1024 "


def test_ctffind_5_is_believed_and_speaks_relions_convention(shared_data: Path, fit: Fit, tmp_path: Path) -> None:
    log = tmp_path / "five.log"
    log.write_text("Thon rings with good fit up to  : 3.7 Angstroms\n")
    result = fit("ctffind5", shared_data / "logs/ctffind5_example_from_docs.txt", log, version="5.0", both=True)
    assert result.aligned.fitted
    assert result.aligned == result.unaligned
    assert (result.aligned.defocus_u_ang, result.aligned.defocus_v_ang) == (8984.742188, 8709.236328)
    assert (result.aligned.defocus_angle_deg, result.aligned.phase_shift_deg) == (45.948771, 0.0)
    assert (result.aligned.score, result.aligned.fit_resolution_ang) == (0.446317, 3.72)
    assert result.engine == "ctffind5"
    for picture in (result.spectrum, result.spectrum_unaligned):
        assert picture is not None
        with Image.open(picture) as opened:
            assert opened.size == (512, 512)
    assert (tmp_path / "boxes.txt").read_text() == "512 512 "


def test_a_phase_shift_comes_in_degrees_and_a_negative_azimuth_in_the_half_circle(
    shared_data: Path, fit: Fit, tmp_path: Path
) -> None:
    text = (shared_data / "logs/ctffind5_example_from_docs.txt").read_text()
    changed = tmp_path / "changed.txt"
    changed.write_text(text.replace("45.948771 0.000000", "-14.5 1.570796"))
    fitted = fit("ctffind5", changed, changed).aligned
    assert fitted.defocus_angle_deg == pytest.approx(165.5)
    assert fitted.phase_shift_deg == pytest.approx(90.0, abs=1e-3)


def test_infinity_is_no_fit_and_can_be_stored(shared_data: Path, fit: Fit, tmp_path: Path) -> None:
    text = (shared_data / "logs/ctffind5_example_from_docs.txt").read_text()
    changed = tmp_path / "changed.txt"
    changed.write_text(text.replace("0.446317 3.720000", "-nan inf"))
    fitted = fit("ctffind5", changed, changed).aligned
    assert not fitted.fitted
    assert (fitted.score, fitted.fit_resolution_ang) == (0.0, 0.0)


def test_the_other_version_of_ctffind_is_refused(shared_data: Path, fit: Fit) -> None:
    path = shared_data / "logs/ctffind5_example_from_docs.txt"
    with pytest.raises(EngineError, match=r"ctffind4: version 5\.0\.2 is installed"):
        fit("ctffind4", path, path)
    with pytest.raises(EngineError, match=r"the facility file wants 5\.1"):
        fit("ctffind5", path, path, version="5.1")


def test_a_result_that_is_cut_short_is_an_error(shared_data: Path, fit: Fit, tmp_path: Path) -> None:
    cut = tmp_path / "cut.txt"
    cut.write_text("".join((shared_data / "logs/ctffind5_example_from_docs.txt").open().readlines()[:-1]))
    with pytest.raises(FormatError, match="no result"):
        fit("ctffind5", cut, cut)


def test_a_program_that_leaves_nothing_has_failed(
    stand_in,
    micrograph: Path,
    folder: Path,
    parameters: ImagingParameters,  # type: ignore[no-untyped-def]
) -> None:
    engine = catalogue.ctf_estimation(
        "ctffind5", ProgramSettings(executable=stand_in("ctffind", "print('Segmentation fault')"))
    )
    with pytest.raises(EngineError, match=r"left no aligned_spectrum\.txt") as failed:
        engine.fit(micrograph, unaligned_sum=None, parameters=parameters, folder=folder)
    assert "Segmentation fault" in failed.value.last_lines


@pytest.fixture
def gctf(stand_in, micrograph: Path, folder: Path, parameters: ImagingParameters) -> Fit:  # type: ignore[no-untyped-def]
    """Fit the same micrograph twice, as the aligned and the unaligned one."""

    def run(**changes: object) -> CtfResult:
        executable = stand_in("Gctf", GCTF.replace("VALUES", f'"{GCTF_VALUES}"'))
        engine = catalogue.ctf_estimation("gctf", ProgramSettings(executable=executable, gpus=(3,)))
        changed = replace(parameters, **changes)  # type: ignore[arg-type]  # fields by name
        return engine.fit(micrograph, unaligned_sum=micrograph, parameters=changed, folder=folder)

    return run


def test_gctf_searches_a_phase_shift_only_where_there_is_a_phase_plate(gctf: Fit, calls) -> None:  # type: ignore[no-untyped-def]
    for there in (False, True):
        gctf(phase_plate=there)
    without, _, plate, _ = (" ".join(call) for call in calls("Gctf"))
    assert "phase_shift" not in without
    assert "--phase_shift_L 0 --phase_shift_H 180 --phase_shift_S 10" in plate


def test_gctf_gets_its_arguments_and_u_is_the_larger_defocus(gctf: Fit, calls) -> None:  # type: ignore[no-untyped-def]
    result = gctf()
    assert result.unaligned == result.aligned
    assert result.aligned.fitted
    assert (result.aligned.defocus_u_ang, result.aligned.defocus_v_ang) == (22722.04, 22195.93)
    assert result.aligned.defocus_angle_deg == pytest.approx(137.05)
    assert (result.aligned.score, result.aligned.fit_resolution_ang) == (0.139181, 3.972)
    first, second = calls("Gctf")
    text = " ".join(first)
    assert "--apix 1 --kV 300 --cs 2.7 --ac 0.1 --boxsize 1024 --resL 30 --resH 4" in text
    assert "--defL 1000 --defH 50000 --defS 500 --gid 3" in text
    assert (first[-1], second[-1]) == ("aligned.mrc", "unaligned.mrc")
