"""The numbers of a movie as the elogbook keeps them with its run: flat names and plain values.

Lengths are in Å, angles in degrees; `aligned_` is measured after motion correction, `unaligned_` before.
"""

from __future__ import annotations

from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.quality import drift_summary_ang, resolution_performance
from cryodaq.domain.results import AlignmentResult, CtfFit, CtfResult, PickResult


def run_params(
    align: AlignmentResult, ctf: CtfResult, *, pick: PickResult | None, preview: str
) -> dict[str, ParameterValue]:
    """Return the params of a movie's run; `preview` is relative to the experiment's folder.

    Where no CTF was found there is `..._ctf_fitted` = False and no numbers that would mean nothing.
    """
    pixel = align.pixel_size_ang
    drift = drift_summary_ang(align.motion.displacement_px_xy, pixel_size_ang=pixel)
    params: dict[str, ParameterValue] = {f"aligned_{name}": round(value, 3) for name, value in drift.items()}
    params |= {
        "aligned_total_motion": round(align.motion.total_ang, 3),
        "aligned_early_motion": round(align.motion.early_ang, 3),
        "aligned_late_motion": round(align.motion.late_ang, 3),
        "aligned_frames": align.frame_count,
        "aligned_pixel_size": round(pixel, 5),
        "aligned_mean_counts": round(align.mean_counts_per_px_frame, 4),
        **_ctf_params("aligned", ctf.aligned, pixel_size_ang=pixel),
        **_ctf_params("unaligned", ctf.unaligned, pixel_size_ang=pixel),
        "preview": preview,
    }
    if align.relative_ice_thickness is not None:
        params["aligned_relative_ice_thickness"] = round(align.relative_ice_thickness, 4)
    if ctf.aligned.ice_ring_ratio is not None:
        params["aligned_ice_ring"] = round(ctf.aligned.ice_ring_ratio, 3)
    if pick is not None:
        params |= {"aligned_particles": pick.count, "aligned_masked_fraction": round(pick.masked_fraction, 4)}
    return params


def _ctf_params(prefix: str, fit: CtfFit | None, *, pixel_size_ang: float) -> dict[str, ParameterValue]:
    if fit is None:
        return {}
    if not fit.fitted:
        return {f"{prefix}_ctf_fitted": False}
    performance = resolution_performance(fit.fit_resolution_ang, pixel_size_ang=pixel_size_ang)
    return {
        f"{prefix}_ctf_fitted": True,
        f"{prefix}_defocus_u": round(fit.defocus_u_ang, 1),
        f"{prefix}_defocus_v": round(fit.defocus_v_ang, 1),
        f"{prefix}_defocus_angle": round(fit.defocus_angle_deg, 2),
        f"{prefix}_astigmatism": round(fit.astigmatism_ang, 1),
        f"{prefix}_phase_shift": round(fit.phase_shift_deg, 2),
        f"{prefix}_ctf_score": round(fit.score, 4),
        f"{prefix}_resolution": round(fit.fit_resolution_ang, 2),
        f"{prefix}_resolution_performance": round(performance, 4),
    }
