"""A sample's metadata for archives: OSC-EM's JSON, an EMPIAR-ready list of files with checksums, Parquet.

Reads nothing but the sample's folder. Only what was recorded is said: a key without a value is left out.
OSC-EM: https://github.com/osc-em (acquisition and instrument of the single-particle schema); values carry their units.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryodaq.errors import ExportError
from cryodaq.publish import sample_tables
from cryodaq.publish.file_list import HEADING, list_files
from cryodaq.publish.growing import write_anew
from cryodaq.publish.sample_folder import names_none, wanted_micrographs

OSC_EM, FILES, PARQUET = "session.oscem.json", "files.tsv", "micrographs.parquet"
REQUIRED = {
    "acquisition": ("detector", "dose_per_movie", "date_time", "binning_camera", "pixel_size"),
    "instrument": ("microscope", "illumination", "imaging", "electron_source", "acceleration_voltage", "cs"),
}
"""What OSC-EM's schemas require."""
Json = dict[str, object]
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeDeposition:
    """What was written."""

    movies: int
    files_with_checksum: int
    checksums_computed: int
    """Of files that no manifest names, read for it."""
    files_gone: int
    """Movies and gain references that are listed without checksum, because they are not there any more."""
    written: tuple[str, ...]
    osc_em_lacks: tuple[str, ...]
    """What OSC-EM requires and nothing here says; to be filled in by hand."""


def write_deposition(sample_folder: Path, target: Path, *, selection: Path | None = None) -> MadeDeposition:
    """Write what archives ask for into a folder.

    Parameters
    ----------
    selection
        A STAR file of the micrographs that are wanted, as the sample's page gives it; the other movies are left out of
        everything. None: all.

    Raises
    ------
    ExportError
        The sample has no table of everything yet, or none of the wanted micrographs.
    FormatError
        The selection is damaged.
    """
    every = _rows(sample_folder / sample_tables.EVERYTHING)
    rows = every if selection is None else _only(every, selection, sample_folder)
    left_out = {row["movie"] for row in every} - {row["movie"] for row in rows}
    listed = list(list_files(sample_folder, rows, without=left_out))
    target.mkdir(parents=True, exist_ok=True)
    described = osc_em(rows, microscope=sample_folder.resolve().parent.name.rpartition("_")[2])
    text = json.dumps(described, indent=2, ensure_ascii=False)
    write_anew(target / OSC_EM, [text, "\n"])
    write_anew(target / FILES, [HEADING, *(one.line for one in listed)])
    _write_parquet(target / PARQUET, rows)
    return MadeDeposition(
        movies=len(rows),
        files_with_checksum=sum(one.checksum is not None for one in listed),
        checksums_computed=sum(one.computed for one in listed),
        files_gone=sum(one.checksum is None for one in listed),
        written=(OSC_EM, FILES, PARQUET),
        osc_em_lacks=tuple(
            f"{part}.{key}" for part, keys in REQUIRED.items() for key in keys if key not in described[part]
        ),
    )


def osc_em(rows: Sequence[Row], *, microscope: str) -> dict[str, Json]:
    """Return a session as OSC-EM says it, from the rows of the table of everything.

    Names and types: OSC-EM's schemas of acquisition and instrument. What nothing says is left out.
    """
    groups = set(_texts(rows, "beam_shift_group"))
    acquisition: Json = {
        "images_generated": len(rows),
        "date_time": min(_texts(rows, "acquired_at"), default=None),
        "detector": _most(rows, "camera"),
        "detector_mode": _most(rows, "detector_mode"),
        "microscope_software": _most(rows, "software"),
        "nominal_magnification": _whole(_typical(rows, "magnification")),
        "binning_camera": _typical(rows, "binning"),
        "pixel_size": _quantity(_typical(rows, "pixel_size_ang"), "Å"),
        "exposure_time": _quantity(_typical(rows, "exposure_time_s"), "s"),
        "frames_per_movie": _whole(_typical(rows, "frame_count")),
        "dose_per_movie": _quantity(_typical(rows, "dose_e_ang2"), "1/Å^2"),
        "nominal_defocus": _range(rows, "applied_defocus_ang", unit="nm", scale=-0.1, names=("minimal", "maximal")),
        "calibrated_defocus": _defocus(rows),
        "beamshift": _beam_of_epu(rows, "beam_shift"),
        "beamtilt": _beam_of_epu(rows, "beam_tilt"),
        "energy_filter": _energy_filter(rows),
        "specialist_optics": _phase_plate(rows),
        "beamtiltgroups": len(groups) or None,
        "gainref_flip_rotate": _most(rows, "gain_orientation"),
    }
    instrument: Json = {
        "microscope": _most(rows, "instrument") or microscope or None,
        "illumination": _most(rows, "illumination_mode"),
        "imaging": _most(rows, "imaging_mode"),
        "electron_source": _most(rows, "electron_source"),
        "c2_aperture": _quantity(_typical(rows, "c2_aperture_um"), "um"),
        "acceleration_voltage": _quantity(_typical(rows, "voltage_kv"), "kV"),
        "cs": _quantity(_typical(rows, "cs_mm"), "mm"),
    }
    return {"acquisition": _said(acquisition), "instrument": _said(instrument)}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        message = f"{path.parent} has no {path.name}: no movie of it was published yet, or it is no sample's folder"
        raise ExportError(message)
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def _only(rows: Iterable[dict[str, str]], selection: Path, folder: Path) -> list[dict[str, str]]:
    wanted = wanted_micrographs(selection)
    found = [row for row in rows if row["micrograph_dose_weighted"] in wanted]
    if not found:
        raise names_none(selection, folder)
    return found


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Write the table of everything with typed columns: numbers where all that is said are numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(rows[0]) if rows else []
    columns = {name: _typed([row[name] for row in rows]) for name in names}
    part = path.with_name(f".{path.name}.part")
    pq.write_table(pa.table(columns), part)
    part.replace(path)


def _typed(cells: Sequence[str]) -> list[float | bool | str | None]:
    said = {cell for cell in cells if cell}
    if said and said <= {"True", "False"}:
        return [cell == "True" if cell else None for cell in cells]
    try:
        return [float(cell) if cell else None for cell in cells]
    except ValueError:
        return [cell or None for cell in cells]


def _numbers(rows: Iterable[Row], name: str) -> list[float]:
    found = []
    for text in _texts(rows, name):
        try:
            found.append(float(text))
        except ValueError:
            continue  # what is no number says nothing here
    return found


def _texts(rows: Iterable[Row], name: str) -> list[str]:
    return [text for row in rows if (text := row.get(name))]


def _most(rows: Iterable[Row], name: str) -> str | None:
    found = Counter(_texts(rows, name)).most_common(1)
    return found[0][0] if found else None


def _typical(rows: Iterable[Row], name: str) -> float | None:
    found = Counter(_numbers(rows, name)).most_common(1)
    return found[0][0] if found else None


def _beam_of_epu(rows: Sequence[Row], name: str) -> Json | None:
    """Return the range of the beam's shift or tilt; OSC-EM has EPU's numbers as mrad, others' have another unit."""
    if "EPU" not in (_most(rows, "software") or ""):
        return None
    return _merged(
        _range(rows, f"{name}_x", unit="mrad", scale=1, names=("x_min", "x_max")),
        _range(rows, f"{name}_y", unit="mrad", scale=1, names=("y_min", "y_max")),
    )


def _energy_filter(rows: Sequence[Row]) -> Json | None:
    used = _most(rows, "energy_filter")
    if used is None:
        return None
    return _said({"used": used == "True", "width_energy_filter": _quantity(_typical(rows, "energy_slit_ev"), "eV")})


def _phase_plate(rows: Sequence[Row]) -> Json | None:
    used = _most(rows, "phase_plate")
    return None if used is None else {"phaseplate": {"used": used == "True"}}


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _defocus(rows: Sequence[Row]) -> Json | None:
    """Return the range of the defoci that were measured, nm, underfocus negative as OSC-EM has it."""
    fitted = [row for row in rows if row.get("ctf_fitted") == "True"]
    means = [
        (u + v) / 2
        for u, v in zip(_numbers(fitted, "ctf_defocus_u_ang"), _numbers(fitted, "ctf_defocus_v_ang"), strict=True)
    ]
    if not means:
        return None
    return {"minimal": _quantity(-max(means) / 10, "nm"), "maximal": _quantity(-min(means) / 10, "nm")}


def _range(rows: Iterable[Row], name: str, *, unit: str, scale: float, names: tuple[str, str]) -> Json | None:
    scaled = [number * scale for number in _numbers(rows, name)]
    if not scaled:
        return None
    low, high = min(scaled), max(scaled)
    return {names[0]: _quantity(low, unit), names[1]: _quantity(high, unit)}


def _quantity(value: float | None, unit: str) -> object:
    if value is None:
        return None
    return {"value": round(value, 6), "unit": unit}


def _merged(*parts: Json | None) -> Json | None:
    return {key: value for part in parts if part for key, value in part.items()} or None


def _said(record: Json) -> Json:
    return {key: value for key, value in record.items() if value is not None}
