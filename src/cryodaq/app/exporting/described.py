"""A movie of the ledger as the exports describe it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from cryodaq.domain.layout import BranchLayout
from cryodaq.domain.names import product_name
from cryodaq.ledger.exports import ExportSource
from cryodaq.publish.relion import AlignedMicrograph
from cryodaq.publish.sample_tables import ExportedMovie, Fact
from cryodaq.publish.star import Micrograph, Optics

Json = Mapping[str, Any]  # Any: JSON of the stages' records

_METADATA = (
    *("acquired_at", "grid_square", "foil_hole", "applied_defocus_ang", "stage_x_um", "stage_y_um", "stage_z_um"),
    *("tilt_deg", "exposure_time_s", "magnification", "camera", "detector_mode", "binning", "software"),
    *("energy_filter", "energy_slit_ev", "phase_plate", "c2_aperture_um", "illumination_mode", "imaging_mode"),
    *("electron_source", "instrument"),
)
_FIT = (
    *("fitted", "defocus_u_ang", "defocus_v_ang", "defocus_angle_deg", "phase_shift_deg", "score"),
    *("fit_resolution_ang", "ice_ring_ratio"),
)
_ALIGN = (
    *("frame_count", "mean_counts_per_px_frame", "relative_ice_thickness", "hot_pixels"),
    *("gain_applied", "gain_orientation"),
)
_PICK = ("count", "masked_fraction", "picks_per_um2", "diameter_ang")
_PARAMETERS = ("voltage_kv", "cs_mm", "amplitude_contrast", "dose_per_frame_e_ang2")


def described(source: ExportSource, *, layout: BranchLayout, sample_folder: PurePosixPath) -> ExportedMovie:
    """Return what the tables say of a movie."""
    name = product_name(source.run_name, source.version)
    aligned = AlignedMicrograph(
        micrograph=str(source.align["micrograph"]),
        micrograph_dose_weighted=str(source.align["micrograph_dose_weighted"]),
        optics=optics_of(source),
        motion_star=str(layout.motion(name)) if source.has_motion else None,
        motion_total_ang=float(source.align["motion"]["total_ang"]),
        motion_early_ang=float(source.align["motion"]["early_ang"]),
        motion_late_ang=float(source.align["motion"]["late_ang"]),
    )
    return ExportedMovie(
        aligned=aligned,
        ctf=_with_ctf(aligned, source.ctf["aligned"]),
        coordinates=source.pick.get("coordinates"),
        facts=_facts(source, aligned, name=name, sample_folder=sample_folder),
    )


def _with_ctf(aligned: AlignedMicrograph, fit: Json) -> Micrograph | None:
    if not fit["fitted"]:
        return None
    return Micrograph(
        micrograph=aligned.micrograph,
        micrograph_dose_weighted=aligned.micrograph_dose_weighted,
        optics=aligned.optics,
        defocus_u_ang=fit["defocus_u_ang"],
        defocus_v_ang=fit["defocus_v_ang"],
        defocus_angle_deg=fit["defocus_angle_deg"],
        phase_shift_deg=fit["phase_shift_deg"],
        ctf_score=fit["score"],
        fit_resolution_ang=fit["fit_resolution_ang"],
        motion_total_ang=aligned.motion_total_ang,
        motion_early_ang=aligned.motion_early_ang,
        motion_late_ang=aligned.motion_late_ang,
    )


def optics_of(source: ExportSource) -> Optics:
    """Return the optics group of a movie."""
    return Optics(
        voltage_kv=_value(source, "voltage_kv"),
        cs_mm=_value(source, "cs_mm"),
        amplitude_contrast=_value(source, "amplitude_contrast"),
        original_pixel_size_ang=_value(source, "pixel_size_ang"),
        pixel_size_ang=float(source.align["pixel_size_ang"]),
        beam_shift_group=source.beam_shift_group or "",
    )


def _value(source: ExportSource, name: str) -> float:
    return float(source.parameters[name]["value"])


def _facts(
    source: ExportSource, aligned: AlignedMicrograph, *, name: str, sample_folder: PurePosixPath
) -> dict[str, Fact]:
    def below(path: str | None) -> str | None:
        if path is None:
            return None
        given = PurePosixPath(path)
        return str(given.relative_to(sample_folder)) if given.is_relative_to(sample_folder) else path

    align, pick = source.align, source.pick
    said = source.metadata or {}
    shift, tilt = (said.get(key) or (None, None) for key in ("beam_shift_xy", "beam_tilt_xy"))
    return {
        "run": name,
        "movie": below(source.source),
        "micrograph": below(aligned.micrograph),
        "micrograph_dose_weighted": below(aligned.micrograph_dose_weighted),
        "coordinates": below(pick.get("coordinates")),
        "gain": below(source.gain),
        "registered_at": source.registered_at.isoformat(),
        **_some(said, _METADATA),
        "beam_shift_x": shift[0],
        "beam_shift_y": shift[1],
        "beam_tilt_x": tilt[0],
        "beam_tilt_y": tilt[1],
        "beam_shift_group": source.beam_shift_group or None,
        "pixel_size_ang": float(align["pixel_size_ang"]),
        "movie_pixel_size_ang": _value(source, "pixel_size_ang"),
        **{key: _value(source, key) for key in _PARAMETERS},
        "dose_e_ang2": _dose(source),
        **_some(align, _ALIGN),
        "motion_total_ang": aligned.motion_total_ang,
        "motion_early_ang": aligned.motion_early_ang,
        "motion_late_ang": aligned.motion_late_ang,
        "align_engine": align.get("engine"),
        **_some(source.ctf["aligned"], _FIT, prefix="ctf_"),
        **_some(source.ctf.get("unaligned") or {}, _FIT, prefix="ctf_unaligned_"),
        "ctf_engine": source.ctf.get("engine"),
        **_some(pick, _PICK, prefix="picks_"),
        "picks_engine": pick.get("engine"),
    }


def _dose(source: ExportSource) -> Fact:
    """Return the dose of the whole exposure, e⁻/Å²; None where nobody says how many frames it had.

    Alignment gathers the frames of EER movies, so its number of frames is not theirs.
    """
    said, is_eer = source.parameters.get("frame_count"), PurePosixPath(source.source).suffix.lower() == ".eer"
    frames = float(said["value"]) if said is not None else (None if is_eer else float(source.align["frame_count"]))
    if frames is None:
        return (source.metadata or {}).get("total_dose_e_ang2")
    return round(_value(source, "dose_per_frame_e_ang2") * frames, 4)


def _some(record: Json, names: tuple[str, ...], *, prefix: str = "") -> dict[str, Fact]:
    return {f"{prefix}{name.removeprefix(prefix)}": record.get(name) for name in names}
