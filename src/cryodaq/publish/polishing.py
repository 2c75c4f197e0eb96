"""A RELION project in which everything lies as RELION reads the movies, for Bayesian polishing.

RELION reads the last stored row of a TIFF first, whatever the file says of its orientation. Polishing cuts particles
out of the movies again, so micrographs, picks and CTF have to be mirrored in y for such movies; motion STARs and their
gain references lie beside the micrographs in RELION's order already. Micrographs of other movies are linked.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from cryodaq.errors import ExportError
from cryodaq.formats.coordinates import read_coordinates, read_scores, write_coordinates
from cryodaq.formats.mrc import read_mrc_header, write_turned_micrograph
from cryodaq.formats.star import Value
from cryodaq.publish.project import TURNED, MadeProject, lay_out_project
from cryodaq.publish.relion import METADATA_COLUMN, relion_turns_rows
from cryodaq.publish.sample_folder import SampleTables, Table, read_sample_tables
from cryodaq.publish.shifted_optics import with_beam_shift_groups

UNWEIGHTED_COLUMN = "rlnMicrographNameNoDW"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Polishable:
    """One micrograph and what RELION needs of it; paths below the sample's folder."""

    micrograph: str
    motion: str
    turned: bool

    @property
    def name(self) -> str:
        """Return its path below the project."""
        return _turned(self.micrograph) if self.turned else self.micrograph


def make_polishing_project(sample_folder: Path, project: Path, *, selection: Path | None = None) -> MadeProject:
    """Make or renew a RELION project (3.1 to 5) whose particles can be polished.

    Micrographs whose motion RELION cannot use are left out of its tables.

    Raises
    ------
    ExportError
        As `make_relion_project`; or there is no room for the copies, or no micrograph has its motion.
    FormatError
        A table or a micrograph is damaged.
    """
    sample = with_beam_shift_groups(read_sample_tables(sample_folder, selection=selection))
    found = {one.micrograph: one for fact in sample.facts if (one := _polishable(sample.folder, fact)) is not None}
    if not found:
        message = f"no micrograph of {sample_folder} has a motion that RELION can use; process the sample again"
        raise ExportError(message)
    _check_room(sample.folder, project, list(found.values()))
    for one in found.values():
        if one.turned:
            _copy_turned(sample.folder / one.micrograph, project / one.name)
    made = lay_out_project(_for_polishing(sample, project, found), project)
    return replace(
        made,
        without_motion=len(sample.facts) - len(found),
        copied=sum(one.turned for one in found.values()),
    )


def _polishable(folder: Path, fact: Mapping[str, str]) -> _Polishable | None:
    motion = str(PurePosixPath(fact["micrograph"]).with_suffix(".star"))
    if not (folder / motion).is_file():
        return None
    turned = relion_turns_rows(PurePosixPath(fact["movie"]))
    return _Polishable(micrograph=fact["micrograph_dose_weighted"], motion=motion, turned=turned)


def _turned(path: str) -> str:
    return f"{TURNED}/{path}"


def _check_room(folder: Path, project: Path, found: list[_Polishable]) -> None:
    wanted = [one for one in found if one.turned and not _is_copied(folder / one.micrograph, project / one.name)]
    need_bytes = sum((folder / one.micrograph).stat().st_size for one in wanted)
    project.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(project).free
    if need_bytes > free_bytes:
        message = (
            f"{len(wanted)} micrographs of TIFF movies have to be copied with their rows turned: "
            f"{need_bytes / 1e9:.1f} GB, and {project} has {free_bytes / 1e9:.1f} GB left; make room or choose another"
        )
        raise ExportError(message)


def _is_copied(source: Path, target: Path) -> bool:
    if not target.is_file():
        return False
    old, new = source.stat(), target.stat()
    return (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns)


def _copy_turned(source: Path, target: Path) -> None:
    """Copy a micrograph with its rows turned; one that is there already stays."""
    if _is_copied(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    facts = source.stat()
    write_turned_micrograph(source, part)
    os.utime(part, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    part.replace(target)


def _for_polishing(sample: SampleTables, project: Path, found: Mapping[str, _Polishable]) -> SampleTables:
    corrected, with_ctf, coordinates = (
        _renamed(table, found) for table in (sample.corrected, sample.with_ctf, sample.coordinates)
    )
    by_name = {one.name: one for one in found.values()}
    names = [str(name) for name in corrected["rlnMicrographName"]]
    corrected[METADATA_COLUMN] = [by_name[name].motion for name in names]
    with_ctf["rlnDefocusAngle"] = [
        (-float(angle)) % 180 if by_name[str(name)].turned else angle
        for name, angle in zip(with_ctf["rlnMicrographName"], with_ctf["rlnDefocusAngle"], strict=True)
    ]
    coordinates["rlnMicrographCoordinates"] = [
        _turn_picks(sample.folder, project, by_name[str(name)], picks=str(picks))
        for name, picks in zip(coordinates["rlnMicrographName"], coordinates["rlnMicrographCoordinates"], strict=True)
    ]
    facts = [fact for fact in sample.facts if fact["micrograph_dose_weighted"] in found]
    return replace(sample, corrected=corrected, with_ctf=with_ctf, coordinates=coordinates, facts=facts)


def _renamed(table: Table, found: Mapping[str, _Polishable]) -> Table:
    """Return the rows of a table whose micrographs were found, by their names in the project."""
    rows = [row for row, name in enumerate(table["rlnMicrographName"]) if str(name) in found]
    kept: Table = {key: [column[row] for row in rows] for key, column in table.items() if key != UNWEIGHTED_COLUMN}
    names: list[Value] = [found[str(name)].name for name in kept["rlnMicrographName"]]
    return {**kept, "rlnMicrographName": names}


def _turn_picks(folder: Path, project: Path, one: _Polishable, *, picks: str) -> str:
    """Write a micrograph's picks where its rows are turned; return their path below the project."""
    if not one.turned:
        return picks
    last_row = read_mrc_header(folder / one.micrograph).shape_yx[0] - 1
    target = project / _turned(picks)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    places = [(x, last_row - y) for x, y in read_coordinates(folder / picks)]
    write_coordinates(part, places, scores=read_scores(folder / picks))
    part.replace(target)
    return _turned(picks)
