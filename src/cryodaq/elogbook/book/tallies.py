"""How many runs and files experiments have, counted anew only now and then where there are many."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from cryodaq.elogbook import tables as t
from cryodaq.elogbook.book.work import Tally, Work

MANY = 5000
"""Runs or files from which on a count is used again for a while: counting them takes time."""
REUSED_S = 30.0


@dataclass(frozen=True, slots=True)
class _Counts:
    runs: int = 0
    files: int = 0
    size_bytes: int = 0


def tallies(work: Work, names: list[str]) -> dict[str, Tally]:
    """Return the counts of experiments, those of large ones at most half a minute old."""
    moment = work.now.timestamp()
    known = {name: work.tallies[name] for name in names if name in work.tallies}
    fresh = {name: found for name, found in known.items() if 0 <= moment - found.counted_at < REUSED_S}
    missing = [name for name in names if name not in fresh]
    if missing:
        counted = _count(work, missing)
        for name, found in counted.items():
            fresh[name] = Tally(runs=found.runs, files=found.files, size_bytes=found.size_bytes, counted_at=moment)
            if max(found.runs, found.files) >= MANY:
                work.tallies[name] = fresh[name]
    return fresh


def _count(work: Work, names: list[str]) -> dict[str, _Counts]:
    counts = dict.fromkeys(names, _Counts())
    r, f = t.run.c, t.run_file.c
    runs = sa.select(r.experiment_name, sa.func.count()).where(r.experiment_name.in_(names))
    for name, number in work.connection.execute(runs.group_by(r.experiment_name)):
        counts[name] = _Counts(number)
    total = sa.func.coalesce(sa.func.sum(f.size_bytes), 0)
    files = sa.select(f.experiment_name, sa.func.count(), total).where(f.experiment_name.in_(names))
    for name, number, size_bytes in work.connection.execute(files.group_by(f.experiment_name)):
        counts[name] = replace(counts[name], files=number, size_bytes=int(size_bytes))
    return counts
