"""What files are, told by the names that real sessions contain."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

from cryodaq.domain.names import (
    FileRole,
    Software,
    as_frame_mdoc,
    as_movie,
    base_name_of_foreign_path,
    classify,
    run_name,
)

SHARED = Path(__file__).parents[4] / "shared" / "data"
DATA = "Supervisor_1_EPU/Images-Disc1/GridSquare_8999138/Data"
EPU = "FoilHole_9015883_Data_9017354_6_20250108_154918"


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here: the real sessions lie in ../shared beside the project")
    return path


@pytest.mark.parametrize(
    ("name", "role"),
    [
        (f"{EPU}_fractions.tiff", FileRole.MOVIE),
        (f"{EPU}_Fractions.mrc", FileRole.MOVIE),
        (f"{EPU}_EER.eer", FileRole.MOVIE),
        (f"{EPU}.xml", FileRole.METADATA),
        (f"{EPU}_Fractions.xml", FileRole.METADATA),
        (f"{EPU}.jpg", FileRole.PREVIEW),
        (f"{EPU}.mrc", FileRole.SUM),
        (f"{EPU}-gain-ref.dm4", FileRole.GAIN),
    ],
)
def test_all_files_of_an_epu_exposure_share_its_key(name: str, role: FileRole) -> None:
    found = classify(PurePosixPath(DATA, name))
    assert found.role is role
    assert found.exposure == f"Supervisor_1_EPU/GridSquare_8999138/Data/{EPU}"
    assert found.acquisition_folder == PurePosixPath("Supervisor_1_EPU")
    assert found.software is Software.EPU


def test_movie_and_metadata_on_different_discs_belong_together() -> None:
    movie = classify(PurePosixPath(DATA.replace("Disc1", "Disc2"), f"{EPU}_fractions.tiff"))
    assert movie.exposure == classify(PurePosixPath(DATA, f"{EPU}.xml")).exposure


@pytest.mark.parametrize("root", ["", "movies/", "offload/tem1/DoseFractions/"])
def test_movie_and_metadata_under_different_roots_belong_together(root: str) -> None:
    metadata = classify(PurePosixPath("metadata", DATA, f"{EPU}.xml"))
    movie = classify(PurePosixPath(f"{root}{DATA}", f"{EPU}_EER.eer"))
    assert movie.exposure == metadata.exposure
    assert movie.acquisition_folder == PurePosixPath(f"{root}Supervisor_1_EPU")


def test_the_same_name_in_two_folders_is_two_exposures() -> None:
    other = DATA.replace("8999138", "8999186")
    keys = {classify(PurePosixPath(folder, f"{EPU}_fractions.tiff")).exposure for folder in (DATA, other)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("name", "run"),
    [
        (f"{EPU}_fractions.tiff", EPU),
        (f"{EPU}_Fractions.xml", EPU),
        (f"{EPU}_EER.eer", EPU),
        (
            "FoilHole_983504_Data_984274_984275_20171201_1435-0000.mrc",
            "FoilHole_983504_Data_984274_984275_20171201_1435",
        ),
        ("Position_1_001[-12.00]_EER.eer", "Position_1_001[-12.00]"),
        ("Position_1_001[0.00]_fractions.tiff", "Position_1_001[0.00]"),
        ("Position_1_002_-12.00_20230502_114334_EER.eer", "Position_1_002[-12.00]"),
        ("base_00001_001_-12.0_Oct08_01.59.24.tif", "base_00001_001[-12.0]"),
        ("TS_01_000_0.0.mrc", "TS_01_000[0.0]"),
        ("agro-1_130_048_-67.0.tif", "agro-1_130_048[-67.0]"),
        ("s_mmm_00993_33.0_Oct08_07.39.05.tif", "s_mmm_00993[33.0]"),
        ("2023-09-25_14.13.07_Grid9-_template_0035.tif", "2023-09-25_14.13.07_Grid9-_template_0035"),
        ("grid2_00042_x.tiff", "grid2_00042_x"),
        ("grid2_00042.eer", "grid2_00042"),
    ],
)
def test_movies_are_named_by_the_rules_of_their_programs(name: str, run: str) -> None:
    assert run_name(PurePosixPath("a/b", name)) == run
    if not name.endswith(".xml"):
        assert classify(PurePosixPath("a/b", name)).role is FileRole.MOVIE


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("CountRef_2023-09-25_13.01.28_Grid10-_template_0000.dm4", FileRole.GAIN),
        ("SuperRef_s_mmm_00000_-15.0_Oct08_01.59.24.dm4", FileRole.GAIN),
        ("20240830_103455_EER_GainReference.gain", FileRole.GAIN),
        ("grid1_gain_00001.mrc", FileRole.GAIN),
        ("defects_2023-09-25_13.01.28_Grid10-_template_0000.txt", FileRole.OTHER),
        ("x_PreviewDoseFraction_00001.tif", FileRole.PREVIEW),
        ("Atlas_30333429.xml", FileRole.ATLAS),
        ("Atlas_30333429.mrc", FileRole.ATLAS),
        ("Tile_30333442_0_30333429.jpg", FileRole.ATLAS),
        ("GridSquare_20250108_151151.xml", FileRole.ATLAS),
        ("FoilHole_9015889_20250108_154725.jpg", FileRole.HOLE_PICTURE),
        ("FoilHole_9015889_20250108_154725.mrc", FileRole.HOLE_PICTURE),
        ("EpuSession.dm", FileRole.LIVING),
        ("GridSquare_8999138.dm", FileRole.LIVING),
        ("nav.nav", FileRole.LIVING),
        ("TS_01.mrc.mdoc", FileRole.LIVING),
        ("tilt_series.mdoc", FileRole.LIVING),
        ("Position_1.mdoc", FileRole.LIVING),
        ("session.log", FileRole.LIVING),
        ("2023-09-25_14.13.07_Grid9-_template_0035.tif.mdoc", FileRole.METADATA),
        ("oddly named.tif.mdoc", FileRole.METADATA),
        ("Thumbs.db", FileRole.IGNORED),
        ("x.downloading", FileRole.IGNORED),
        ("cifs4801ab", FileRole.IGNORED),
        ("gatan.BIN", FileRole.IGNORED),
        (".online", FileRole.IGNORED),
        (".online-tem1", FileRole.IGNORED),
        ("20241021_00405_0_Virt 0_sum.mrc", FileRole.OTHER),
        ("20241021_00405_movie.mrc", FileRole.MOVIE),
    ],
)
def test_files_that_are_no_movies_are_told_apart(name: str, role: FileRole) -> None:
    assert classify(PurePosixPath("session", name)).role is role


@pytest.mark.parametrize("folder", ["$RECYCLE.BIN/S-1-5", "System Volume Information", "a/$Recycle.Bin"])
def test_what_windows_keeps_for_itself_is_ignored(folder: str) -> None:
    assert classify(PurePosixPath(folder, f"{EPU}_fractions.tiff")).role is FileRole.IGNORED


def test_only_a_large_image_under_an_unknown_name_is_flagged() -> None:
    unknown = PurePosixPath("session/mystery.tif")
    assert classify(unknown, size_bytes=300_000_000).unrecognised_image
    assert not classify(unknown, size_bytes=1000).unrecognised_image
    assert not classify(PurePosixPath("session/notes.txt"), size_bytes=300_000_000).unrecognised_image
    assert not classify(PurePosixPath(DATA, f"{EPU}_fractions.tiff"), size_bytes=300_000_000).unrecognised_image


def test_a_frame_mdoc_makes_a_movie_of_whatever_file_it_names() -> None:
    movie = PurePosixPath("grid2/frames/mystery.tif")
    named = as_movie(movie)
    metadata = as_frame_mdoc(PurePosixPath("grid2/frames/mystery.mdoc"), movie_file_name="mystery.tif")
    assert (named.role, metadata.role) == (FileRole.MOVIE, FileRole.METADATA)
    assert named.exposure == metadata.exposure == "grid2/frames/mystery"
    assert named.acquisition_folder == PurePosixPath("grid2")


LEGINON = "m25apr02e_g3_00014gr_00001sq_v02_00002hl_v01_00004enn"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        (f"{LEGINON}.frames.tif", FileRole.MOVIE),
        (f"{LEGINON}.frames.mrc", FileRole.MOVIE),
        (f"{LEGINON}.frames.eer", FileRole.MOVIE),
        (f"{LEGINON}.mrc", FileRole.SUM),
        (f"{LEGINON}.jpg", FileRole.PREVIEW),
        ("08mar13e_00010gr_00004sq_v02.mrc", FileRole.ATLAS),
        ("24apr02b_00010gr_00004sq_v02_00003hl.mrc", FileRole.HOLE_PICTURE),
        ("24apr02b_00010gr_00004sq_v02_00003hl_00001fc.mrc", FileRole.OTHER),
        ("20may08a_16760340.mrc", FileRole.OTHER),
        ("24apr02b_16760340_01_5760x4092_norm_0.mrc", FileRole.GAIN),
    ],
)
def test_leginons_names_tell_movies_from_pictures_on_the_way(name: str, role: FileRole) -> None:
    found = classify(PurePosixPath("leginon/user/m25mar14c/rawdata", name))
    assert (found.role, found.software) == (role, Software.LEGINON)
    assert found.acquisition_folder == PurePosixPath("leginon/user/m25mar14c")
    if LEGINON in name:
        assert found.exposure == f"leginon/user/m25mar14c/rawdata/{LEGINON}"
        assert run_name(PurePosixPath(name)) == LEGINON


@pytest.mark.parametrize("name", ["g1_00042_X+1Y-1-2.tif", "g1_00042-3.tif", "20240901_g1_0042_C-3.eer"])
def test_multishot_frames_of_serialem_are_exposures_each(name: str) -> None:
    found = classify(PurePosixPath("s/frames", name))
    assert (found.role, found.software) == (FileRole.MOVIE, Software.SERIALEM)
    assert run_name(PurePosixPath(name)) == PurePosixPath(name).stem


def test_tilts_are_recognised_by_program() -> None:
    by_name = {
        "Position_1_001[-12.00]_EER.eer": Software.TOMO,
        "Position_1_002_-12.00_20230502_114334_EER.eer": Software.TOMO,
        "TS_01_000_0.0.mrc": Software.SERIALEM,
    }
    assert {name: classify(PurePosixPath(name)).software for name in by_name} == by_name


def test_ten_thousand_exposures_keep_their_files_together() -> None:
    tails = ("_fractions.tiff", ".xml", ".jpg", ".mrc", "_Fractions.xml")
    found: dict[str | None, set[FileRole]] = {}
    for number in range(10_000):
        root = ("movies", "metadata")[number % 2]
        folder = f"{root}/Supervisor_1/Images-Disc{number % 3}/GridSquare_{number // 500}/Data"
        for tail in tails:
            name = PurePosixPath(folder, f"FoilHole_{number}_Data_17_20250108_{number:06d}{tail}")
            kind = classify(name)
            found.setdefault(kind.exposure, set()).add(kind.role)
    assert len(found) == 10_000
    expected = {FileRole.MOVIE, FileRole.METADATA, FileRole.PREVIEW, FileRole.SUM}
    assert all(roles == expected for roles in found.values())


def test_names_in_foreign_paths_are_found() -> None:
    assert (
        base_name_of_foreign_path("X:\\Users\\Jarek 02052023\\raw\\agro-1_130_048_-67.0.tif")
        == "agro-1_130_048_-67.0.tif"
    )
    assert base_name_of_foreign_path("/data/a.tif") == "a.tif"
    assert base_name_of_foreign_path("a.tif") == "a.tif"


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        (f"{DATA}/{EPU}.xml", "Supervisor_1_EPU"),
        ("Supervisor_1_EPU/EpuSession.dm", "Supervisor_1_EPU"),
        ("Images-Disc1/GridSquare_1/Data/x.xml", "."),
        ("atlas/Supervisor_2_atlas/Sample3/Atlas/Atlas_1.jpg", "atlas/Supervisor_2_atlas"),
        ("s/Supervisor_2/Atlas/Atlas.dm", "s/Supervisor_2"),
        ("s/Supervisor_2/Sample3/Sample.dm", "s/Supervisor_2"),
        ("20250101/sample1/frames/x_0035.tif", "20250101/sample1"),
        ("Users/Michael/raw/x_0035.tif", "Users/Michael"),
        ("20250108_grid1/x_0035.tif", "20250108_grid1"),
        ("x_0035.tif", "."),
    ],
)
def test_the_session_folder_is_found(path: str, folder: str) -> None:
    assert classify(PurePosixPath(path)).acquisition_folder == PurePosixPath(folder)


def test_every_frame_named_by_a_real_serialem_mdoc_is_a_movie_by_its_name() -> None:
    names = set()
    for mdoc in shared("serialem").rglob("*.mdoc"):
        names |= set(re.findall(r"SubFramePath = (.*)", mdoc.read_text(encoding="latin-1")))
    assert len(names) > 80
    movies = [PurePosixPath("s", base_name_of_foreign_path(name)) for name in names]
    assert {classify(movie).role for movie in movies} == {FileRole.MOVIE}
    assert len({run_name(movie) for movie in movies}) == len(names)


def test_every_file_of_the_real_serialem_folders_has_its_role() -> None:
    roles = {
        path.name: classify(PurePosixPath(path.name)).role for path in shared("serialem").rglob("*") if path.is_file()
    }
    by_role = {role: sorted(name for name, found in roles.items() if found is role) for role in set(roles.values())}
    assert by_role[FileRole.METADATA] == ["2023-09-25_14.13.07_Grid9-_template_0035.tif.mdoc"]
    assert all(name.endswith((".mdoc", ".nav")) for name in by_role[FileRole.LIVING])
    assert set(by_role) <= {FileRole.METADATA, FileRole.LIVING, FileRole.OTHER}


def test_a_real_epu_session_groups_into_its_exposures() -> None:
    root = shared("epu", "session_epu3.9.1_k3")
    found = [
        classify(PurePosixPath("s", path.relative_to(root).as_posix())) for path in root.rglob("*") if path.is_file()
    ]
    exposures = {file.exposure for file in found if file.exposure}
    assert len(exposures) == 4
    assert all(file.acquisition_folder == PurePosixPath("s") and file.software is Software.EPU for file in found)
    assert sum(file.role is FileRole.METADATA for file in found) == 4
    assert sum(file.role is FileRole.PREVIEW for file in found) == 4


def test_the_afis_session_pairs_each_image_with_its_fractions() -> None:
    root = shared("epu", "afis_epu2.6.0_falcon3", "Images-Disc1")
    keys: dict[str | None, int] = {}
    for path in root.rglob("*.xml"):
        key = classify(PurePosixPath("s/Images-Disc1", path.relative_to(root).as_posix())).exposure
        keys[key] = keys.get(key, 0) + 1
    assert len(keys) == 63
    assert set(keys.values()) == {2}


def test_real_groups_of_old_epu_versions_have_one_movie_an_exposure() -> None:
    for version in sorted(shared("epu", "transphire_grouping").iterdir()):
        files = [classify(PurePosixPath("s", path.name)) for path in version.iterdir()]
        exposures = {file.exposure for file in files}
        assert None not in exposures
        movies = [file.exposure for file in files if file.role is FileRole.MOVIE]
        expected = 0 if version.name == "epu_1_8_k2" else 2  # 1.8 wrote a K2's frames one by one
        assert len(movies) == len(set(movies)) == expected, version.name


def test_the_listing_of_a_real_visit_holds_no_file_without_a_role() -> None:
    lines = shared("epu", "tree_bi37708-28_first500lines.txt").read_text().splitlines()
    names = [line.split("── ", 1)[1] for line in lines if "── " in line]
    files = [name for name in names if name.endswith((".xml", ".jpg", ".dm"))]
    roles = [classify(PurePosixPath("s", name)).role for name in files]
    assert FileRole.OTHER not in roles
    assert roles.count(FileRole.METADATA) == roles.count(FileRole.PREVIEW) == 130
    assert roles.count(FileRole.ATLAS) == 2 * (92 + 5 + 1)
    assert roles.count(FileRole.HOLE_PICTURE) == 4
