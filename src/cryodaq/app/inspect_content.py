"""What the content of one file says, whichever of our readers knows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryodaq.domain.file_roles import IMAGE_SUFFIXES
from cryodaq.errors import FormatError

if TYPE_CHECKING:
    from cryodaq.formats.ctffind_txt import CtffindRow, CtffindSettings

Facts = dict[str, object]
NAMED = 10
"""So many entries are listed of a file that has many."""
MAX_LOG_BYTES = 20_000_000
MAX_HEAD = 2_000
SESSION_RECORD = "EpuSession.dm"
UNKNOWN = "unknown"
CTFFIND_RESULT = "CTFFIND's result"
_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG picture",
    b"\x89PNG\r\n": "PNG picture",
    b"\x1f\x8b": "compressed by gzip; unpack it to see what it holds",
    b"PK\x03\x04": "ZIP archive; unpack it to see what it holds",
    b"\x89HDF\r\n": "HDF5",
    b"%PDF": "PDF",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curves:
    """Radial averages of spectra."""

    micrographs: int
    points: int
    up_to_ang: float | None


@dataclass(slots=True)
class Answer:
    """What was found; readers fill it as far as they come."""

    format: str = UNKNOWN
    facts: Facts = field(default_factory=dict)
    metadata: tuple[Facts, ...] = ()
    """What it says of exposures, one entry an exposure; only what is said."""
    problems: list[str] = field(default_factory=list)


def read_content(path: Path) -> Answer:
    """Return what a file says, as far as it can be read; the rest is a problem. Raises `OSError`."""
    answer = Answer()
    try:
        _READERS.get(path.suffix.lower(), _read_text)(path, answer)
    except FormatError as error:
        answer.problems.append(error.problem)
    if answer.format == UNKNOWN:
        answer.format = _by_beginning(path)
    return answer


def _read_image(path: Path, answer: Answer) -> None:
    from cryodaq.formats.metadata import read_metadata
    from cryodaq.formats.movie import read_header

    with path.open("rb") as handle:
        magic = handle.read(4)
    is_tiff = magic[:2] in {b"II", b"MM"}
    if is_tiff:
        answer.format = "EER" if path.suffix.lower() == ".eer" else "TIFF"
    header = read_header(path)
    if not is_tiff:  # it begins with numbers only: what can be read is one
        answer.format = "MRC"
    answer.facts |= {
        "frames": header.frame_count,
        "stored_frames": header.stored_frame_count,
        "shape_yx": list(header.shape_yx),
        "pixel_type": str(header.dtype),
        # Programs that do not know it write 1 Å.
        "pixel_size_ang": None if header.pixel_size_ang == 1.0 else header.pixel_size_ang,
    }
    if path.suffix.lower() == ".gain" or header.frame_count == header.stored_frame_count == 1:
        answer.facts["single_image"] = True
    if path.suffix.lower() in IMAGE_SUFFIXES:
        answer.metadata = tuple(_said(asdict(one)) for one in read_metadata(path))


def _read_dm(path: Path, answer: Answer) -> None:
    from cryodaq.formats.dm import read_largest_image
    from cryodaq.formats.metadata import read_metadata

    answer.format = "Gatan DigitalMicrograph"
    image = read_largest_image(path)
    answer.facts |= {
        "shape_yx": list(image.shape[-2:]),
        "pixel_type": str(image.dtype),
        "mean": float(image.mean()),
        "zeros": int((image == 0).sum()),
    }
    answer.metadata = tuple(_said(asdict(one)) for one in read_metadata(path))


def _read_exposure(path: Path, answer: Answer) -> None:
    from cryodaq.formats.metadata import read_metadata

    answer.format = "EPU's XML of an exposure" if path.suffix.lower() == ".xml" else "SerialEM's mdoc"
    said = read_metadata(path)
    answer.facts["exposures"] = len(said)
    answer.metadata = tuple(_said(asdict(one)) for one in islice(said, NAMED))


def _read_session(path: Path, answer: Answer) -> None:
    from cryodaq.formats.epu_session import read_epu_session
    from cryodaq.formats.epu_xml import MAX_XML_BYTES

    if path.name != SESSION_RECORD:
        answer.format = "EPU's own record"
        return
    answer.format = "EPU's session"
    with path.open("rb") as handle:
        data = handle.read(MAX_XML_BYTES + 1)  # one too many is refused
    answer.facts |= _said(asdict(read_epu_session(data, path=path)))


def _read_star(path: Path, answer: Answer) -> None:
    from cryodaq.formats.star import read_star

    answer.format = "STAR"
    answer.facts["blocks"] = {
        name or "(unnamed)": {
            "rows": max((len(column) for column in block.values() if isinstance(column, list)), default=1),
            "columns": list(block),
        }
        for name, block in read_star(path).items()
    }


def _read_text(path: Path, answer: Answer) -> None:
    """Try the readers of programs' results and logs on a text; what none of them takes stays unknown."""
    from cryodaq.formats.ctffind_txt import parse_ctffind
    from cryodaq.formats.gctf_log import parse_gctf_log
    from cryodaq.formats.motioncor_log import parse_motioncor_log
    from cryodaq.formats.relion_log import parse_relion_motion_log

    if path.suffix.lower() not in {".txt", ".log", ".out", ".nav"} or path.stat().st_size > MAX_LOG_BYTES:
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if _read_marked(text, path, answer):
        return
    parsers: tuple[tuple[str, Callable[..., Any]], ...] = (  # Any: a dataclass, or one with its rows
        (CTFFIND_RESULT, parse_ctffind),
        ("CTFFIND's curves", _curves),
        ("MotionCor's log", parse_motioncor_log),
        ("RELION's motion correction log", parse_relion_motion_log),
        ("Gctf's log", parse_gctf_log),
    )
    for name, parse in parsers:
        try:
            found = parse(text, path=path)
        except FormatError:
            continue  # it is not of this program
        answer.format = name
        settings, rows = found if isinstance(found, tuple) else (found, ())
        answer.facts |= _said(asdict(settings))
        answer.metadata = tuple(_said(asdict(row)) for row in islice(rows, NAMED))
        if name == CTFFIND_RESULT:
            for searched in ("resolution_ang", "defocus_ang"):  # not what was found
                answer.facts[f"searched_{searched}"] = answer.facts.pop(searched)
            answer.problems += _doubts(settings, rows)
        return


def _read_marked(text: str, path: Path, answer: Answer) -> bool:
    """Read a text that says itself what it is; return whether it does."""
    if path.suffix.lower() == ".nav":
        answer.format = "SerialEM's navigator"
        answer.facts["items"] = text.count("[Item") or text.count("<Item")
    elif "CameraSizeX" in text[:MAX_HEAD]:
        from cryodaq.formats.defects import read_defects

        answer.format = "SerialEM's list of defects"
        mask = read_defects(path)
        answer.facts |= {"shape_yx": list(mask.shape), "defective_pixels": int(mask.sum())}
    elif "Welcome to Ctffind" in text[:MAX_HEAD]:
        from cryodaq.formats.ctffind_txt import aliasing_from_ang

        answer.format = "CTFFIND's log"
        aliased = aliasing_from_ang(text)
        answer.facts["aliased_from_ang"] = aliased
        if aliased is not None:
            answer.problems.append(f"the rings are aliased from {aliased:g} Å on: its fit may be any; use a larger box")
    return answer.format != UNKNOWN


def _doubts(settings: CtffindSettings, rows: Iterable[CtffindRow]) -> list[str]:
    """Return why fits of CTFFIND would not be believed, by the rule for all programs."""
    from cryodaq.domain.quality import ctf_doubts
    from cryodaq.domain.results import CtfFit

    said = []
    for number, row in enumerate(islice(rows, NAMED), start=1):
        fit = CtfFit(
            fitted=True,
            defocus_u_ang=row.defocus_1_ang,
            defocus_v_ang=row.defocus_2_ang,
            defocus_angle_deg=row.azimuth_deg,
            phase_shift_deg=math.degrees(row.phase_shift_rad),
            score=row.score,
            fit_resolution_ang=row.fit_resolution_ang,
        )
        doubts = ctf_doubts(fit, searched_ang=settings.defocus_ang)
        said += [f"the fit of micrograph {number} is not believed: {doubt}" for doubt in doubts]
    return said


def _curves(text: str, *, path: Path) -> tuple[_Curves, tuple[_Curves, ...]]:
    from cryodaq.formats.ctffind_txt import parse_ctffind_curves

    found = parse_ctffind_curves(text, path=path)
    frequencies = found[0].frequency_per_ang
    head = _Curves(
        micrographs=len(found), points=len(frequencies), up_to_ang=1 / frequencies[-1] if frequencies[-1] else None
    )
    return head, ()


def _by_beginning(path: Path) -> str:
    """Return what the first bytes tell of a file that no reader here knows."""
    with path.open("rb") as handle:
        begins = handle.read(4096)
    known = next((name for magic, name in _BEGINNINGS.items() if begins.startswith(magic)), None)
    if known is not None or not begins:
        return known or UNKNOWN
    is_text = not any(byte < 8 or (13 < byte < 32 and byte != 27) for byte in begins)  # programs colour their logs
    return "text that no reader here knows" if is_text else UNKNOWN


def _said(record: dict[str, object]) -> Facts:
    """Leave out what is not said."""
    return {name: value for name, value in record.items() if value is not None and value != {}}


_READERS: dict[str, Callable[[Path, Answer], None]] = {
    **dict.fromkeys((".tif", ".tiff", ".mrc", ".mrcs", ".eer", ".gain", ".st"), _read_image),
    **dict.fromkeys((".dm3", ".dm4"), _read_dm),
    **dict.fromkeys((".xml", ".mdoc"), _read_exposure),
    ".dm": _read_session,
    ".star": _read_star,
}
