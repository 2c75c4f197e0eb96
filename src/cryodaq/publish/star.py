"""`micrographs_ctf.star`: a branch's micrographs with their CTF, as RELION 3.1 and later read them.

Column meanings: RELION's `relion_ctffind` output; defocus angle is the azimuth of U, and phase shift has a column
of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cryodaq.formats.star import Block, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """What micrographs of one optics group have in common."""

    voltage_kv: float
    cs_mm: float
    amplitude_contrast: float
    original_pixel_size_ang: float
    """Of the movie's stored frames, Å."""
    pixel_size_ang: float
    """Of the micrograph, Å."""
    beam_shift_group: str = ""
    """Name of the exposures that were taken with the same shift of the beam; empty where they are not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Micrograph:
    """One row: a micrograph whose CTF was found. Paths are absolute."""

    micrograph: str
    micrograph_dose_weighted: str
    optics: Optics
    defocus_u_ang: float
    defocus_v_ang: float
    defocus_angle_deg: float
    phase_shift_deg: float
    ctf_score: float
    fit_resolution_ang: float
    motion_total_ang: float
    motion_early_ang: float
    motion_late_ang: float


COLUMNS = (
    "rlnMicrographName",
    "rlnMicrographNameNoDW",
    "rlnOpticsGroup",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnCtfAstigmatism",
    "rlnDefocusAngle",
    "rlnPhaseShift",
    "rlnCtfFigureOfMerit",
    "rlnCtfMaxResolution",
    "rlnAccumMotionTotal",
    "rlnAccumMotionEarly",
    "rlnAccumMotionLate",
)


def micrographs_blocks(micrographs: Sequence[Micrograph], *, root: PurePosixPath) -> dict[str, Block]:
    """Return the blocks `optics` and `micrographs`; paths become relative to `root`, the sample's folder.

    Raises `ValueError` for a micrograph that does not lie below `root`.
    """
    groups = optics_groups([micrograph.optics for micrograph in micrographs])
    rows = [micrograph_row(micrograph, group=groups[micrograph.optics], root=root) for micrograph in micrographs]
    return {"optics": optics_block(groups), "micrographs": as_columns(rows, COLUMNS)}


def as_columns(rows: Sequence[Sequence[Value]], names: Sequence[str]) -> dict[str, list[Value]]:
    """Return the columns of a table that is given by rows."""
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def optics_groups(optics: Sequence[Optics], *, known: Sequence[Optics | None] = ()) -> dict[Optics, int]:
    """Return the number of each group, counted from 1 in the order in which they come.

    Parameters
    ----------
    known
        Groups in the order of the numbers that they have already and keep; None where one is no longer used.
    """
    numbers = {one: number for number, one in enumerate(known, start=1) if one is not None}
    new = [one for one in dict.fromkeys(optics) if one not in numbers]
    return {**numbers, **{one: number for number, one in enumerate(new, start=len(known) + 1)}}


def optics_block(groups: dict[Optics, int]) -> Block:
    """Return RELION's table of optics groups."""
    return {
        "rlnOpticsGroupName": [optics.beam_shift_group or f"opticsGroup{groups[optics]}" for optics in groups],
        "rlnOpticsGroup": list(groups.values()),
        "rlnMicrographOriginalPixelSize": [optics.original_pixel_size_ang for optics in groups],
        "rlnVoltage": [optics.voltage_kv for optics in groups],
        "rlnSphericalAberration": [optics.cs_mm for optics in groups],
        "rlnAmplitudeContrast": [optics.amplitude_contrast for optics in groups],
        "rlnMicrographPixelSize": [optics.pixel_size_ang for optics in groups],
    }


def micrograph_row(micrograph: Micrograph, *, group: int, root: PurePosixPath) -> list[Value]:
    """Return one row, in the order of `COLUMNS`. Raises `ValueError` for a micrograph that is not below `root`."""
    return [
        str(PurePosixPath(micrograph.micrograph_dose_weighted).relative_to(root)),
        str(PurePosixPath(micrograph.micrograph).relative_to(root)),
        group,
        round(micrograph.defocus_u_ang, 2),
        round(micrograph.defocus_v_ang, 2),
        round(micrograph.defocus_u_ang - micrograph.defocus_v_ang, 2),
        round(micrograph.defocus_angle_deg, 3),
        round(micrograph.phase_shift_deg, 3),
        round(micrograph.ctf_score, 5),
        round(micrograph.fit_resolution_ang, 3),
        round(micrograph.motion_total_ang, 3),
        round(micrograph.motion_early_ang, 3),
        round(micrograph.motion_late_ang, 3),
    ]
