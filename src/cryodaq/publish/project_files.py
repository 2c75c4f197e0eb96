"""Links and tables in a person's own folder."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from cryodaq.errors import ExportError
from cryodaq.formats.star import Block, write_star
from cryodaq.publish.growing import write_anew
from cryodaq.publish.sample_folder import SampleTables

MOVIES = "movies.star"
OF_MICROGRAPHS_ONLY = "rlnMicrographPixelSize"
"""Column of optics groups that movies have not."""


def make_link(link: Path, target: Path) -> None:
    """Make a link; one that points elsewhere is turned to the target.

    Raises `ExportError` where something that is no link has the name.
    """
    if link.is_symlink():
        if link.readlink() == target:
            return
        link.unlink()
    elif link.exists():
        message = f"{link} exists and is no link of an earlier export; give an empty folder"
        raise ExportError(message)
    link.symlink_to(target)


def write_tables(path: Path, blocks: Mapping[str, Block]) -> None:
    """Write a STAR file whole."""
    write_anew(path, [star_text(blocks)])


def star_text(blocks: Mapping[str, Block]) -> str:
    """Return the text of a STAR file; rows of its last table may be added behind it."""
    text = StringIO()
    write_star(text, blocks)
    return text.getvalue()


def write_movies_table(path: Path, sample: SampleTables, names: Mapping[str, str]) -> None:
    """Write the movies as RELION's import leaves them: what motion correction begins with.

    Parameters
    ----------
    names
        Of the movies in the project, by the sample's names of their micrographs.
    """
    corrected = sample.corrected
    groups = zip(corrected["rlnMicrographName"], corrected["rlnOpticsGroup"], strict=True)
    rows = [(names[str(name)], group) for name, group in groups if str(name) in names]
    table: Block = {"rlnMicrographMovieName": [name for name, _ in rows], "rlnOpticsGroup": [row[1] for row in rows]}
    optics = {name: column for name, column in sample.optics.items() if name != OF_MICROGRAPHS_ONLY}
    write_tables(path, {"optics": optics, "movies": table})
