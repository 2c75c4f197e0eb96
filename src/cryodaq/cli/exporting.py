"""`cryodaq export`: a sample's results as other programs take them, in a folder of one's own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cryodaq.publish.project import MadeProject

app = typer.Typer(
    help="Make a project of a sample's results for another program, in a folder of your own.",
    no_args_is_help=True,
    add_completion=False,
)
SampleArgument = Annotated[
    Path, typer.Argument(help="The sample's folder, or that of one of its branches.", exists=True, file_okay=False)
]
FolderArgument = Annotated[Path, typer.Argument(help="Folder of the project; made where it is not there.")]
SelectionOption = Annotated[
    Path | None,
    typer.Option(help="Only the micrographs of this STAR file, as the sample's page gives it.", dir_okay=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("relion")
def relion(
    folder: FolderArgument,
    sample: SampleArgument = Path(),
    selection: SelectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make or renew a RELION project: links to movies and micrographs, tables, picks."""
    from cryodaq.publish.project import make_relion_project

    _tell(make_relion_project(sample, folder.absolute(), selection=selection), folder, as_json=as_json)


@app.command("polishing")
def polishing(
    folder: FolderArgument,
    sample: SampleArgument = Path(),
    selection: SelectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make or renew a RELION project for Bayesian polishing: micrographs of TIFF movies are copied as RELION sees them.

    RELION reads the rows of TIFF movies from the last to the first. Picks, CTF and motion are turned with the
    micrographs, so that what is extracted here is found in the movies again. Other micrographs are linked.
    """
    from cryodaq.publish.polishing import make_polishing_project

    _tell(make_polishing_project(sample, folder.absolute(), selection=selection), folder, as_json=as_json)


@app.command("cryosparc")
def cryosparc(
    folder: FolderArgument,
    sample: SampleArgument = Path(),
    selection: SelectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make or renew a folder that cryoSPARC imports movies, micrographs and particles from."""
    from cryodaq.publish.cryosparc import make_cryosparc_folder

    _tell(make_cryosparc_folder(sample, folder.absolute(), selection=selection), folder, as_json=as_json)


@app.command("deposition")
def deposition(
    folder: FolderArgument,
    sample: SampleArgument = Path(),
    selection: SelectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what archives ask for: OSC-EM's JSON, an EMPIAR-ready list of files with checksums, Parquet."""
    from cryodaq.publish.deposition import write_deposition

    made = write_deposition(sample.resolve(), folder.absolute(), selection=selection)
    if as_json:
        print(json.dumps({**asdict(made), "folder": str(folder)}))
    else:
        print(
            f"{folder}: {', '.join(made.written)}: {made.movies} movies, {made.files_with_checksum} files with checksum"
        )
        if made.checksums_computed:
            print(f"{made.checksums_computed} checksums are of files as they lie here: no manifest names them yet")
        if made.files_gone:
            print(f"{made.files_gone} files have no checksum: they are not there, and no manifest names them")
        if made.osc_em_lacks:
            print(f"OSC-EM also requires what nothing here says, to be filled in: {', '.join(made.osc_em_lacks)}")


def _tell(made: MadeProject, folder: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**asdict(made), "folder": str(folder)}))
    else:
        print(
            f"{folder}: {made.micrographs} micrographs, {made.with_ctf} of them with CTF, {made.particles} particles, "
            f"{made.optics_groups} optics groups"
        )
        if made.copied:
            print(f"{made.copied} micrographs of TIFF movies copied as RELION reads the movies, last row first")
        if made.without_motion:
            print(
                f"{made.without_motion} micrographs without motion for polishing; see `cryodaq export polishing --help`"
            )
