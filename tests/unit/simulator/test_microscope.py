"""What the simulated microscope leaves on its share, and in which order."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import defusedxml.ElementTree as SafeTree
import mrcfile
import numpy as np
import pytest
import tifffile

from cryodaq.domain.file_roles import Software
from cryodaq.errors import ConfigError, FormatError, UnsafeNameError
from cryodaq.simulator.camera import Fault
from cryodaq.simulator.existing_movie import ExistingMovie
from cryodaq.simulator.microscope import gain_folder, simulate_session, truth_folder
from cryodaq.simulator.plan import SessionPlan
from cryodaq.simulator.truth import Truth

EPU_MOVIE = re.compile(
    r"demo/Images-Disc1/GridSquare_\d{8}/Data/FoilHole_\d{8}_Data_\d{8}_\d_\d{8}_\d{6}_fractions\.tiff"
)


def plan(software: Software = Software.EPU, **changes: Any) -> SessionPlan:  # Any: fields of SessionPlan
    small = SessionPlan(
        software=software, movie_count=2, session_name="demo", frame_count=3, shape_yx=(64, 96), interval_s=4.0
    )
    return dataclasses.replace(small, **changes)


def plain(name: str, *, path: Path) -> str:
    """Text of the first element of that name, whatever its namespace."""
    root = SafeTree.parse(path).getroot()
    return next(element.text or "" for element in root.iter() if element.tag.endswith(f"}}{name}"))


def custom(key: str, *, path: Path) -> str:
    arrays = "{http://schemas.microsoft.com/2003/10/Serialization/Arrays}"
    for pair in SafeTree.parse(path).getroot().iter(f"{arrays}KeyValueOfstringanyType"):
        if pair.findtext(f"{arrays}Key") == key:
            return str(pair.findtext(f"{arrays}Value"))
    raise AssertionError(key)


def test_an_epu_session_has_the_tree_of_a_real_one(tmp_path: Path, fake_time: Any) -> None:
    share = tmp_path / "tem1"
    truths = simulate_session(share, plan(movie_count=8), clock=fake_time.clock)
    assert all(EPU_MOVIE.fullmatch(truth.movie) for truth in truths)
    assert len({truth.movie for truth in truths}) == 8
    data = [Path(truth.movie).name.split("_") for truth in truths]
    assert len({parts[1] for parts in data}) == 4, "two exposures in each hole"
    assert {parts[3] for parts in data[::2]} != {parts[3] for parts in data[1::2]}, "in two areas"
    for hole in {parts[1] for parts in data}:
        assert len({parts[4] for parts in data if parts[1] == hole}) == 1, "one number within a hole"
    squares = sorted((share / "demo" / "Images-Disc1").iterdir())
    assert len(squares) == 2
    for square in squares:
        assert len(list(square.glob("GridSquare_*.jpg"))) == len(list(square.glob("GridSquare_*.xml"))) == 1
        assert (share / "demo" / "Metadata" / f"{square.name}.dm").is_file()
    assert len(list(share.glob("demo/Images-Disc1/*/FoilHoles/FoilHole_*.xml"))) == 4
    assert (share / "demo" / "EpuSession.dm").is_file()
    assert (share / ".online").is_file()


def test_windows_leaves_its_files_on_the_share(tmp_path: Path, fake_time: Any) -> None:
    share = tmp_path / "tem1"
    simulate_session(share, plan(movie_count=1), clock=fake_time.clock)
    assert (share / "System Volume Information").is_dir()
    assert list((share / "$RECYCLE.BIN").rglob("desktop.ini"))
    assert (share / "demo" / "Thumbs.db").is_file()
    assert list(share.rglob("*.downloading"))


def test_the_image_xml_says_what_the_truth_says(tmp_path: Path, fake_time: Any) -> None:
    share = tmp_path / "tem1"
    truth = simulate_session(share, plan(movie_count=1, shape_yx=(64, 96)), clock=fake_time.clock)[0]
    path = share / truth.movie.replace("_fractions.tiff", ".xml")
    assert float(plain("numericValue", path=path)) == 0.0
    pixel = SafeTree.parse(path).getroot().find(".//{*}pixelSize/{*}x/{*}numericValue")
    assert pixel is not None
    assert float(pixel.text) == pytest.approx(truth.pixel_size_ang * 1e-10)
    assert float(plain("AccelerationVoltage", path=path)) == 300_000
    assert int(plain("NumberOffractions", path=path)) == 3
    assert int(plain("height", path=path)) == 64
    assert int(plain("width", path=path)) == 96
    assert float(plain("ExposureTime", path=path)) == pytest.approx(0.15)
    assert float(custom("Dose", path=path)) == pytest.approx(3 * 2e20)
    assert float(custom("DoseOnCamera", path=path)) == pytest.approx(3 * 2)
    assert truth.defocus_u_ang is not None
    assert float(custom("AppliedDefocus", path=path)) == pytest.approx(-truth.defocus_u_ang * 1e-10, abs=2e-7)
    assert plain("ApplicationSoftwareVersion", path=path).startswith("3.")
    for other in share.rglob("*.xml"):
        SafeTree.parse(other)


def test_a_serialem_session_has_an_mdoc_beside_each_movie(tmp_path: Path, fake_time: Any) -> None:
    share = tmp_path / "tem2"
    truths = simulate_session(share, plan(Software.SERIALEM), clock=fake_time.clock)
    assert [truth.movie for truth in truths] == [
        "demo/2026-11-22_09.15.03_Grid1_0001.tif",
        "demo/2026-11-22_09.15.07_Grid1_0002.tif",
    ]
    content = (share / f"{truths[1].movie}.mdoc").read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n")
    values = dict(line.split(" = ", 1) for line in content.decode("ascii").splitlines() if " = " in line)
    assert values["SubFramePath"] == "X:\\demo\\2026-11-22_09.15.07_Grid1_0002.tif"
    assert values["GainReference"] == truths[1].gain
    assert values["NumSubFrames"] == "3"
    assert values["FrameDosesAndNumber"] == "2 3"
    assert float(values["ExposureDose"]) == pytest.approx(6.0)
    assert float(values["PixelSpacing"]) == 1.0
    assert values["Voltage"] == "300"
    assert values["DateTime"] == "22-Nov-26  09:15:07"
    assert "[Item = 2]" in (share / "demo" / "demo.nav").read_text()


@pytest.mark.parametrize("software", [Software.EPU, Software.SERIALEM])
def test_metadata_come_after_the_movie_and_truth_before(tmp_path: Path, fake_time: Any, software: Software) -> None:
    share = tmp_path / "tem1"
    states: list[tuple[int, bool, bool]] = []

    def look() -> None:
        movies = [path for path in share.rglob("*.tif*") if path.suffix in {".tif", ".tiff"}]
        metadata = [*share.rglob("Data/*.xml"), *share.rglob("*.mdoc")]
        states.append((len(tifffile.TiffFile(movies[0]).pages), bool(metadata), truth_folder(share).exists()))

    fake_time.on_sleep = look
    simulate_session(share, plan(software, movie_count=1), clock=fake_time.clock)
    assert states == [(1, False, True), (2, False, True), (3, False, True), (3, False, True)]
    assert [*share.rglob("Data/*.xml"), *share.rglob("*.mdoc")]


def test_the_truth_is_complete_and_describes_the_movie(tmp_path: Path, fake_time: Any) -> None:
    share = tmp_path / "tem1"
    reported: list[Truth] = []
    truths = simulate_session(share, plan(shape_yx=(200, 256)), clock=fake_time.clock, on_movie=reported.append)
    assert reported == truths
    for truth in truths:
        name = Path(truth.movie).name.removesuffix("_fractions.tiff")
        written = json.loads((truth_folder(share) / f"{name}.json").read_text())
        assert written["displacement_px_xy"][0] == [0.0, 0.0]
        assert len(written["displacement_px_xy"]) == written["frames"] == 3
        assert written["defocus_u_ang"] >= written["defocus_v_ang"] > 9_000
        assert written["particle_diameter_ang"] == 150.0
        assert all(0 <= x <= 255 and 0 <= y <= 199 for x, y in written["particles_px_xy"])
        frames = tifffile.imread(share / truth.movie)
        assert list(frames.shape[1:]) == written["shape_yx"] == [200, 256]
        with mrcfile.open(gain_folder(share) / written["gain"]) as gain:
            assert gain.data.shape == frames.shape[1:]
            assert gain.data.dtype == np.float32
            corrected = frames.mean(axis=0) * gain.data
        assert np.median(corrected) == pytest.approx(written["dose_per_frame_e_ang2"], rel=0.1)
    assert not list(truth_folder(share).glob("*.part"))


def test_the_same_seed_gives_the_same_movie_and_names_but_for_the_time(tmp_path: Path, fake_time: Any) -> None:
    first = simulate_session(tmp_path / "a", plan(), clock=fake_time.clock)
    again = simulate_session(tmp_path / "b", plan(), clock=fake_time.clock)
    other = simulate_session(tmp_path / "c", plan(seed=2), clock=fake_time.clock)
    assert [t.movie[:-31] for t in first] == [t.movie[:-31] for t in again]
    frames = [tifffile.imread(tmp_path / f / t[0].movie) for f, t in zip("abc", (first, again, other), strict=True)]
    np.testing.assert_array_equal(frames[0], frames[1])
    assert (frames[0] != frames[2]).any()
    assert first[0].displacement_px_xy != first[1].displacement_px_xy


@pytest.mark.parametrize("software", [Software.EPU, Software.SERIALEM])
def test_a_second_start_goes_on_and_a_second_session_has_other_names(
    tmp_path: Path, fake_time: Any, software: Software
) -> None:
    share = tmp_path / "tem1"
    first = simulate_session(share, plan(software), clock=fake_time.clock)
    more = simulate_session(share, plan(software), clock=fake_time.clock)
    second = simulate_session(share, plan(software, session_name="demo2"), clock=fake_time.clock)
    names = [Path(truth.movie).name for truth in (*first, *more, *second)]
    assert len(set(names)) == len(list(truth_folder(share).glob("*.json"))) == 6
    assert {truth.session for truth in (*first, *more)} == {"demo"}
    assert {truth.session for truth in second} == {"demo2"}
    assert second[0].displacement_px_xy not in {first[0].displacement_px_xy, more[0].displacement_px_xy}
    assert len({truth.gain for truth in (*first, *more, *second)}) == 1, "a camera keeps its gain reference"
    assert len(list(gain_folder(share).iterdir())) == 1


def test_exposures_start_at_the_interval_and_a_stop_is_noticed_while_waiting(tmp_path: Path, fake_time: Any) -> None:
    share = tmp_path / "tem1"
    truths = simulate_session(share, plan(movie_count=3, interval_s=30.0), clock=fake_time.clock)
    assert [truth.acquired_at[11:19] for truth in truths] == ["09:15:03", "09:15:33", "09:16:03"]
    collected: list[Truth] = []
    simulate_session(
        share,
        plan(movie_count=5, interval_s=3600.0),
        clock=fake_time.clock,
        on_movie=collected.append,
        stop=lambda: len(collected) == 1,
    )
    assert len(collected) == 1
    assert (share / collected[0].movie.replace("_fractions.tiff", ".xml")).is_file(), "what was begun is done"


def test_faults_happen_to_the_movie_they_are_asked_for(tmp_path: Path, fake_time: Any) -> None:
    share = tmp_path / "tem1"
    faults = dict(enumerate([Fault.SHORT, Fault.TRUNCATED, Fault.CORRUPT_STRIP, Fault.NO_METADATA]))
    truths = simulate_session(share, plan(movie_count=5, frame_count=4, faults=faults), clock=fake_time.clock)
    short, truncated, corrupt, bare, good = (share / truth.movie for truth in truths)
    assert [truth.fault for truth in truths] == [*faults.values(), None]
    assert len(tifffile.TiffFile(short).pages) == 3
    assert truths[0].frames == 4
    assert truncated.stat().st_size < 0.7 * good.stat().st_size
    with pytest.raises(Exception, match=r"(?i)lzw"):
        tifffile.TiffFile(corrupt).pages[2].asarray()
    assert not bare.with_name(bare.name.replace("_fractions.tiff", ".xml")).exists()
    assert tifffile.imread(bare).shape == tifffile.imread(good).shape == (4, 64, 96)


def existing(tmp_path: Path, *names: str, gain: str | None = "gain.mrc") -> ExistingMovie:
    counts = np.random.default_rng(4).poisson(2, (4, 70, 80)).astype(np.uint8)
    for name in names:
        if name.endswith(".mrc"):
            with mrcfile.new(tmp_path / name) as mrc:
                mrc.set_data(counts.astype(np.int8))
        else:
            tifffile.imwrite(tmp_path / name, counts, compression="lzw", photometric="minisblack")
    if gain:
        with mrcfile.new(tmp_path / gain, overwrite=True) as mrc:
            mrc.set_data(np.ones((70, 80), dtype=np.float32))
    return ExistingMovie(
        paths=tuple(tmp_path / name for name in names),
        gain=tmp_path / gain if gain else None,
        pixel_size_ang=1.3331,
        dose_per_frame_e_ang2=0.9,
        voltage_kv=200.0,
        cs_mm=1.4,
    )


def test_an_existing_tiff_movie_is_sent_under_a_microscopes_name(tmp_path: Path, fake_time: Any) -> None:
    source = existing(tmp_path, "real.tif")
    (tmp_path / "real.json").write_text(json.dumps({"displacement_px_xy": [[0, 0], [1, 0.5], [2, 1], [2, 1]]}))
    share = tmp_path / "tem1"
    truth = simulate_session(share, plan(movie_count=1, source=source), clock=fake_time.clock)[0]
    assert EPU_MOVIE.fullmatch(truth.movie)
    np.testing.assert_array_equal(tifffile.imread(share / truth.movie), tifffile.imread(tmp_path / "real.tif"))
    assert truth.displacement_px_xy == ((0, 0), (1, 0.5), (2, 1), (2, 1))
    assert (truth.frames, truth.shape_yx, truth.voltage_kv, truth.cs_mm) == (4, (70, 80), 200.0, 1.4)
    assert truth.defocus_u_ang is None
    assert truth.source == "real.tif"
    assert truth.gain == "gain.mrc"
    assert (gain_folder(share) / "gain.mrc").read_bytes() == (tmp_path / "gain.mrc").read_bytes()
    path = share / truth.movie.replace("_fractions.tiff", ".xml")
    assert int(plain("NumberOffractions", path=path)) == 4
    assert float(plain("AccelerationVoltage", path=path)) == 200_000


@pytest.mark.parametrize("software", [Software.EPU, Software.SERIALEM])
def test_existing_mrc_movies_are_sent_one_after_another_as_they_are(
    tmp_path: Path, fake_time: Any, software: Software
) -> None:
    source = existing(tmp_path, "one.mrc", "two.mrc", gain=None)
    share = tmp_path / "tem1"
    truths = simulate_session(share, plan(software, movie_count=3, source=source), clock=fake_time.clock)
    assert [truth.source for truth in truths] == ["one.mrc", "two.mrc", "one.mrc"]
    assert all(truth.movie.endswith(".mrc") and truth.gain is None for truth in truths)
    assert (share / truths[0].movie).read_bytes() == (tmp_path / "one.mrc").read_bytes()


def test_a_plan_that_cannot_be_followed_is_refused_in_words(tmp_path: Path, fake_time: Any) -> None:
    def refuse(error: type[Exception], match: str, **changes: Any) -> None:  # Any: fields of SessionPlan
        with pytest.raises(error, match=match):
            simulate_session(tmp_path / "tem1", plan(**changes), clock=fake_time.clock)

    refuse(UnsafeNameError, "session folder", session_name="../elsewhere")
    refuse(UnsafeNameError, "session folder", session_name="a\\b")
    refuse(ConfigError, "epu or serialem", software=Software.TOMO)
    refuse(ConfigError, "at least 2 frames", frame_count=1)
    refuse(ConfigError, "name at least one", source=existing(tmp_path))
    mrc = existing(tmp_path, "movie.mrc")
    refuse(ConfigError, "strips", source=mrc, faults={0: Fault.CORRUPT_STRIP})
    refuse(ConfigError, "does not exist", source=dataclasses.replace(mrc, gain=tmp_path / "none.mrc"))
    refuse(FormatError, "TIFF", source=dataclasses.replace(mrc, paths=(tmp_path / "movie.eer",)))
    (tmp_path / "broken.tif").write_bytes(b"nothing of the kind")
    refuse(FormatError, "not a readable TIFF", source=dataclasses.replace(mrc, paths=(tmp_path / "broken.tif",)))
    (tmp_path / "broken.mrc").write_bytes(b"nothing of the kind")
    refuse(FormatError, "not a readable MRC", source=dataclasses.replace(mrc, paths=(tmp_path / "broken.mrc",)))
    (tmp_path / "movie.json").write_text("{}")
    refuse(FormatError, "displacement_px_xy", source=mrc)
