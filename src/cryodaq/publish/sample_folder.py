"""A sample's folder as exports read it: its tables, with nothing but the right to read them."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from cryodaq.errors import ExportError, FormatError
from cryodaq.formats.star import Value, read_star
from cryodaq.publish import sample_tables

Table = dict[str, list[Value]]
_NAME = "rlnMicrographName"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTables:
    """The tables of a sample's folder."""

    folder: Path
    """Where the tables' paths begin; a branch's tables lie deeper."""
    optics: Table
    corrected: Table
    with_ctf: Table
    coordinates: Table
    facts: Sequence[Mapping[str, str]]


def read_sample_tables(folder: Path, *, selection: Path | None = None) -> SampleTables:
    """Read the tables of a sample or of one of its branches.

    Parameters
    ----------
    selection
        A STAR file of the micrographs that are wanted, as the sample's page gives it; None: all.

    Raises
    ------
    ExportError
        The folder has no tables, or none of the wanted micrographs.
    FormatError
        A table is damaged.
    """
    tables = _read_all(folder.resolve())
    return tables if selection is None else _only(tables, selection)


def _only(tables: SampleTables, selection: Path) -> SampleTables:
    """Return the tables of the micrographs that a STAR file names."""
    wanted = wanted_micrographs(selection)
    chosen = replace(
        tables,
        corrected=_rows(tables.corrected, wanted),
        with_ctf=_rows(tables.with_ctf, wanted),
        coordinates=_rows(tables.coordinates, wanted),
        facts=[fact for fact in tables.facts if fact["micrograph_dose_weighted"] in wanted],
    )
    if not chosen.facts:
        raise names_none(selection, tables.folder)
    return chosen


def wanted_micrographs(selection: Path) -> frozenset[str]:
    """Return the micrographs that a STAR file names, as the sample's tables name them."""
    return frozenset(map(str, _columns(read_star(selection), "micrographs").get(_NAME, [])))


def names_none(selection: Path, folder: Path) -> ExportError:
    """Return what to say of a selection without a micrograph of a sample's folder."""
    return ExportError(f"{selection} names no micrograph of {folder}; take the STAR file of this sample's own page")


def _rows(table: Table, wanted: Collection[str]) -> Table:
    kept = [str(name) in wanted for name in table.get(_NAME, [])]
    return {key: list(compress(column, kept)) for key, column in table.items()}


def _read_all(folder: Path) -> SampleTables:
    corrected, with_ctf, coordinates = (
        _read_table(folder / name)
        for name in (sample_tables.CORRECTED, sample_tables.WITH_CTF, sample_tables.COORDINATES)
    )
    with (folder / sample_tables.EVERYTHING).open(newline="", encoding="utf-8") as handle:
        facts = list(csv.DictReader(handle))
    if facts and not {"run", "movie", "micrograph_dose_weighted"} <= facts[0].keys():
        raise FormatError(folder / sample_tables.EVERYTHING, problem="it lacks the columns that say what is where")
    return SampleTables(
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


def row_count(table: Table) -> int:
    """Return how many rows a table has."""
    return len(next(iter(table.values()), []))
