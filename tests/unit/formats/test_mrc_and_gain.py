"""Micrographs and gain references keep their values, their pixel size and their orientation."""

from __future__ import annotations

import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cryodaq.errors import FormatError, TruncatedFileError
from cryodaq.formats.dm import declared_file_bytes, read_largest_image
from cryodaq.formats.gain import read_event_gain, read_gain
from cryodaq.formats.metadata import read_metadata
from cryodaq.formats.mrc import read_micrograph, read_mrc_header, write_micrograph

SHARED = Path(__file__).parents[4] / "shared" / "data"
GAIN = (1 + 0.1 * np.arange(48, dtype=np.float32).reshape(6, 8)).astype(np.float32)


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here: the real data lie in ../shared beside the project")
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    micrograph=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-1e6, 1e6, width=32)
    ),
    pixel_size_ang=st.floats(0.1, 50),
)
def test_a_written_micrograph_is_read_back(
    tmp_path: Path, micrograph: NDArray[np.float32], pixel_size_ang: float
) -> None:
    path = tmp_path / "a.mrc"
    write_micrograph(path, micrograph, pixel_size_ang=pixel_size_ang)
    found, found_pixel_size = read_micrograph(path)
    assert np.array_equal(found, micrograph)
    assert found_pixel_size == pytest.approx(pixel_size_ang, rel=1e-6)


def test_other_programs_read_our_micrographs(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_micrograph(path, GAIN, pixel_size_ang=0.83)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        assert np.array_equal(mrc.data, GAIN)
        assert float(mrc.voxel_size.x) == pytest.approx(0.83)
        assert float(mrc.header.dmean) == pytest.approx(float(GAIN.mean()))


def test_a_stack_and_a_cut_file_are_no_micrographs(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.ones((2, 4, 4), np.float32))
    with pytest.raises(FormatError, match="2 sections"):
        read_micrograph(path)
    path.write_bytes(path.read_bytes()[:1050])
    with pytest.raises(TruncatedFileError):
        read_micrograph(path)
    with pytest.raises(FormatError):
        write_micrograph(path, np.ones((2, 2, 2), np.float32), pixel_size_ang=1.0)
    with pytest.raises(FormatError, match="not finite"):
        write_micrograph(path, np.full((2, 2), np.nan, np.float32), pixel_size_ang=1.0)


def test_a_real_micrograph_with_an_extended_header() -> None:
    path = shared("micrographs", "falcon3_epu2.9", "epu2.9_example.mrc")
    header = read_mrc_header(path)
    assert (header.extended_type, header.shape_yx, header.sections) == ("FEI2", (4096, 4096), 1)
    assert header.pixel_size_ang == pytest.approx(0.66655, abs=1e-5)
    (facts,) = read_metadata(path)
    assert facts.pixel_size_ang == pytest.approx(0.66655, abs=1e-5)
    assert facts.voltage_kv == 300
    assert facts.total_dose_e_ang2 == pytest.approx(41.17, abs=0.01)
    assert facts.applied_defocus_ang == pytest.approx(22_000)
    assert facts.exposure_time_s == pytest.approx(12.2078, abs=1e-3)
    assert (facts.camera, facts.detector_mode, facts.binning) == ("BM-Falcon", "counting", 1)
    assert facts.software == "EPU 2.9.0.1519"


@given(data=st.binary(min_size=1024, max_size=1100))
def test_any_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mrc"
    path.write_bytes(data)
    try:
        read_metadata(path)
    except FormatError:
        return


def write_gain(path: Path, gain: NDArray[np.float32]) -> None:
    if path.suffix in {".tif", ".gain"}:
        tifffile.imwrite(path, gain, photometric="minisblack")
    elif path.suffix == ".dm4":
        path.write_bytes(dm4_bytes(gain))
    else:
        write_micrograph(path, gain, pixel_size_ang=1.0)


def dm4_bytes(image: NDArray[np.float32]) -> bytes:
    """Write a DM4 file with a thumbnail and one image, as the format's descriptions say."""

    def tag(kind: int, name: str, body: bytes) -> bytes:
        return struct.pack(">BH", kind, len(name)) + name.encode() + struct.pack(">q", len(body)) + body

    def group(name: str, *tags: bytes) -> bytes:
        return tag(20, name, struct.pack(">BBq", 1, 0, len(tags)) + b"".join(tags))

    def number(name: str, value: int) -> bytes:
        return tag(21, name, b"%%%%" + struct.pack(">qq", 1, 5) + struct.pack("<I", value))

    def floats(name: str, array: NDArray[np.float32]) -> bytes:
        return tag(21, name, b"%%%%" + struct.pack(">qqqq", 3, 20, 6, array.size) + array.astype("<f4").tobytes())

    def entry(array: NDArray[np.float32]) -> bytes:
        sides = group("Dimensions", number("", array.shape[1]), number("", array.shape[0]))
        return group("", group("ImageData", floats("Data", array), number("DataType", 2), sides))

    root = struct.pack(">BBq", 1, 0, 1) + group("ImageList", entry(image[:2, :2]), entry(image))
    return struct.pack(">iqi", 4, len(root) - 8, 1) + root


@pytest.mark.parametrize("name", ["gain.mrc", "gain.tif", "gain.gain", "gain.dm4"])
def test_a_gain_reference_keeps_its_values_and_orientation_in_every_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_gain(path, GAIN)
    assert np.array_equal(read_gain(path), GAIN)


def test_the_gain_of_electron_events_divides_unless_it_is_thermo_fishers(tmp_path: Path) -> None:
    with_defect = GAIN.copy()
    with_defect[0, 0] = 0
    for name in ("a.gain", "a.mrc"):
        write_gain(tmp_path / name, with_defect)
    assert np.array_equal(read_event_gain(tmp_path / "a.gain"), with_defect)
    inverted = read_event_gain(tmp_path / "a.mrc")
    assert inverted[0, 0] == 0
    sound = with_defect > 0
    assert inverted[sound] * with_defect[sound] == pytest.approx(with_defect[sound].mean(), rel=1e-5)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_gain_with_impossible_values_is_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.mrc"
    broken = GAIN.copy()
    broken[2, 2] = value
    with np.errstate(invalid="ignore"), mrcfile.new(path) as mrc:
        mrc.set_data(broken)
    with pytest.raises(FormatError, match="no gain"):
        read_gain(path)


def test_a_real_dm4_image() -> None:
    path = shared("movies", "dm4_format", "dmTest_float32_nonSquare_diffPixelSize.dm4")
    image = read_largest_image(path)
    assert (image.shape, image.dtype) == ((64, 128), np.dtype(np.float32))
    assert np.array_equal(image[0], np.arange(128))
    assert declared_file_bytes(path.read_bytes()[:16], path=path) == path.stat().st_size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 500), noise=st.binary(min_size=1, max_size=9), cut=st.integers(0, 500))
def test_a_damaged_dm4_raises_nothing_but_a_format_error(tmp_path: Path, at: int, noise: bytes, cut: int) -> None:
    path = tmp_path / "a.dm4"
    data = dm4_bytes(GAIN)
    path.write_bytes((data[:at] + noise + data[at + len(noise) :])[: len(data) - cut])
    try:
        read_gain(path)
    except FormatError:
        return
