"""What is written beside one movie's products for other programs: its motion for RELION, its CTF as CTFFIND says it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.domain.layout import BranchLayout
from cryodaq.domain.parameters import from_mapping
from cryodaq.domain.results import AlignmentResult, CtfResult
from cryodaq.errors import FormatError
from cryodaq.formats.ctffind_txt import CtffindRow, ctffind_text
from cryodaq.formats.movie import MovieHeader, read_header
from cryodaq.ledger.results import MovieToProcess
from cryodaq.publish.growing import write_anew
from cryodaq.publish.relion import MovieMotion, relion_turns_rows, write_motion_star

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

    Returns whether RELION can use it with the micrograph as it lies here: not where it reads the movie's rows in
    another order than the micrograph's (TIFF: the motion is told in RELION's order, for projects in which micrographs
    are turned), nor where the gain reference does not fit the movie (then nothing is written).

    Raises
    ------
    FormatError
        The movie or its gain reference cannot be read.
    """
    source = PurePosixPath(movie.source)
    path = Path(layout.motion(movie.product_name))
    header = read_header(Path(source))
    gain = _gain_for_relion(movie, layout=layout, align=align, header=header) if align.gain_applied else None
    parameters = from_mapping(movie.parameters)
    trunc = header.frame_count - parameters.throw - len(align.motion.displacement_px_xy)
    if (align.gain_applied and gain is None) or not 0 <= trunc < header.frame_count:
        path.unlink(missing_ok=True)
        return False
    binning = align.pixel_size_ang / parameters.pixel_size_ang.value
    gathered = header.stored_per_frame
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
    turned = relion_turns_rows(source)
    write_motion_star(path, motion.rows_turned() if turned else motion, root=PurePosixPath(movie.sample_folder))
    return not turned


def _gain_for_relion(
    movie: MovieToProcess, *, layout: BranchLayout, align: AlignmentResult, header: MovieHeader
) -> str | None:
    """Return a gain reference that RELION applies as we did, written where there is none; None if it cannot.

    RELION multiplies by MRC gain references as they are stored, but divides EER movies by them; movies in TIFF it has
    turned by then.
    """
    if movie.gain is None:
        return None
    source, orientation = PurePosixPath(movie.gain), align.gain_orientation or "as stored"
    movie_path = PurePosixPath(movie.source)
    is_eer, is_turned = movie_path.suffix.lower() == ".eer", relion_turns_rows(movie_path)
    if _is_taken_as_stored(Path(source), orientation, header) and not (is_eer or is_turned):
        return str(source)
    how = (source.name, orientation, f"{header.shape_yx[1]}x{header.shape_yx[0]}", "last row first" * is_turned)
    target = Path(layout.relion_gain(", ".join(filter(None, how))))
    if not target.is_file():
        factors = _applied_gain(Path(source), orientation=orientation, is_eer=is_eer, header=header)
        if factors is None:
            return None
        _write_gain(target, factors[::-1] if is_turned else factors)
    return str(target)


def _is_taken_as_stored(source: Path, orientation: str, header: MovieHeader) -> bool:
    from cryodaq.formats.mrc import read_mrc_header

    if orientation != "as stored" or source.suffix.lower() != ".mrc":
        return False
    return read_mrc_header(source).shape_yx == header.shape_yx


def _applied_gain(
    source: Path, *, orientation: str, is_eer: bool, header: MovieHeader
) -> NDArray[np.float32] | None:  # (y, x)
    """Return the gain as it was applied to stored rows, for EER what is divided by; None where it cannot be told."""
    import numpy as np

    from cryodaq.formats.gain import read_event_gain, read_gain
    from cryodaq.imaging.gain import ORIENTATIONS, gain_as_applied

    if orientation not in ORIENTATIONS:
        raise FormatError(source, problem=f"it was applied {orientation!r}, which is no orientation")
    stored = (read_event_gain if is_eer else read_gain)(source)
    factors = gain_as_applied(stored, orientation=orientation, shape_yx=header.shape_yx)
    if factors is not None and is_eer:
        return np.divide(1.0, factors, out=np.zeros_like(factors), where=factors > 0)
    return factors


def _write_gain(target: Path, factors: NDArray[np.float32]) -> None:
    import numpy as np

    from cryodaq.formats.mrc import write_micrograph

    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    write_micrograph(part, np.ascontiguousarray(factors), pixel_size_ang=1.0)
    part.replace(target)
