"""Gctf's log of one micrograph (K. Zhang 2016, doi 10.1016/j.jsb.2015.11.003)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from cryodaq.errors import FormatError, TruncatedFileError

_FINAL = "Final Values"
_LIMIT = re.compile(r"RES_LIMIT\s+([\d.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GctfLog:
    """The last of Gctf's cycles, in its own order: U may be smaller than V."""

    defocus_u_ang: float
    defocus_v_ang: float
    angle_deg: float
    phase_shift_deg: float
    score: float
    fit_resolution_ang: float | None
    """By equi-phase averaging; None where that was not asked for."""


def parse_gctf_log(text: str, *, path: PurePath) -> GctfLog:
    """Return the final values; `path` is for messages.

    Raises
    ------
    TruncatedFileError
        There are no final values.
    FormatError
        They are not what their heading announces.
    """
    lines = text.split("\n")
    finals = [number for number, line in enumerate(lines) if line.rstrip().endswith(_FINAL)]
    if not finals:
        raise TruncatedFileError(path, problem="it ends before the final values")
    names = next((lines[n].split() for n in range(finals[-1], -1, -1) if "Defocus_U" in lines[n]), [])
    words = lines[finals[-1]].replace(_FINAL, "").split()
    try:
        values = dict(zip(names, (float(word) for word in words), strict=True))
        limit = _LIMIT.findall(text)
        phase = next((value for name, value in values.items() if name.lower().startswith("ph")), 0.0)
        return GctfLog(
            defocus_u_ang=values["Defocus_U"],
            defocus_v_ang=values["Defocus_V"],
            angle_deg=values["Angle"],
            phase_shift_deg=phase,
            score=values["CCC"],
            fit_resolution_ang=float(limit[-1]) if limit else None,
        )
    except (KeyError, ValueError) as error:
        raise FormatError(path, problem=f"its final values do not fit their heading: {error}") from error
