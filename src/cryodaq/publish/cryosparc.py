"""A sample's results as a folder that cryoSPARC imports from; links, as in `publish.project`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryodaq.formats.coordinates import read_coordinates
from cryodaq.publish import sample_tables
from cryodaq.publish.project import MadeProject
from cryodaq.publish.project_files import MOVIES, make_link, write_movies_table, write_tables
from cryodaq.publish.sample_folder import SampleTables, Table, read_sample_tables, row_count
from cryodaq.publish.shifted_optics import with_beam_shift_groups


def make_cryosparc_folder(sample_folder: Path, target: Path, *, selection: Path | None = None) -> MadeProject:
    """Make or renew a folder that cryoSPARC imports from.

    `movies/` and `micrographs/` are flat folders of links for its wildcards; `movies.star`, `micrographs_ctf.star` and
    `particles.star` name them by paths relative to the folder.

    Raises `ExportError` and `FormatError` as `make_relion_project` does.
    """
    sample = read_sample_tables(sample_folder, selection=selection)
    grouped = with_beam_shift_groups(sample)
    for name in ("movies", "micrographs"):
        (target / name).mkdir(parents=True, exist_ok=True)
    make_link(target / "gain_references", sample.folder / "raw" / "GainRefs")
    places, movies = {}, {}
    for fact in sample.facts:
        movie = sample.folder / fact["movie"]
        micrograph = fact["micrograph_dose_weighted"]
        movies[micrograph] = f"movies/{fact['run']}{movie.suffix}"
        make_link(target / movies[micrograph], movie)
        places[micrograph] = f"micrographs/{Path(micrograph).name}"
        make_link(target / places[micrograph], sample.folder / micrograph)
    flat = dict(grouped.with_ctf)
    flat["rlnMicrographName"] = [places.get(str(name), str(name)) for name in flat["rlnMicrographName"]]
    flat.pop("rlnMicrographNameNoDW", None)
    particles = _particles(sample, flat, places)
    write_tables(target / sample_tables.WITH_CTF, {"optics": grouped.optics, "micrographs": flat})
    write_movies_table(target / MOVIES, grouped, movies)
    write_tables(target / "particles.star", {"optics": grouped.optics, "particles": particles})
    return MadeProject(
        micrographs=len(sample.facts),
        with_ctf=row_count(flat),
        particles=row_count(particles),
        optics_groups=row_count(grouped.optics),
    )


def _particles(sample: SampleTables, micrographs: Table, places: Mapping[str, str]) -> Table:
    """Return one row a pick, with the CTF of its micrograph."""
    files = dict(
        zip(sample.coordinates["rlnMicrographName"], sample.coordinates["rlnMicrographCoordinates"], strict=True)
    )
    by_place = {places.get(str(name), str(name)): str(path) for name, path in files.items()}
    kept = ("rlnMicrographName", "rlnOpticsGroup", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift")
    table: Table = {"rlnCoordinateX": [], "rlnCoordinateY": [], **{name: [] for name in kept}}
    for row, name in enumerate(micrographs["rlnMicrographName"]):
        if str(name) not in by_place:
            continue
        for x, y in read_coordinates(sample.folder / by_place[str(name)]):
            table["rlnCoordinateX"].append(x)
            table["rlnCoordinateY"].append(y)
            for key in kept:
                table[key].append(micrographs[key][row])
    return table
