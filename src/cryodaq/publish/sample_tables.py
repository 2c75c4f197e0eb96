"""The tables of one sample in one branch: a head, and a line a movie.

corrected_micrographs.star   all micrographs, for RELION's CTF estimation and polishing
micrographs_ctf.star         those whose CTF was found, for RELION and cryoSPARC
coordinates.star             where each micrograph's picks lie, as RELION 4 and later import them
micrographs.csv              everything that is known of each movie, for people and spreadsheets
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import PurePosixPath

from cryodaq.formats.star import Block, star_row, write_star
from cryodaq.publish.relion import AlignedMicrograph, corrected_columns, corrected_row
from cryodaq.publish.star import COLUMNS, Micrograph, Optics, as_columns, micrograph_row, optics_block

CORRECTED = "corrected_micrographs.star"
WITH_CTF = "micrographs_ctf.star"
COORDINATES = "coordinates.star"
EVERYTHING = "micrographs.csv"
COORDINATE_COLUMNS = ("rlnMicrographName", "rlnMicrographCoordinates")

Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedMovie:
    """What the tables say of one movie. Paths are absolute."""

    aligned: AlignedMicrograph
    ctf: Micrograph | None
    """None where no CTF was found."""
    coordinates: str | None
    """None where picking is switched off."""
    facts: Mapping[str, Fact]
    """Columns of the table of everything, the same for each movie; None where a thing is not known."""


def heads(groups: Mapping[Optics, int], *, with_motion: bool, fact_names: Sequence[str]) -> dict[str, str]:
    """Return what each file begins with, by its name.

    Parameters
    ----------
    groups
        Number of each optics group.
    with_motion
        Whether every micrograph has its motion STAR.
    """
    optics = optics_block(dict(groups))
    columns = corrected_columns(with_motion=with_motion)
    return {
        CORRECTED: _star({"optics": optics, "micrographs": as_columns([], columns)}),
        WITH_CTF: _star({"optics": optics, "micrographs": as_columns([], COLUMNS)}),
        COORDINATES: _star({"coordinate_files": as_columns([], COORDINATE_COLUMNS)}),
        EVERYTHING: _csv_line(fact_names),
    }


def lines(movie: ExportedMovie, *, group: int, root: PurePosixPath, with_motion: bool) -> dict[str, str]:
    """Return a movie's line in each file that has one, by the file's name; paths become relative to `root`.

    Raises `ValueError` for a product that does not lie below `root`.
    """
    said = {
        CORRECTED: star_row(corrected_row(movie.aligned, group=group, root=root, with_motion=with_motion)),
        EVERYTHING: _csv_line(movie.facts.values()),
    }
    if movie.ctf is not None:
        said[WITH_CTF] = star_row(micrograph_row(movie.ctf, group=group, root=root))
    if movie.coordinates is not None:
        paths = (movie.aligned.micrograph_dose_weighted, movie.coordinates)
        said[COORDINATES] = star_row(str(PurePosixPath(path).relative_to(root)) for path in paths)
    return said


def beginnings(movie: ExportedMovie, *, root: PurePosixPath) -> dict[str, str]:
    """Return how a movie's line begins in each file, whatever else it says; the names in it are the movie's alone."""
    micrograph = str(PurePosixPath(movie.aligned.micrograph_dose_weighted).relative_to(root))
    star = star_row([micrograph]).rstrip("\n") + " "
    first = next(iter(movie.facts.values()))
    return {CORRECTED: star, WITH_CTF: star, COORDINATES: star, EVERYTHING: _csv_line([first]).rstrip("\n") + ","}


def _star(blocks: Mapping[str, Block]) -> str:
    text = StringIO()
    write_star(text, blocks)
    return text.getvalue()


def _csv_line(values: Iterable[Fact]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: Fact) -> Fact:
    """Return a value as a spreadsheet may see it: a name that begins like a formula is marked as text."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
