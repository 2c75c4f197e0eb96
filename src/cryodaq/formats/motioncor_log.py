"""What MotionCor2 and MotionCor3 print about one movie.

Three dialects of the same table: `...... Frame (  1) shift:  x  y`, relative to the middle frame (MotionCor2 to
1.5) or the first one (MotionCor3), and a table below `Frame   x Shift   y Shift` (MotionCor2 1.6).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from cryodaq.errors import FormatError, TruncatedFileError

_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_LISTED = re.compile(rf"\.{{3,}} Frame \(\s*(\d{{1,9}})\) shift:\s+({_NUMBER})\s+({_NUMBER})\s*")
_TABLED = re.compile(rf"\s*(\d{{1,9}})\s+({_NUMBER})\s+({_NUMBER})\s*")
_TABLE_HEAD = re.compile(r"\s*Frame\s+x Shift\s+y Shift\s*")
_BEGIN = "Full-frame alignment"
_SIZE = re.compile(
    r"^(?:TIFF file size|MRC file size|EER stack|Rendered size|Rendered stack)(?: mode)?:"
    r"\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\b",
    re.M,
)
_DECLARED = re.compile(r"^-(\w+)[ \t]*(.*)$", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionCorLog:
    """One movie's alignment as the program reported it."""

    shifts_px_xy: tuple[tuple[float, float], ...]
    """For each frame used, the shift that moves it back: minus the displacement, up to a constant."""
    stack_xyz: tuple[int, int, int] | None
    """Columns, rows and frames of the stack that was aligned; None where the log does not say."""
    options: dict[str, str]
    """The options as the program understood them, without their dash."""
    finished: bool
    """The program reached its last line."""


def parse_motioncor_log(text: str, *, path: PurePath) -> MotionCorLog:
    """Return what a log says about one movie; `path` is for messages.

    Raises
    ------
    TruncatedFileError
        The log ends before the shifts of all frames.
    FormatError
        The frames of its table are not counted from 1 in steps of 1.
    """
    lines = text.split("\n")
    begins = [number for number, line in enumerate(lines) if line.startswith(_BEGIN) and "started" not in line]
    if not begins:
        raise TruncatedFileError(path, problem="it has no full-frame alignment")
    rows = _rows(lines[begins[-1] + 1 :])
    if not rows:
        raise TruncatedFileError(path, problem="it ends before the shifts of the frames")
    if [frame for frame, _, _ in rows] != list(range(1, len(rows) + 1)):
        raise FormatError(path, problem="its frames are not counted from 1 in steps of 1")
    sizes = _SIZE.findall(text)
    stack = (int(sizes[-1][0]), int(sizes[-1][1]), int(sizes[-1][2])) if sizes else None
    return MotionCorLog(
        shifts_px_xy=tuple((x, y) for _, x, y in rows),
        stack_xyz=stack,
        options={name: value.strip() for name, value in _DECLARED.findall(text)},
        finished="Total time:" in text,
    )


def _rows(lines: list[str]) -> list[tuple[int, float, float]]:
    pattern = _LISTED
    rows: list[tuple[int, float, float]] = []
    for line in lines:
        if not rows and _TABLE_HEAD.fullmatch(line):
            pattern = _TABLED
            continue
        found = pattern.fullmatch(line)
        if found is not None:
            rows.append((int(found[1]), float(found[2]), float(found[3])))
        elif rows or line.strip():
            break
    return rows
