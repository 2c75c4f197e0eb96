"""Optics groups of a project by the shift of the beam."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from cryodaq.formats.star import Value
from cryodaq.publish.beam_shifts import Shift, area_of, group_beam_shifts
from cryodaq.publish.sample_folder import SampleTables, Table

CLEARLY_NEARER = 2
"""An exposure joins a group whose middle is so many times nearer than that of the second."""
_NAME, _NUMBER = "rlnOpticsGroupName", "rlnOpticsGroup"

_Middles = dict[str, dict[str, Shift]]
"""By area and name of the group."""


def with_beam_shift_groups(sample: SampleTables) -> SampleTables:
    """Return the tables with optics groups for shifts of the beam.

    Groups that the sample's tables have keep their numbers; exposures from before they were found join the nearest.
    Tables of samples that were collected before groups were kept are split where all the shifts fall into clusters.
    """
    if any(fact.get("beam_shift_group") for fact in sample.facts):
        return _early_joined(sample)
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

    return SampleTables(
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


def _early_joined(sample: SampleTables) -> SampleTables:
    middles = _middles(sample)
    by_kind = {(_kind(sample.optics, row), str(name)): row for row, name in enumerate(sample.optics[_NAME])}
    row_of = {int(number): row for row, number in enumerate(sample.optics[_NUMBER])}
    joined = {
        fact["micrograph_dose_weighted"]: name
        for fact in sample.facts
        if not fact.get("beam_shift_group") and (name := _nearest(fact, middles)) is not None
    }

    def number_for(micrograph: Value, number: Value) -> Value:
        row = by_kind.get((_kind(sample.optics, row_of[int(number)]), joined.get(str(micrograph), "")))
        return number if row is None else sample.optics[_NUMBER][row]

    def renumbered(table: Table) -> Table:
        pairs = zip(table["rlnMicrographName"], table[_NUMBER], strict=True)
        return {**table, _NUMBER: [number_for(name, number) for name, number in pairs]}

    corrected, with_ctf = renumbered(sample.corrected), renumbered(sample.with_ctf)
    used = [row for row, number in enumerate(sample.optics[_NUMBER]) if number in corrected[_NUMBER]]
    optics: Table = {key: [column[row] for row in used] for key, column in sample.optics.items()}
    return replace(sample, optics=optics, corrected=corrected, with_ctf=with_ctf)


def _kind(optics: Table, row: int) -> tuple[Value, ...]:
    """Return what a group is beside its name and number."""
    return tuple(column[row] for key, column in optics.items() if key not in {_NAME, _NUMBER})


def _middles(sample: SampleTables) -> _Middles:
    members: dict[str, dict[str, list[Shift]]] = defaultdict(lambda: defaultdict(list))
    for fact in sample.facts:
        shift, name = _shift(fact), fact.get("beam_shift_group")
        if shift is not None and name:
            members[area_of(fact["run"])][name].append(shift)
    return {
        area: {
            name: (sum(x for x, _ in shifts) / len(shifts), sum(y for _, y in shifts) / len(shifts))
            for name, shifts in groups.items()
        }
        for area, groups in members.items()
    }


def _nearest(fact: Mapping[str, str], middles: _Middles) -> str | None:
    """Return the group whose middle is nearest, clearly nearer than the second."""
    shift, groups = _shift(fact), middles.get(area_of(fact["run"]), {})
    if shift is None or not groups:
        return None
    ranked = sorted((math.dist(shift, middle), name) for name, middle in groups.items())
    if len(ranked) > 1 and ranked[0][0] * CLEARLY_NEARER > ranked[1][0]:
        return None
    return ranked[0][1]
