"""EPU's XML is read as its own programs meant it, against published readings of the same files."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.errors import FormatError
from cryodaq.formats.epu_xml import read_epu_xml
from cryodaq.formats.metadata import read_metadata

SHARED = Path(__file__).parents[4] / "shared" / "data" / "epu"
DATA = Path(__file__).parents[2] / "data" / "epu"
K3 = DATA / "FoilHole_9015883_Data_9017354_6_20250108_154918.xml"


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here: the real sessions lie in ../shared beside the project")
    return path


def test_a_k3_exposure_of_epu_3() -> None:
    found = read_epu_xml(K3.read_bytes(), source=f"s/Images-Disc1/GridSquare_8999138/Data/{K3.name}")
    assert found.pixel_size_ang == pytest.approx(1.0558814, abs=1e-6)
    assert found.voltage_kv == 300
    assert found.frame_count == 50
    assert found.total_dose_e_ang2 == pytest.approx(14.5578, abs=1e-3)
    assert found.dose_per_frame_e_ang2 == pytest.approx(14.5578 / 50, abs=1e-4)
    assert found.exposure_time_s == 0.89
    assert found.applied_defocus_ang == pytest.approx(27_000)
    assert found.camera == "BioQuantum K3"
    assert found.detector_mode == "counting"
    assert found.super_resolution is False
    assert (found.grid_square, found.foil_hole) == ("8999138", "9015883")
    assert found.beam_shift_xy == pytest.approx((0.0824887, -0.1394617), abs=1e-6)
    assert found.software == "EPU 3.9.1.8206"
    assert found.acquired_at == "2025-01-08T15:49:21.104970+00:00"


def test_an_eer_exposure_names_its_gain_and_promises_no_number_of_frames() -> None:
    path = DATA / "FoilHole_31936319_Data_31923985_31923987_20240831_200517.xml"
    (found,) = read_metadata(path)
    assert found.frame_count is None
    assert found.gain_file_name == "20240830_103455_EER_GainReference.gain"
    assert found.camera == "Falcon 4i"
    assert found.total_dose_e_ang2 == pytest.approx(24.670, abs=1e-3)
    assert found.applied_defocus_ang == pytest.approx(12_000)


def test_the_fractions_file_says_how_many_frames_the_movie_has() -> None:
    name = "FoilHole_5330605_Data_5338300_5338302_20200206_190224"
    fractions = read_epu_xml((DATA / f"{name}_Fractions.xml").read_bytes(), source=f"{name}_Fractions.xml")
    image = read_epu_xml((DATA / f"{name}.xml").read_bytes(), source=f"{name}.xml")
    assert fractions.frame_count == image.frame_count == 22
    assert fractions.exposure_time_s == pytest.approx(image.exposure_time_s, rel=0.05)  # without the dead time
    assert (fractions.camera, fractions.detector_mode) == ("Falcon-3", "counting")


def test_all_real_files_of_all_versions_are_read() -> None:
    session = [path for path in shared().rglob("FoilHole_*_Data_*.xml") if path.stat().st_size > 1000]
    assert len(session) > 130
    for path in session:
        found = read_epu_xml(path.read_bytes(), source=str(path))
        assert found.exposure_time_s is not None
        if "_Fractions" not in path.name:
            assert found.voltage_kv in {200, 300}
            assert 0.3 < (found.pixel_size_ang or 0) < 2
            assert 3_000 <= (found.applied_defocus_ang or 0) <= 60_000


def test_an_old_version_agrees_with_another_reader() -> None:
    folder = shared("transphire_by_version")
    name = "xml_epu_1_8_k2.xml"
    wanted = json.loads((folder / "expected_values.json").read_text())[name]
    found = read_epu_xml((folder / name).read_bytes(), source=name)
    assert found.pixel_size_ang == pytest.approx(float(wanted["pixelSize_x"]) * 1e10)
    assert found.total_dose_e_ang2 == pytest.approx(float(wanted["Dose"]) * 1e-20)
    assert found.voltage_kv == float(wanted["AccelerationVoltage"]) / 1000
    assert found.exposure_time_s == float(wanted["camera_ExposureTime"])
    assert found.applied_defocus_ang == pytest.approx(-float(wanted["AppliedDefocus"]) * 1e10)
    assert found.frame_count == int(wanted["NumberOffractions"])
    assert found.magnification == float(wanted["NominalMagnification"])
    assert found.stage_x_um == pytest.approx(float(wanted["Position_X"]) * 1e6)
    assert found.stage_z_um == pytest.approx(float(wanted["Position_Z"]) * 1e6)
    assert found.beam_shift_xy == (float(wanted["BeamShift_x"]), float(wanted["BeamShift_y"]))
    assert found.acquired_at == wanted["acquisitionDateTime"]
    assert found.software == f"{wanted['ApplicationSoftware']} {wanted['ApplicationSoftwareVersion']}"
    assert found.detector_mode == "counting"


def test_a_phase_plate_session_agrees_with_another_reader_in_what_a_session_keeps() -> None:
    folder = shared("transphire_by_version")
    name = "xml_epu_1_11_falcon_vpp.xml"  # the published reading is of another exposure of the session
    wanted = json.loads((folder / "expected_values.json").read_text())[name]
    found = read_epu_xml((folder / name).read_bytes(), source=name)
    assert found.pixel_size_ang == pytest.approx(float(wanted["pixelSize_x"]) * 1e10)
    assert found.voltage_kv == float(wanted["AccelerationVoltage"]) / 1000
    assert found.exposure_time_s == float(wanted["camera_ExposureTime"])
    assert found.magnification == float(wanted["NominalMagnification"])
    assert found.camera == wanted["BinaryResult.Detector"]
    assert found.detector_mode == "linear"


def test_the_tutorial_hole_agrees_with_its_published_reading() -> None:
    folder = shared("epu3.8.1_LS_Metadata_reader_tutorial")
    wanted = json.loads((folder / "tutorial_correct.json").read_text())["acquisition"]
    found = [read_epu_xml(path.read_bytes(), source=path.name) for path in sorted(folder.glob("*.xml"))]
    assert len(found) == wanted["images_generated"]
    shifts = [exposure.beam_shift_xy or (0, 0) for exposure in found]
    assert max(x for x, _ in shifts) == pytest.approx(wanted["beamshift"]["x_max"]["value"])
    assert min(y for _, y in shifts) == pytest.approx(wanted["beamshift"]["y_min"]["value"])
    assert {exposure.camera for exposure in found} == {wanted["detector"]}
    assert found[0].pixel_size_ang == pytest.approx(wanted["pixel_size"]["value"])
    assert found[0].exposure_time_s == wanted["exposure_time"]["value"]
    dose_on_camera = [(e.total_dose_e_ang2 or 0) * (e.pixel_size_ang or 0) ** 2 for e in found]  # e/px, as it says
    assert sum(dose_on_camera) / 10 == pytest.approx(wanted["dose_per_movie"]["value"], rel=1e-3)


def test_reading_is_fast_enough_for_a_scan() -> None:
    data = K3.read_bytes()
    read_epu_xml(data, source=K3.name)
    began = time.process_time()
    for _ in range(20):
        read_epu_xml(data, source=K3.name)
    assert (time.process_time() - began) / 20 < 0.01


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<MicroscopeImage>",
        b"<Other/>",
        b"<Acquisition/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><MicroscopeImage>&a;</MicroscopeImage>',
        b"<MicroscopeImage><microscopeData><gun><AccelerationVoltage>x</AccelerationVoltage></gun></microscopeData></MicroscopeImage>",
        b'<?xml version="1.0" encoding="nonsense"?><MicroscopeImage/>',
    ],
)
def test_what_epu_does_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_epu_xml(data, source="x.xml")


def test_an_exposure_that_says_nothing_is_read_as_nothing() -> None:
    found = read_epu_xml(b"<MicroscopeImage/>", source="x.xml")
    assert found.pixel_size_ang is found.frame_count is found.total_dose_e_ang2 is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_another_encoding_says_the_same(encoding: str) -> None:
    text = K3.read_bytes().decode("utf-8-sig").replace("utf-8", encoding.removesuffix("-sig"))
    assert read_epu_xml(text.encode(encoding), source=K3.name) == read_epu_xml(K3.read_bytes(), source=K3.name)


@given(cut=st.integers(0, 16_000), noise=st.binary(max_size=8))
def test_damaged_xml_raises_nothing_but_a_format_error(cut: int, noise: bytes) -> None:
    data = K3.read_bytes()
    try:
        read_epu_xml(data[:cut] + noise + data[cut + len(noise) :], source="x.xml")
    except FormatError:
        return
