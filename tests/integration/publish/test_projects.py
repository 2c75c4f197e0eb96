"""Projects for RELION and cryoSPARC in a person's own folder, and RELION itself working in one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile
from sqlalchemy import Engine
from typer.testing import CliRunner

from cryodaq.cli.commands import app
from cryodaq.errors import ExportError, FormatError
from cryodaq.formats.coordinates import write_coordinates
from cryodaq.publish.cryosparc import make_cryosparc_folder
from cryodaq.publish.project import make_relion_project
from cryodaq.testing.seeded_ledger import LedgerSeeder

BOX = 32
Publish = Callable[..., object]


def sample_folder(tmp_path: Path) -> Path:
    (found,) = tmp_path.glob("202611/*/" + "a" * 24)
    return found


def in_unprivileged_child(work: Callable[[], object]) -> None:
    """Run something as `nobody` where the tests run as root."""
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.setgroups([])
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
            work()
        except BaseException as error:  # noqa: BLE001  # the parent only sees how it ended
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def readable_by_all(folder: Path) -> None:
    """Let others pass down to a folder and read what it holds, as access rights let collaborators."""
    for parent in folder.parents:
        if parent.stat().st_mode & 0o001 == 0 and parent.is_relative_to(gettempdir()):
            parent.chmod(parent.stat().st_mode | 0o055)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A folder of the unprivileged user's own."""
    folder = tmp_path / "home of a user"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_relion_extracts_the_particles_that_we_picked(publish_spots: Publish, tmp_path: Path, own_folder: Path) -> None:
    if shutil.which("relion_preprocess") is None:
        pytest.skip("RELION is not installed (Debian package relion): our exports are tried with it only where it is")
    places = {"m1": ((40, 60), (200, 130)), "m2": ((100, 30), (150, 170), (60, 150))}
    for name, picks in places.items():
        publish_spots(name, picks_xy=picks, defocus_ang=15_000.0 if name == "m1" else 21_000.0)
    sample, project = sample_folder(tmp_path), own_folder / "project"
    readable_by_all(sample)

    def work() -> None:
        make_relion_project(sample, project)
        command = ["relion_preprocess", "--i", "micrographs_ctf.star", "--coord_dir", "AutoPick/cryodaq/"]
        command += ["--coord_suffix", "_autopick.star", "--part_star", "Extract/particles.star"]
        command += ["--part_dir", "Extract/", "--extract", "--extract_size", str(BOX)]
        (project / "Extract").mkdir()
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    in_unprivileged_child(work)
    blocks = starfile.read(project / "Extract/particles.star", always_dict=True)
    particles = blocks["particles"]
    assert len(particles) == 5
    for _, row in particles.iterrows():
        name = Path(row["rlnMicrographName"]).name.removesuffix("_DW.mrc")
        assert (row["rlnCoordinateX"], row["rlnCoordinateY"]) in places[name]
        assert row["rlnDefocusU"] == (15_100.0 if name == "m1" else 21_100.0)
        assert (row["rlnDefocusAngle"], row["rlnPhaseShift"]) == (37.5, 12.0)
        number, stack = row["rlnImageName"].split("@")
        with mrcfile.open(project / stack, permissive=True) as file:
            box = file.data[int(number) - 1] if file.data.ndim == 3 else file.data
        brightest = np.unravel_index(np.argmax(box), box.shape)
        assert brightest == (BOX // 2, BOX // 2)
    optics = blocks["optics"].iloc[0]
    assert (optics["rlnVoltage"], optics["rlnSphericalAberration"], optics["rlnAmplitudeContrast"]) == (300, 2.7, 0.1)
    assert optics["rlnImagePixelSize"] == pytest.approx(1.06)


def test_a_project_is_renewed_and_links_what_is_there(publish_spots: Publish, tmp_path: Path, own_folder: Path) -> None:
    publish_spots("m1")
    sample, project = sample_folder(tmp_path), own_folder / "project"
    assert make_relion_project(sample, project).micrographs == 1
    publish_spots("m2")
    made = make_relion_project(sample, project)
    assert (made.micrographs, made.with_ctf, made.particles, made.optics_groups) == (2, 2, 4, 1)
    for name in starfile.read(project / "corrected_micrographs.star")["micrographs"]["rlnMicrographName"]:
        assert (project / name).is_file()
    movies = starfile.read(project / "movies.star", always_dict=True)
    assert list(movies["movies"]["rlnMicrographMovieName"]) == ["raw/session/m1.tiff", "raw/session/m2.tiff"]
    assert all((project / name).is_file() for name in movies["movies"]["rlnMicrographMovieName"])
    assert "rlnMicrographPixelSize" not in movies["optics"]
    coordinates = starfile.read(project / "coordinates.star", always_dict=True)["coordinate_files"]
    assert [(project / path).is_file() for path in coordinates["rlnMicrographCoordinates"]] == [True, True]
    assert (project / "AutoPick/cryodaq/aligned/m2_DW_autopick.star").is_file()


def groups_of(star: Path) -> tuple[dict[str, int], dict[int, str]]:
    """Return the optics group of each run, and the names of the groups."""
    blocks = starfile.read(star, always_dict=True)
    runs = [Path(name).name.removesuffix("_DW.mrc") for name in blocks["micrographs"]["rlnMicrographName"]]
    optics = blocks["optics"]
    return (
        dict(zip(runs, blocks["micrographs"]["rlnOpticsGroup"], strict=True)),
        dict(zip(optics["rlnOpticsGroup"], optics["rlnOpticsGroupName"], strict=True)),
    )


def test_exposures_of_one_beam_shift_become_an_optics_group_that_stays(
    publish_spots: Publish, tmp_path: Path, own_folder: Path
) -> None:
    shifts = [(-0.1, 0.0), (0.1, 0.0)]
    told: dict[str, int] = {}
    inodes = set()
    for number in range(18):
        x, y = shifts[number % 2]
        publish_spots(f"m{number:02d}", beam_shift_xy=(x + number * 1e-4, y))
        living = sample_folder(tmp_path) / "micrographs_ctf.star"
        groups, names = groups_of(living)
        assert told.items() <= groups.items()  # what was once written stays
        told = groups
        inodes.add(living.stat().st_ino)
    publish_spots("unknown")
    publish_spots("elsewhere", beam_shift_xy=(0.1, 0.4))
    groups, names = groups_of(living)
    assert told.items() <= groups.items()
    assert names == {1: "opticsGroup1", 2: "beamShift002", 3: "beamShift001", 4: "beamShift003"}
    assert [groups[f"m{number:02d}"] for number in range(18)] == [1] * 11 + [2, 3, 2, 3, 2, 3, 2]
    assert (groups["unknown"], groups["elsewhere"]) == (1, 4)
    assert groups_of(living.with_name("corrected_micrographs.star")) == (groups, names)
    assert len(inodes) <= 4  # written anew for a new group only
    # A project gives the first ones to their groups, too, and keeps the numbers.
    made = make_relion_project(living.parent, own_folder / "p")
    joined, _ = groups_of(own_folder / "p/micrographs_ctf.star")
    assert made.optics_groups == 4
    assert [joined[f"m{number:02d}"] for number in range(18)] == [3, 2] * 9
    assert (joined["unknown"], joined["elsewhere"]) == (1, 4)


def test_tables_written_anew_keep_the_numbers_of_groups(
    publish_spots: Publish, seed: LedgerSeeder, engine: Engine, tmp_path: Path
) -> None:
    for number in range(16):
        publish_spots(f"m{number:02d}", beam_shift_xy=(0.1 * (number % 2) + number * 1e-4, 0.0))
    living = sample_folder(tmp_path) / "micrographs_ctf.star"
    before = groups_of(living)
    living.unlink()
    publish_spots("m16", beam_shift_xy=(0.0, 0.0))
    groups, names = groups_of(living)
    assert groups.pop("m16") == before[0]["m14"]
    assert (groups, names) == before


def test_a_sample_from_before_groups_were_kept_is_split_in_its_project(
    publish_spots: Publish, engine: Engine, tmp_path: Path, own_folder: Path
) -> None:
    for number in range(14):
        publish_spots(f"m{number:02d}", beam_shift_xy=(0.1 * (number % 2) + number * 1e-4, 0.0))
    csv_file = sample_folder(tmp_path) / "micrographs.csv"
    table = pd.read_csv(csv_file)
    table["beam_shift_group"] = ""
    table.to_csv(csv_file, index=False)
    made = make_relion_project(sample_folder(tmp_path), own_folder / "p")
    groups, _ = groups_of(own_folder / "p/micrographs_ctf.star")
    assert len(set(groups.values())) == made.optics_groups > 1


def test_cryosparc_gets_flat_folders_and_particles_with_their_ctf(
    publish_spots: Publish, tmp_path: Path, own_folder: Path
) -> None:
    publish_spots("m1")
    publish_spots("m2", picks_xy=((10, 20),), defocus_ang=21_000.0)
    sample = sample_folder(tmp_path)
    picks = starfile.read(sample / "coordinates.star", always_dict=True)["coordinate_files"]
    write_coordinates(sample / picks["rlnMicrographCoordinates"][1], [(10.0, 20.0)], scores=[0.75])
    readable_by_all(sample)
    target = own_folder / "cryosparc"
    in_unprivileged_child(lambda: make_cryosparc_folder(sample, target))
    assert sorted(path.name for path in (target / "movies").iterdir()) == ["m1.tiff", "m2.tiff"]
    assert all(path.is_file() for path in (target / "micrographs").iterdir())
    movies = starfile.read(target / "movies.star", always_dict=True)["movies"]
    assert list(movies["rlnMicrographMovieName"]) == ["movies/m1.tiff", "movies/m2.tiff"]
    table = starfile.read(target / "micrographs_ctf.star", always_dict=True)["micrographs"]
    assert [(target / name).is_file() for name in table["rlnMicrographName"]] == [True, True]
    blocks = starfile.read(target / "particles.star", always_dict=True)
    assert list(blocks["optics"]["rlnImagePixelSize"]) == list(blocks["optics"]["rlnMicrographPixelSize"])
    particles = blocks["particles"]
    assert list(particles["rlnAutopickFigureOfMerit"]) == [0.0, 0.0, 0.75]
    assert list(particles["rlnCoordinateX"]) == [40.0, 200.0, 10.0]
    assert list(particles["rlnDefocusU"]) == [15_100.0, 15_100.0, 21_100.0]
    assert list(particles["rlnMicrographName"])[2] == "micrographs/m2_DW.mrc"


def test_only_what_was_selected_goes_into_a_project(publish_spots: Publish, tmp_path: Path, own_folder: Path) -> None:
    for name in ("m1", "m2", "m3"):
        publish_spots(name, picks_xy=((40, 60),))
    sample, selection = sample_folder(tmp_path), own_folder / "in.star"
    lines = (sample / "micrographs_ctf.star").read_text(encoding="utf-8").splitlines(keepends=True)
    selection.write_text("".join(line for line in lines if "m2" not in line), encoding="utf-8")
    made = make_relion_project(sample, own_folder / "p", selection=selection)
    assert (made.micrographs, made.with_ctf, made.particles) == (2, 2, 2)
    assert not list((own_folder / "p").rglob("*m2*_autopick.star"))
    made = make_cryosparc_folder(sample, own_folder / "c", selection=selection)
    assert (made.micrographs, made.particles) == (2, 2)
    assert sorted(path.stem for path in (own_folder / "c/movies").iterdir()) == ["m1", "m3"]
    selection.write_text("".join(line for line in lines if "_DW.mrc" not in line), encoding="utf-8")
    with pytest.raises(ExportError, match="names no micrograph of"):
        make_relion_project(sample, own_folder / "q", selection=selection)


def test_the_command_says_what_it_made(publish_spots: Publish, tmp_path: Path, own_folder: Path) -> None:
    publish_spots("m1")
    sample = str(sample_folder(tmp_path))
    done = CliRunner().invoke(app, ["export", "relion", str(own_folder / "p"), sample])
    assert done.exit_code == 0, done.output
    assert "1 micrographs, 1 of them with CTF, 2 particles, 1 optics groups" in done.output


def test_a_folder_without_tables_and_a_folder_that_holds_other_things_are_refused(
    publish_spots: Publish, tmp_path: Path, own_folder: Path
) -> None:
    with pytest.raises(ExportError, match="no movie of it was published yet"):
        make_relion_project(own_folder, own_folder / "p")
    publish_spots("m1")
    sample = sample_folder(tmp_path)
    (own_folder / "aligned").mkdir()
    with pytest.raises(ExportError, match="aligned exists"):
        make_relion_project(sample, own_folder)
    (sample / "micrographs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FormatError, match="lacks the columns"):
        make_relion_project(sample, own_folder / "p")
