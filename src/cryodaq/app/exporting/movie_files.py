"""What is written beside one movie's products for other programs: its motion for RELION, its CTF as CTFFIND says it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from cryodaq.domain.layout import BranchLayout
from cryodaq.domain.parameters import from_mapping
from cryodaq.domain.results import AlignmentResult, CtfResult
from cryodaq.errors import FormatError
from cryodaq.formats.ctffind_txt import CtffindRow, ctffind_text
from cryodaq.formats.movie import MovieHeader, read_header
from cryodaq.ledger.results import MovieToProcess
from cryodaq.publish.growing import write_anew
from cryodaq.publish.relion import MovieMotion, relion_turns_rows, write_motion_star


def write_ctf_text(movie: MovieToProcess, *, layout: BranchLayout, align: AlignmentResult, ctf: CtfResult) -> None:
    """Write the fit of the aligned micrograph as CTFFIND does; a micrograph without a fit has no such file."""
    path = Path(layout.ctf_text(movie.product_name))
    if not ctf.aligned.fitted:
        path.unlink(missing_ok=True)
        return
    parameters, fit = from_mapping(movie.parameters), ctf.aligned
    row = CtffindRow.from_degrees(
        defocus_1_ang=fit.defocus_u_ang,
        defocus_2_ang=fit.defocus_v_ang,
        azimuth_deg=fit.defocus_angle_deg,
        phase_shift_deg=fit.phase_shift_deg,
        score=fit.score,
        fit_resolution_ang=fit.fit_resolution_ang,
    )
    text = ctffind_text(
        row,
        micrograph=align.micrograph,
        program=ctf.engine,
        pixel_size_ang=align.pixel_size_ang,
        voltage_kv=parameters.voltage_kv.value,
        cs_mm=parameters.cs_mm.value,
        amplitude_contrast=parameters.amplitude_contrast.value,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_anew(path, [text])


def write_motion(movie: MovieToProcess, *, layout: BranchLayout, align: AlignmentResult) -> bool:
    """Write a movie's motion for RELION's polishing, and its gain reference as RELION takes it.

    Returns whether RELION can use it: not where it would read the movie's rows in another order than the
    micrograph's (TIFF), nor where the gain reference has another size than the movie.

    Raises
    ------
    FormatError
        The movie or its gain reference cannot be read.
    """
    source = PurePosixPath(movie.source)
    path = Path(layout.motion(movie.product_name))
    if relion_turns_rows(source):
        path.unlink(missing_ok=True)
        return False
    header = read_header(Path(source))
    gain = _gain_for_relion(movie, layout=layout, align=align, header=header) if align.gain_applied else None
    parameters = from_mapping(movie.parameters)
    trunc = header.frame_count - parameters.throw - len(align.motion.displacement_px_xy)
    if (align.gain_applied and gain is None) or not 0 <= trunc < header.frame_count:
        path.unlink(missing_ok=True)
        return False
    binning = align.pixel_size_ang / parameters.pixel_size_ang.value
    gathered = header.stored_frame_count // header.frame_count
    is_eer = source.suffix.lower() == ".eer"
    motion = MovieMotion(
        movie=movie.source,
        gain=gain,
        shape_yx=header.shape_yx,
        frame_count=header.frame_count,
        throw=parameters.throw,
        trunc=trunc,
        pixel_size_ang=parameters.pixel_size_ang.value,
        dose_per_frame_e_ang2=parameters.dose_per_frame_e_ang2.value * gathered,
        voltage_kv=parameters.voltage_kv.value,
        displacement_px_xy=tuple((x * binning, y * binning) for x, y in align.motion.displacement_px_xy),
        raw_frames_per_frame=gathered if is_eer else None,
        binning=binning,
        local_motion_coefficients=align.local_motion_coefficients,
    )
    write_motion_star(path, motion, root=PurePosixPath(movie.sample_folder))
    return True


def _gain_for_relion(
    movie: MovieToProcess, *, layout: BranchLayout, align: AlignmentResult, header: MovieHeader
) -> str | None:
    """Return a gain reference that RELION applies as we did, written where there is none; None if it cannot.

    RELION multiplies by MRC gain references as they are stored, but divides EER movies by them.
    """
    if movie.gain is None:
        return None
    source, orientation = PurePosixPath(movie.gain), align.gain_orientation or "as stored"
    is_eer = PurePosixPath(movie.source).suffix.lower() == ".eer"
    if orientation == "as stored" and not is_eer and source.suffix.lower() == ".mrc":
        return str(source)
    target = Path(layout.relion_gain(f"{source.name}, {orientation}"))
    if not target.is_file():
        written = _write_gain(Path(source), target, orientation=orientation, is_eer=is_eer, header=header)
        return str(target) if written else None
    return str(target)


def _write_gain(source: Path, target: Path, *, orientation: str, is_eer: bool, header: MovieHeader) -> bool:
    import numpy as np

    from cryodaq.formats.gain import read_event_gain, read_gain
    from cryodaq.formats.mrc import write_micrograph
    from cryodaq.imaging.gain import ORIENTATIONS

    if orientation not in ORIENTATIONS:
        raise FormatError(source, problem=f"it was applied {orientation!r}, which is no orientation")
    factors = (read_event_gain if is_eer else read_gain)(source)
    transposed, reversed_axes = ORIENTATIONS[orientation]
    factors = factors.T if transposed else factors
    factors = factors[:: -1 if reversed_axes & 1 else 1, :: -1 if reversed_axes & 2 else 1]
    if factors.shape != header.shape_yx:
        return False
    if is_eer:
        factors = np.divide(1.0, factors, out=np.zeros_like(factors), where=factors > 0)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    write_micrograph(part, np.ascontiguousarray(factors), pixel_size_ang=1.0)
    part.replace(target)
    return True
