"""What archives get of a session, against the facts of a real one."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import xxhash

from cryodaq.errors import ExportError
from cryodaq.formats.metadata import read_metadata
from cryodaq.formats.star import write_star
from cryodaq.publish.deposition import FILES, OSC_EM, PARQUET, REQUIRED, osc_em, write_deposition


def test_a_real_session_is_described_as_its_published_description(shared_data: Path) -> None:
    folder = shared_data / "epu/epu3.8.1_LS_Metadata_reader_tutorial"
    rows = []
    for xml in sorted(folder.glob("*.xml")):
        said = asdict(read_metadata(xml)[0])
        shift, tilt = said.pop("beam_shift_xy"), said.pop("beam_tilt_xy")
        rows.append(
            {key: "" if value is None else str(value) for key, value in said.items()}
            | {"beam_shift_x": str(shift[0]), "beam_shift_y": str(shift[1])}
            | {"beam_tilt_x": str(tilt[0]), "beam_tilt_y": str(tilt[1])}
            | {"cs_mm": "2.7", "dose_e_ang2": str(said["total_dose_e_ang2"])}
        )
    made = osc_em(rows, microscope="TEM1")
    truth = json.loads((folder / "tutorial_correct.json").read_text())
    ours, theirs = made["acquisition"], truth["acquisition"]
    assert isinstance(ours, dict)
    for key in ("detector", "images_generated"):
        assert ours[key] == theirs[key]
    assert ours["nominal_magnification"] == theirs["nominal_magnification"]
    for key in ("pixel_size", "exposure_time"):
        assert ours[key]["value"] == pytest.approx(theirs[key]["value"], abs=1e-6)
        assert ours[key]["unit"] in {"Å", "s"}
    for key, value in theirs["beamshift"].items():
        assert ours["beamshift"][key] == {"value": pytest.approx(value["value"], abs=1e-6), "unit": value["unit"]}
    for key in ("x_max", "y_max"):
        wanted = theirs["beamtilt"][key]
        assert ours["beamtilt"][key] == {"value": pytest.approx(wanted["value"], abs=1e-6), "unit": wanted["unit"]}
    assert ours["energy_filter"] == theirs["energy_filter"]
    assert ours["specialist_optics"] == theirs["specialist_optics"]
    for key in ("nominal_magnification", "images_generated"):  # the schema wants whole numbers
        assert type(ours[key]) is int
    assert ours["binning_camera"] == theirs["binning_camera"]
    assert set(REQUIRED["acquisition"]) <= ours.keys()
    assert str(ours["date_time"]).startswith("2024-08-31T20:05:19")
    assert ours["microscope_software"].startswith(theirs["microscope_software"])
    assert made["instrument"] == {**truth["instrument"], "cs": {"value": 2.7, "unit": "mm"}}
    assert set(REQUIRED["instrument"]) <= made["instrument"].keys()


def test_what_osc_em_requires_and_nothing_says_is_named(tmp_path: Path) -> None:
    made = write_deposition(sample(tmp_path / "20260302-CS01_TEM1/s"), tmp_path / "out")
    said = json.loads((tmp_path / "out" / OSC_EM).read_text())
    assert said["instrument"]["microscope"] == "TEM1"
    assert set(made.osc_em_lacks) == {
        *("acquisition.detector", "acquisition.date_time", "acquisition.binning_camera", "acquisition.pixel_size"),
        *("instrument.illumination", "instrument.imaging", "instrument.electron_source"),
    }


COLUMNS = {
    "run": "m1",
    "movie": "raw/m1.tiff",
    "gain": "raw/GainRefs/K3.mrc",
    "micrograph_dose_weighted": "aligned/m1_DW.mrc",
    "voltage_kv": "300.0",
    "cs_mm": "2.7",
    "ctf_fitted": "True",
    "ctf_defocus_u_ang": "20100",
    "ctf_defocus_v_ang": "19900",
    "dose_per_frame_e_ang2": "1.25",
    "frame_count": "40",
    "dose_e_ang2": "50.0",
    "picks_count": "",
}


def sample(folder: Path) -> Path:
    """Make the folder of a sample with two movies, one verified."""
    (folder / "raw").mkdir(parents=True)
    (folder / "raw/m1.tiff").write_bytes(b"12345")
    other = COLUMNS | {"run": "m2", "movie": "raw/m2.tiff", "ctf_fitted": "False", "ctf_defocus_u_ang": ""}
    other["micrograph_dose_weighted"] = "aligned/m2_DW.mrc"
    with (folder / "micrographs.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(COLUMNS))
        writer.writeheader()
        writer.writerows([COLUMNS, other])
    (folder / "manifest.xxh128").write_text(f"{'a' * 32}  raw/m1.tiff\n{'b' * 32}  raw/m1.xml\n")
    return folder


def test_units_and_ranges_are_said_and_files_carry_their_verified_checksums(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    made = write_deposition(sample(tmp_path / "s"), tmp_path / "out")
    assert (made.movies, made.files_with_checksum) == (2, 2)
    said = json.loads((tmp_path / "out" / OSC_EM).read_text())
    assert said["instrument"]["cs"] == {"value": 2.7, "unit": "mm"}
    assert said["acquisition"]["dose_per_movie"] == {"value": 50.0, "unit": "1/Å^2"}
    assert said["acquisition"]["calibrated_defocus"]["minimal"] == {"value": -2000.0, "unit": "nm"}
    assert "detector" not in said["acquisition"]
    lines = [line.split("\t") for line in (tmp_path / "out" / FILES).read_text().splitlines()]
    assert lines[1] == ["raw/GainRefs/K3.mrc", "-", "-", "MRC", "gain reference"]
    assert lines[2] == ["raw/m1.tiff", "5", "a" * 32, "TIFF", "movie"]
    assert lines[3] == ["raw/m1.xml", "-", "b" * 32, "XML", "other"]
    assert lines[4] == ["raw/m2.tiff", "-", "-", "TIFF", "movie"]
    assert (made.checksums_computed, made.files_gone) == (0, 2)
    table = pq.read_table(tmp_path / "out" / PARQUET).to_pydict()
    assert (table["voltage_kv"], table["ctf_fitted"], table["run"]) == ([300.0, 300.0], [True, False], ["m1", "m2"])
    assert table["ctf_defocus_u_ang"] == [20100.0, None]


def test_files_that_no_manifest_names_are_read_for_their_checksum(tmp_path: Path) -> None:
    folder = sample(tmp_path / "s")
    (folder / "raw/GainRefs").mkdir()
    (folder / "raw/GainRefs/K3.mrc").write_bytes(b"gain")
    (folder / "raw/m2.tiff").write_bytes(b"second")
    made = write_deposition(folder, tmp_path / "out")
    lines = [line.split("\t") for line in (tmp_path / "out" / FILES).read_text().splitlines()]
    assert lines[1][:3] == ["raw/GainRefs/K3.mrc", "4", xxhash.xxh3_128(b"gain").hexdigest()]
    assert lines[4][:3] == ["raw/m2.tiff", "6", xxhash.xxh3_128(b"second").hexdigest()]
    assert (made.files_with_checksum, made.checksums_computed, made.files_gone) == (4, 2, 0)
    (folder / "manifest.xxh128").unlink()
    made = write_deposition(folder, tmp_path / "out")
    assert (made.files_with_checksum, made.checksums_computed) == (3, 3)


def test_only_what_was_selected_is_deposited(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder, selection, out = sample(tmp_path / "s"), tmp_path / "in.star", tmp_path / "out"
    write_star(selection, {"micrographs": {"rlnMicrographName": ["aligned/m1_DW.mrc"]}})
    made = write_deposition(folder, out, selection=selection)
    assert (made.movies, made.files_with_checksum) == (1, 2)
    assert "raw/m2.tiff" not in (out / FILES).read_text()
    assert json.loads((out / OSC_EM).read_text())["acquisition"]["images_generated"] == 1
    assert pq.read_table(out / PARQUET).to_pydict()["run"] == ["m1"]
    write_star(selection, {"micrographs": {"rlnMicrographName": ["aligned/another_DW.mrc"]}})
    with pytest.raises(ExportError, match="names no micrograph"):
        write_deposition(folder, out, selection=selection)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no movie of it was published yet"):
        write_deposition(tmp_path, tmp_path / "out")
