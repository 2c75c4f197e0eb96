"""The numbers by which micrographs are judged, one row a movie and branch: what lists, plots and limits read.

They are copied out of the stages' results in the transaction that records those, so that a sample of tens of
thousands of movies can be sorted, counted and drawn without opening each result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.tables import measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One number of a micrograph."""

    key: str
    """Its column."""
    title: str
    unit: str
    """As shown; `scale` converts the column's value into it."""
    digits: int
    scale: float = 1.0


QUANTITIES = {
    one.key: one
    for one in (
        Quantity(key="fit_resolution_ang", title="Fit resolution", unit="Å", digits=1),
        Quantity(key="defocus_ang", title="Defocus", unit="µm", digits=2, scale=1e-4),
        Quantity(key="astigmatism_ang", title="Astigmatism", unit="Å", digits=0),
        Quantity(key="motion_total_ang", title="Drift", unit="Å", digits=1),
        Quantity(key="ice_ring_ratio", title="Ice ring", unit="", digits=2),
        Quantity(key="relative_ice_thickness", title="Ice thickness", unit="mean free paths", digits=3),
        Quantity(key="mean_counts", title="Mean counts", unit="counts/px/frame", digits=3),
        Quantity(key="particle_count", title="Particles", unit="", digits=0),
    )
}
"""In the order in which people look at them."""


def note_measurement(
    connection: Connection, movie_id: int, branch_id: int, *, stage: str, result: Mapping[str, object]
) -> None:
    """Copy what a stage measured; stages that measure nothing are left alone."""
    values = _READERS[stage](result) if stage in _READERS else {}
    if values:
        connection.execute(
            insert(measurement)
            .values(movie_id=movie_id, branch_id=branch_id, **values)
            .on_conflict_do_update(index_elements=[measurement.c.branch_id, measurement.c.movie_id], set_=values)
        )


def _align(result: Mapping[str, object]) -> dict[str, object]:
    motion = _mapping(result.get("motion"))
    return {
        "motion_total_ang": motion.get("total_ang"),
        "mean_counts": result.get("mean_counts_per_px_frame"),
        "relative_ice_thickness": result.get("relative_ice_thickness"),
    }


def _ctf(result: Mapping[str, object]) -> dict[str, object]:
    fit = _mapping(result.get("aligned"))
    fitted = fit.get("fitted") is True
    good = fit if fitted else {}
    u, v = good.get("defocus_u_ang"), good.get("defocus_v_ang")
    both = isinstance(u, int | float) and isinstance(v, int | float)
    return {
        "fitted": fitted,
        "defocus_ang": (u + v) / 2 if both else None,  # type: ignore[operator]  # `both` says that they are numbers
        "astigmatism_ang": u - v if both else None,  # type: ignore[operator]  # `both` says that they are numbers
        "fit_resolution_ang": good.get("fit_resolution_ang"),
        "ice_ring_ratio": fit.get("ice_ring_ratio"),
    }


def _pick(result: Mapping[str, object]) -> dict[str, object]:
    return {"particle_count": result.get("count")}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


_READERS = {"align": _align, "ctf": _ctf, "pick": _pick}
