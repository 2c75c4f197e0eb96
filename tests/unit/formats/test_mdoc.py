"""SerialEM's mdoc files give up their facts, as another reader finds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.errors import FormatError
from cryodaq.formats.mdoc import read_frame_mdoc
from cryodaq.formats.metadata import read_metadata

SHARED = Path(__file__).parents[4] / "shared" / "data" / "serialem"
FRAME_SET = """T = SerialEM: K3
Voltage = 300

[FrameSet = 0]
GainReference = SuperRef_x.dm4
TiltAngle = 0.01
StagePosition = -142.82 -457.442
StageZ = -13.7
Magnification = 33000
ExposureDose = 7.65892
PixelSpacing = 1.2827
ImageShift = 2.5 -0.3
ExposureTime = 1.07856
Binning = 0.5
OperatingMode = 1
TargetDefocus = -4.5
SubFramePath = X:\\somebody\\grid2 lamella3\\frames\\s_00993.tif
NumSubFrames = 12
FrameDosesAndNumber = 0.63824 12
DateTime = 08-Oct-21  07:39:08
"""


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here: the real sessions lie in ../shared beside the project")
    return path


def test_a_frame_set_says_what_its_movie_is() -> None:
    (found,) = read_frame_mdoc(FRAME_SET)
    assert found.movie_file_name == "s_00993.tif"
    assert found.gain_file_name == "SuperRef_x.dm4"
    assert (found.voltage_kv, found.magnification, found.frame_count) == (300, 33_000, 12)
    assert found.pixel_size_ang == 1.2827
    assert found.super_resolution is True
    assert found.detector_mode == "super-resolution"
    assert found.applied_defocus_ang == 45_000
    assert found.total_dose_e_ang2 == pytest.approx(7.65888)
    assert found.dose_per_frame_e_ang2 == pytest.approx(0.63824)
    assert (found.stage_x_um, found.stage_y_um, found.stage_z_um) == (-142.82, -457.442, -13.7)
    assert found.acquired_at == "2021-10-08T07:39:08"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_names_come_out_whatever_windows_wrote_them_in(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.mdoc"
    path.write_bytes(FRAME_SET.replace("s_00993", "Müller_00993").encode(encoding))
    (found,) = read_metadata(path)
    assert (found.movie_file_name, found.voltage_kv) == ("Müller_00993.tif", 300.0)


@pytest.mark.parametrize("named", ["..\\..\\etc\\passwd", "/etc/passwd", "X:\\a/../etc\\passwd"])
def test_a_foreign_path_is_a_base_name_only(named: str) -> None:
    (found,) = read_frame_mdoc(FRAME_SET.replace("X:\\somebody\\grid2 lamella3\\frames\\s_00993.tif", named))
    assert found.movie_file_name == "passwd"


def test_doses_that_change_during_the_exposure_are_summed() -> None:
    text = FRAME_SET.replace("0.63824 12", "0.5 4 1.0 8")
    (found,) = read_frame_mdoc(text)
    assert found.total_dose_e_ang2 == 10.0


def test_what_is_not_finite_or_uncalibrated_is_not_said() -> None:
    text = FRAME_SET.replace("TargetDefocus = -4.5", "TargetDefocus = NaN")
    text = text.replace("FrameDosesAndNumber = 0.63824 12\n", "").replace("ExposureDose = 7.65892", "ExposureDose = 0")
    (found,) = read_frame_mdoc(text)
    assert found.applied_defocus_ang is found.total_dose_e_ang2 is found.dose_per_frame_e_ang2 is None
    assert found.frame_count == 12


def test_a_number_that_is_none_is_an_error_that_names_it() -> None:
    with pytest.raises(FormatError, match="TargetDefocus"):
        read_frame_mdoc(FRAME_SET.replace("TargetDefocus = -4.5", "TargetDefocus = deep"))


def test_the_binned_stack_of_a_tilt_series_lends_its_pixel_to_no_movie() -> None:
    found = read_metadata(shared("tilt_series_empiar10164", "TS_01.mrc.mdoc"))
    assert len(found) == 41
    assert found[0].movie_file_name == "TS_01_000_0.0.mrc"
    assert {tilt.pixel_size_ang for tilt in found} == {None}
    assert {tilt.frame_count for tilt in found} == {8}
    assert found[7].tilt_deg == pytest.approx(-12, abs=0.01)


def test_a_real_k2_frame_set() -> None:
    (found,) = read_metadata(next(shared("spa_frames_k2").iterdir()))
    assert found.movie_file_name == "2023-09-25_14.13.07_Grid9-_template_0035.tif"
    assert (found.pixel_size_ang, found.frame_count, found.super_resolution) == (0.82, 40, False)
    assert found.total_dose_e_ang2 == pytest.approx(39.2291, abs=1e-3)
    assert found.detector_mode == "counting"


def test_every_real_file_agrees_with_the_mdocfile_library() -> None:
    mdocfile = pytest.importorskip("mdocfile.data_models")
    compared = 0
    for path in sorted(shared().rglob("*.mdoc")):
        sections = [s for s in mdocfile.Mdoc.from_file(path).section_data if s.MontSection is None]
        found = read_metadata(path)
        assert len(found) == len(sections), path
        for ours, theirs in zip(found, sections, strict=True):
            assert ours.exposure_time_s == theirs.ExposureTime
            assert ours.tilt_deg == theirs.TiltAngle
            assert ours.magnification == theirs.Magnification
            assert ours.frame_count == theirs.NumSubFrames
            assert (ours.stage_x_um, ours.stage_y_um) == tuple(theirs.StagePosition)
            if theirs.SubFramePath is not None:
                assert ours.movie_file_name == theirs.SubFramePath.name.split("\\")[-1]
            compared += 1
    assert compared > 100


finite = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)
names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20).map(lambda stem: f"{stem}.tif")


def emit(metadata: AcquisitionMetadata) -> str:
    """Write a frame set as SerialEM does."""
    shift = metadata.beam_shift_xy or (0, 0)
    return (
        f"Voltage = {metadata.voltage_kv!r}\n\n[FrameSet = 0]\nPixelSpacing = {metadata.pixel_size_ang!r}\n"
        f"ImageShift = {shift[0]!r} {shift[1]!r}\nStagePosition = {metadata.stage_x_um!r} {metadata.stage_y_um!r}\n"
        f"TiltAngle = {metadata.tilt_deg!r}\nSubFramePath = X:\\raw\\{metadata.movie_file_name}\n"
        f"NumSubFrames = {metadata.frame_count}\n"
    )


@given(
    metadata=st.builds(
        AcquisitionMetadata,
        source=st.just("mdoc"),
        software=st.just("SerialEM"),
        voltage_kv=finite,
        pixel_size_ang=finite,
        beam_shift_xy=st.tuples(finite, finite),
        stage_x_um=finite,
        stage_y_um=finite,
        tilt_deg=finite,
        movie_file_name=names,
        frame_count=st.integers(1, 10_000),
        **dict.fromkeys(
            ("cs_mm", "dose_per_frame_e_ang2", "total_dose_e_ang2", "exposure_time_s", "applied_defocus_ang"), st.none()
        ),
        **dict.fromkeys(("stage_z_um", "camera", "detector_mode", "binning", "super_resolution"), st.none()),
        **dict.fromkeys(("acquired_at", "grid_square", "foil_hole", "magnification", "gain_file_name"), st.none()),
    )
)
def test_what_is_written_is_read(metadata: AcquisitionMetadata) -> None:
    assert read_frame_mdoc(emit(metadata)) == (metadata,)


@given(text=st.lists(st.one_of(st.sampled_from(FRAME_SET.splitlines()), st.text(max_size=30))).map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_frame_mdoc(text)
    except FormatError:
        return
