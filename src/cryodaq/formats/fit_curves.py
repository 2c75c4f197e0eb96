"""What CTF fits look like along frequency, as JSON that pages and scripts draw."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from cryodaq.domain.results import CtfFit, FitCurve

DIGITS = 5


def write_fit_curves(
    path: Path, *, aligned: tuple[CtfFit, FitCurve | None], unaligned: tuple[CtfFit, FitCurve | None] | None
) -> None:
    """Write the fits of both sums and their curves.

    One object with `aligned` and `unaligned` (null where there was no such sum), each with `fit`, the numbers of
    `CtfFit`, and `curve`, the lists of `FitCurve` (null where the program left none). What is no number is null.
    The file is written under its own name from the first byte on: give a temporary name and rename it.
    """
    content = {"aligned": _spectrum(*aligned), "unaligned": None if unaligned is None else _spectrum(*unaligned)}
    path.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8")


def _spectrum(fit: CtfFit, curve: FitCurve | None) -> dict[str, object]:
    numbers = {name: _finite(value) if isinstance(value, float) else value for name, value in asdict(fit).items()}
    lists = None if curve is None else {name: [_finite(n) for n in values] for name, values in asdict(curve).items()}
    return {"fit": numbers, "curve": lists}


def _finite(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None
