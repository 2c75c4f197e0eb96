"""A sample's results as a project in a person's own folder: links to the products, and tables for the program.

Reads nothing but the sample's folder, so that whoever may read the sample can make one, without any account. Links
point to the sample's folder, where new micrographs appear while it is collected; making the project again brings the
tables up to date.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryodaq.publish import sample_tables
from cryodaq.publish.growing import write_anew
from cryodaq.publish.project_files import MOVIES, make_link, write_movies_table, write_tables
from cryodaq.publish.relion import METADATA_COLUMN
from cryodaq.publish.sample_folder import SampleTables, read_sample_tables, row_count
from cryodaq.publish.shifted_optics import with_beam_shift_groups

LINKED_FOLDERS = ("raw", "aligned", "ctf", "particles", "branches")
AUTOPICK = "AutoPick/cryodaq"
PICK_SUFFIX = "_autopick.star"
TURNED = "turned"
"""Folder of a project for what could not be linked, because RELION reads the movie's rows in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeProject:
    """What was written."""

    micrographs: int
    with_ctf: int
    particles: int
    optics_groups: int
    without_motion: int = 0
    """Micrographs whose motion RELION could not use: listed without it, and left out of a project for polishing."""
    copied: int = 0
    """Micrographs that were copied instead of linked."""


def make_relion_project(sample_folder: Path, project: Path, *, selection: Path | None = None) -> MadeProject:
    """Make or renew a RELION project (3.1 to 5): links, tables, and picks as an AutoPick job leaves them.

    Parameters
    ----------
    selection
        A STAR file of the micrographs that are wanted, as the sample's page gives it; None: all.

    Raises
    ------
    ExportError
        The sample has no tables yet, or the project's folder holds something else under a name that is needed.
    FormatError
        A table is damaged.
    """
    sample = with_beam_shift_groups(read_sample_tables(sample_folder, selection=selection))
    made = lay_out_project(sample, project)
    movies = {fact["micrograph_dose_weighted"]: fact["movie"] for fact in sample.facts}
    write_movies_table(project / MOVIES, sample, movies)
    return made


def lay_out_project(sample: SampleTables, project: Path) -> MadeProject:
    """Make links, tables and picks; paths in the tables are below the project or the sample's folder.

    Raises `ExportError` where the project's folder holds something else under a name that is needed.
    """
    project.mkdir(parents=True, exist_ok=True)
    for name in LINKED_FOLDERS:
        if (sample.folder / name).is_dir():
            make_link(project / name, sample.folder / name)
    write_tables(project / sample_tables.CORRECTED, {"optics": sample.optics, "micrographs": sample.corrected})
    write_tables(project / sample_tables.WITH_CTF, {"optics": sample.optics, "micrographs": sample.with_ctf})
    write_tables(project / sample_tables.COORDINATES, {"coordinate_files": sample.coordinates})
    _lay_out_picks(project, sample)
    micrographs = row_count(sample.corrected)
    return MadeProject(
        micrographs=micrographs,
        with_ctf=row_count(sample.with_ctf),
        particles=sum(int(fact.get("picks_count") or 0) for fact in sample.facts),
        optics_groups=row_count(sample.optics),
        without_motion=0 if METADATA_COLUMN in sample.corrected else micrographs,
    )


def _lay_out_picks(project: Path, sample: SampleTables) -> None:
    """Link picks to where RELION 3.1 looks for them: below the job, by the micrograph's path, with the suffix."""
    job = project / AUTOPICK
    job.mkdir(parents=True, exist_ok=True)
    names, files = sample.coordinates["rlnMicrographName"], sample.coordinates["rlnMicrographCoordinates"]
    for name, coordinates in zip(names, files, strict=True):
        stem = Path(str(name)).with_suffix("")
        link = job / f"{stem}{PICK_SUFFIX}"
        link.parent.mkdir(parents=True, exist_ok=True)
        here = project / str(coordinates)
        make_link(link, here if str(coordinates).startswith(TURNED) else sample.folder / str(coordinates))
    write_anew(job / f"coords_suffix{PICK_SUFFIX}", [f"{sample_tables.WITH_CTF}\n"])
