"""A sample's results as a project in a person's own folder: links to the products, and tables for the program.

Reads nothing but the sample's folder, so that whoever may read the sample can make one, without any account. Links
point to the sample's folder, where new micrographs appear while it is collected; making the project again brings the
tables up to date.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from cryodaq.errors import ExportError, FormatError
from cryodaq.formats.coordinates import read_coordinates
from cryodaq.formats.star import Block, Value, read_star, write_star
from cryodaq.publish import sample_tables
from cryodaq.publish.beam_shifts import area_of, group_beam_shifts
from cryodaq.publish.growing import write_anew

LINKED_FOLDERS = ("raw", "aligned", "ctf", "particles", "branches")
AUTOPICK = "AutoPick/cryodaq"
PICK_SUFFIX = "_autopick.star"

Table = dict[str, list[Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeProject:
    """What was written."""

    micrographs: int
    with_ctf: int
    particles: int
    optics_groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """The tables of a sample's folder."""

    folder: Path
    """Where the tables' paths begin; a branch's tables lie deeper."""
    optics: Table
    corrected: Table
    with_ctf: Table
    coordinates: Table
    facts: Sequence[Mapping[str, str]]


def make_relion_project(sample_folder: Path, project: Path) -> MadeProject:
    """Make or renew a RELION project (3.1 to 5): links, tables, and picks as an AutoPick job leaves them.

    Raises
    ------
    ExportError
        The sample has no tables yet, or the project's folder holds something else under a name that is needed.
    FormatError
        A table is damaged.
    """
    sample = _read_sample(sample_folder)
    project.mkdir(parents=True, exist_ok=True)
    for name in LINKED_FOLDERS:
        if (sample.folder / name).is_dir():
            _link(project / name, sample.folder / name)
    grouped = _with_beam_shift_groups(sample)
    optics = dict(grouped.optics)
    _write(project / sample_tables.CORRECTED, {"optics": optics, "micrographs": grouped.corrected})
    _write(project / sample_tables.WITH_CTF, {"optics": optics, "micrographs": grouped.with_ctf})
    _write(project / sample_tables.COORDINATES, {"coordinate_files": sample.coordinates})
    _lay_out_picks(project, sample)
    return MadeProject(
        micrographs=_rows(grouped.corrected),
        with_ctf=_rows(grouped.with_ctf),
        particles=sum(int(fact.get("picks_count") or 0) for fact in sample.facts),
        optics_groups=_rows(grouped.optics),
    )


def make_cryosparc_folder(sample_folder: Path, target: Path) -> MadeProject:
    """Make or renew a folder that cryoSPARC imports from.

    `movies/` and `micrographs/` are flat folders of links for its wildcards; `micrographs_ctf.star` and
    `particles.star` name micrographs by paths relative to the folder.

    Raises `ExportError` and `FormatError` as `make_relion_project` does.
    """
    sample = _read_sample(sample_folder)
    grouped = _with_beam_shift_groups(sample)
    for name in ("movies", "micrographs"):
        (target / name).mkdir(parents=True, exist_ok=True)
    _link(target / "gain_references", sample.folder / "raw" / "GainRefs")
    places = {}
    for fact in sample.facts:
        movie = sample.folder / fact["movie"]
        _link(target / "movies" / f"{fact['run']}{movie.suffix}", movie)
        micrograph = fact["micrograph_dose_weighted"]
        places[micrograph] = f"micrographs/{Path(micrograph).name}"
        _link(target / places[micrograph], sample.folder / micrograph)
    flat = dict(grouped.with_ctf)
    flat["rlnMicrographName"] = [places.get(str(name), str(name)) for name in flat["rlnMicrographName"]]
    flat.pop("rlnMicrographNameNoDW", None)
    particles = _particles(sample, flat, places)
    _write(target / sample_tables.WITH_CTF, {"optics": grouped.optics, "micrographs": flat})
    _write(target / "particles.star", {"optics": grouped.optics, "particles": particles})
    return MadeProject(
        micrographs=len(sample.facts),
        with_ctf=_rows(flat),
        particles=_rows(particles),
        optics_groups=_rows(grouped.optics),
    )


def _read_sample(folder: Path) -> _Sample:
    folder = folder.resolve()
    corrected, with_ctf, coordinates = (
        _read_table(folder / name)
        for name in (sample_tables.CORRECTED, sample_tables.WITH_CTF, sample_tables.COORDINATES)
    )
    with (folder / sample_tables.EVERYTHING).open(newline="", encoding="utf-8") as handle:
        facts = list(csv.DictReader(handle))
    if facts and not {"run", "movie", "micrograph_dose_weighted"} <= facts[0].keys():
        raise FormatError(folder / sample_tables.EVERYTHING, problem="it lacks the columns that say what is where")
    return _Sample(
        folder=folder.parent.parent if folder.parent.name == "branches" else folder,
        optics=_columns(corrected, "optics"),
        corrected=_columns(corrected, "micrographs"),
        with_ctf=_columns(with_ctf, "micrographs"),
        coordinates=_columns(coordinates, "coordinate_files"),
        facts=facts,
    )


def _read_table(path: Path) -> dict[str, dict[str, list[Value] | Value]]:
    if not path.is_file():
        message = f"{path.parent} has no {path.name}: no movie of it was published yet, or it is no sample's folder"
        raise ExportError(message)
    return read_star(path)


def _columns(blocks: Mapping[str, Mapping[str, list[Value] | Value]], name: str) -> Table:
    return {key: column for key, column in blocks.get(name, {}).items() if isinstance(column, list)}


def _with_beam_shift_groups(sample: _Sample) -> _Sample:
    """Split the optics groups by the beam's shift where the shifts fall into clusters."""
    shifts = [_shift(fact) for fact in sample.facts]
    names = group_beam_shifts(shifts, areas=[area_of(fact["run"]) for fact in sample.facts])
    if len(set(names)) < 2:
        return sample
    group_of = dict(zip((fact["micrograph_dose_weighted"] for fact in sample.facts), names, strict=True))
    pairs = [
        (int(group), group_of.get(str(name), ""))
        for name, group in zip(sample.corrected["rlnMicrographName"], sample.corrected["rlnOpticsGroup"], strict=True)
    ]
    numbers = {pair: number for number, pair in enumerate(sorted(set(pairs)), start=1)}
    place = {int(group): row for row, group in enumerate(sample.optics["rlnOpticsGroup"])}
    optics = {key: [column[place[group]] for group, _ in numbers] for key, column in sample.optics.items()}
    optics["rlnOpticsGroup"] = list(numbers.values())
    optics["rlnOpticsGroupName"] = [name or f"opticsGroup{group}" for group, name in numbers]

    def renumbered(table: Table) -> Table:
        groups = zip(table["rlnMicrographName"], table["rlnOpticsGroup"], strict=True)
        return {**table, "rlnOpticsGroup": [numbers[int(old), group_of.get(str(name), "")] for name, old in groups]}

    return _Sample(
        folder=sample.folder,
        optics=optics,
        corrected=renumbered(sample.corrected),
        with_ctf=renumbered(sample.with_ctf),
        coordinates=sample.coordinates,
        facts=sample.facts,
    )


def _shift(fact: Mapping[str, str]) -> tuple[float, float] | None:
    try:
        return float(fact["beam_shift_x"]), float(fact["beam_shift_y"])
    except (KeyError, ValueError):  # an empty cell: the shift of this exposure is not known
        return None


def _lay_out_picks(project: Path, sample: _Sample) -> None:
    """Link picks to where RELION 3.1 looks for them: below the job, by the micrograph's path, with the suffix."""
    job = project / AUTOPICK
    job.mkdir(parents=True, exist_ok=True)
    names, files = sample.coordinates["rlnMicrographName"], sample.coordinates["rlnMicrographCoordinates"]
    for name, coordinates in zip(names, files, strict=True):
        stem = Path(str(name)).with_suffix("")
        link = job / f"{stem}{PICK_SUFFIX}"
        link.parent.mkdir(parents=True, exist_ok=True)
        _link(link, sample.folder / str(coordinates))
    write_anew(job / f"coords_suffix{PICK_SUFFIX}", [f"{sample_tables.WITH_CTF}\n"])


def _particles(sample: _Sample, micrographs: Table, places: Mapping[str, str]) -> Table:
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


def _link(link: Path, target: Path) -> None:
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


def _write(path: Path, blocks: Mapping[str, Block]) -> None:
    text = StringIO()
    write_star(text, blocks)
    write_anew(path, [text.getvalue()])


def _rows(table: Table) -> int:
    return len(next(iter(table.values()), []))
