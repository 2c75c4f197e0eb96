"""A sample's results as a folder that cryoSPARC imports from; links, as in `publish.project`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cryodaq.formats.coordinates import read_picks
from cryodaq.formats.star import star_row
from cryodaq.publish import sample_tables
from cryodaq.publish.growing import write_anew
from cryodaq.publish.project import MadeProject
from cryodaq.publish.project_files import MOVIES, make_link, star_text, write_movies_table, write_tables
from cryodaq.publish.sample_folder import SampleTables, Table, read_sample_tables, row_count
from cryodaq.publish.shifted_optics import with_beam_shift_groups

PARTICLES = "particles.star"
PICKED = ("rlnCoordinateX", "rlnCoordinateY", "rlnAutopickFigureOfMerit")
"""Of each pick; a score of 0 where its picker gave none."""
OF_THE_MICROGRAPH = (
    *("rlnMicrographName", "rlnOpticsGroup"),
    *("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift"),
)


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
    write_tables(target / sample_tables.WITH_CTF, {"optics": grouped.optics, "micrographs": flat})
    write_movies_table(target / MOVIES, grouped, movies)
    return MadeProject(
        micrographs=len(sample.facts),
        with_ctf=row_count(flat),
        particles=_write_particles(target / PARTICLES, sample, flat, optics=grouped.optics, places=places),
        optics_groups=row_count(grouped.optics),
    )


def _write_particles(
    path: Path, sample: SampleTables, micrographs: Table, *, optics: Table, places: Mapping[str, str]
) -> int:
    """Write one row a pick, with its score and the CTF of its micrograph; return how many there are.

    They may be millions, so they go to the file micrograph by micrograph.
    """
    files = dict(
        zip(sample.coordinates["rlnMicrographName"], sample.coordinates["rlnMicrographCoordinates"], strict=True)
    )
    by_place = {places.get(str(name), str(name)): str(path) for name, path in files.items()}
    count = 0

    def lines() -> Iterator[str]:
        nonlocal count
        with_pixel = {**optics, "rlnImagePixelSize": optics["rlnMicrographPixelSize"]}
        yield star_text({"optics": with_pixel, "particles": {name: [] for name in (*PICKED, *OF_THE_MICROGRAPH)}})
        for row, name in enumerate(micrographs["rlnMicrographName"]):
            if str(name) not in by_place:
                continue
            positions, scores = read_picks(sample.folder / by_place[str(name)])
            said = star_row(micrographs[key][row] for key in OF_THE_MICROGRAPH)
            for (x, y), score in zip(positions, scores or [0.0] * len(positions), strict=True):
                yield f"{star_row([x, y, score])[:-1]} {said}"
            count += len(positions)

    write_anew(path, lines())
    return count
