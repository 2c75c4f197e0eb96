"""What is this file, or this session: its format, what it says, whether it is whole, and what is wrong with it.

Reads only below the path that was given, and writes nothing. A file that cannot be read is an answer, not an error.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from cryodaq.domain.file_roles import IMAGE_SUFFIXES, FileRole, classify
from cryodaq.errors import FormatError

Facts = dict[str, object]
LOOKED_INTO = 3
"""Movies of a session whose headers are read: the first, one in the middle, the last."""
NAMED = 10
"""So many names are listed of whatever is many."""
MAX_LOG_BYTES = 20_000_000
MAX_HEAD = 2_000
SESSION_RECORD = "EpuSession.dm"
UNKNOWN = "unknown"
_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG picture",
    b"\x89PNG\r\n": "PNG picture",
    b"\x1f\x8b": "compressed by gzip; unpack it to see what it holds",
    b"PK\x03\x04": "ZIP archive; unpack it to see what it holds",
    b"\x89HDF\r\n": "HDF5",
    b"%PDF": "PDF",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedFile:
    """One file."""

    path: str
    size_bytes: int
    role: str
    """What its name says that it is."""
    format: str
    """What its content is; unknown where no reader knows it."""
    closed: bool | None
    """Whether it is finished, as far as its format can tell."""
    facts: Facts
    metadata: tuple[Facts, ...]
    """What it says of exposures, one entry an exposure; only what is said."""
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedSession:
    """A folder with the files of one session or more."""

    path: str
    files: int
    size_bytes: int
    roles: dict[str, int]
    software: dict[str, int]
    sessions: tuple[str, ...]
    """Folders of sessions, relative to the path."""
    exposures: int
    movies: int
    without_movie: tuple[str, ...]
    """Exposures that metadata speaks of and that have no movie; the first few."""
    without_metadata: tuple[str, ...]
    gain_references: tuple[str, ...]
    recorded: tuple[Facts, ...]
    """What `EpuSession.dm` says of each session of EPU."""
    looked_into: tuple[InspectedFile, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curves:
    """Radial averages of spectra."""

    micrographs: int
    points: int
    up_to_ang: float | None


@dataclass(slots=True)
class _Answer:
    format: str = UNKNOWN
    facts: Facts = field(default_factory=dict)
    metadata: tuple[Facts, ...] = ()


def inspect_file(path: Path, *, named: PurePosixPath | None = None) -> InspectedFile:
    """Say what a file is.

    Parameters
    ----------
    named
        Its path below the session, which tells what it is for; default: its own name.

    Raises
    ------
    OSError
        It cannot be read at all.
    """
    from cryodaq.formats import closure

    kind = classify(named or PurePosixPath(path.name), size_bytes=path.stat().st_size)
    shut = closure.inspect(path)
    problems = [] if shut.problem is None or shut.closed is None else [shut.problem]
    answer = _Answer()
    try:
        _READERS.get(path.suffix.lower(), _read_text)(path, answer)
    except FormatError as error:
        if error.problem not in problems:
            problems.append(error.problem)
    if answer.format == UNKNOWN:
        answer.format = _by_beginning(path)
    if kind.unrecognised_image:
        problems.append("no program is known to give such a name to a large image: it would not be taken for a movie")
    if shut.frame_count is not None:
        answer.facts.setdefault("frames_in_file", shut.frame_count)
    return InspectedFile(
        path=str(path),
        size_bytes=shut.size_bytes,
        role=kind.role.value,
        format=answer.format,
        closed=shut.closed,
        facts=answer.facts,
        metadata=answer.metadata,
        problems=tuple(problems),
    )


def inspect_session(folder: Path) -> InspectedSession:
    """Say what a folder holds. Raises `OSError` when it cannot be read."""
    roles: Counter[str] = Counter()
    software: Counter[str] = Counter()
    sessions: Counter[str] = Counter()
    exposures: dict[str, set[FileRole]] = {}
    movies: list[str] = []
    gains: list[str] = []
    unknown: list[str] = []
    recorded: list[Facts] = []
    size_bytes = 0
    for relative, size in _files_below(folder):
        kind = classify(relative, size_bytes=size)
        roles[kind.role.value] += 1
        size_bytes += size
        if kind.role is FileRole.IGNORED:
            continue
        if kind.software is not None and kind.role is not FileRole.LIVING:
            software[kind.software.value] += 1
        if kind.exposure is not None:
            exposures.setdefault(kind.exposure, set()).add(kind.role)
            sessions[str(kind.acquisition_folder)] += 1
        {FileRole.MOVIE: movies, FileRole.GAIN: gains}.get(kind.role, []).append(str(relative))
        if kind.unrecognised_image:
            unknown.append(str(relative))
        if relative.name == SESSION_RECORD and len(recorded) < NAMED:
            recorded.append(inspect_file(folder / relative, named=relative).facts)
    lost = [key for key, found in exposures.items() if FileRole.MOVIE not in found and FileRole.METADATA in found]
    bare = [key for key, found in exposures.items() if FileRole.MOVIE in found and FileRole.METADATA not in found]
    looked = tuple(inspect_file(folder / name, named=PurePosixPath(name)) for name in _some(sorted(movies)))
    return InspectedSession(
        path=str(folder),
        files=sum(roles.values()),
        size_bytes=size_bytes,
        roles=dict(roles.most_common()),
        software=dict(software.most_common()),
        sessions=tuple(sorted(sessions)),
        exposures=len(exposures),
        movies=len(movies),
        without_movie=tuple(sorted(lost)[:NAMED]),
        without_metadata=tuple(sorted(bare)[:NAMED]),
        gain_references=tuple(sorted(gains)[:NAMED]),
        recorded=tuple(recorded),
        looked_into=looked,
        problems=tuple(_problems_of(lost, bare, unknown, movies=len(movies), looked=looked, recorded=recorded)),
    )


def _problems_of(
    lost: list[str],
    bare: list[str],
    unknown: list[str],
    *,
    movies: int,
    looked: tuple[InspectedFile, ...],
    recorded: list[Facts],
) -> Iterator[str]:
    if not movies:
        roots = ", ".join(str(one["movie_folder"]) for one in recorded if one.get("movie_folder"))
        told = f": {SESSION_RECORD} names {roots} on the microscope's computer" if roots else ""
        yield f"it holds no movie; movies may lie under another root{told}"
    if lost and movies:
        yield f"{len(lost)} exposures have metadata and no movie"
    if bare and len(bare) < movies:
        yield f"{len(bare)} movies have no metadata"
    if unknown:
        yield f"{len(unknown)} large images have names that no program is known to give, such as {min(unknown)}"
    for one in looked:
        yield from (f"{Path(one.path).name}: {problem}" for problem in one.problems)


def _some(names: list[str]) -> list[str]:
    return sorted({names[index] for index in (0, len(names) // 2, len(names) - 1)}) if names else []


def _files_below(folder: Path) -> Iterator[tuple[PurePosixPath, int]]:
    """Return every plain file below a folder and its size; links are not followed."""
    for root, names, files in os.walk(folder):
        names.sort()
        for name in sorted(files):
            path = Path(root, name)
            if path.is_symlink() or not path.is_file():
                continue
            yield PurePosixPath(path.relative_to(folder)), path.stat().st_size


def _read_image(path: Path, answer: _Answer) -> None:
    from cryodaq.formats.metadata import read_metadata
    from cryodaq.formats.movie import read_header

    with path.open("rb") as handle:
        magic = handle.read(4)
    is_tiff = magic[:2] in {b"II", b"MM"}
    answer.format = "EER" if path.suffix.lower() == ".eer" else ("TIFF" if is_tiff else "MRC")
    header = read_header(path)
    answer.facts |= {
        "frames": header.frame_count,
        "stored_frames": header.stored_frame_count,
        "shape_yx": list(header.shape_yx),
        "pixel_type": str(header.dtype),
        "pixel_size_ang": header.pixel_size_ang,
    }
    if path.suffix.lower() == ".gain" or header.frame_count == header.stored_frame_count == 1:
        answer.facts["single_image"] = True
    if path.suffix.lower() in IMAGE_SUFFIXES:
        answer.metadata = tuple(_said(asdict(one)) for one in read_metadata(path))


def _read_dm(path: Path, answer: _Answer) -> None:
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


def _read_exposure(path: Path, answer: _Answer) -> None:
    from cryodaq.formats.metadata import read_metadata

    answer.format = "EPU's XML of an exposure" if path.suffix.lower() == ".xml" else "SerialEM's mdoc"
    said = read_metadata(path)
    answer.facts["exposures"] = len(said)
    answer.metadata = tuple(_said(asdict(one)) for one in islice(said, NAMED))


def _read_session(path: Path, answer: _Answer) -> None:
    from cryodaq.formats.epu_session import read_epu_session

    if path.name != SESSION_RECORD:
        answer.format = "EPU's own record"
        return
    answer.format = "EPU's session"
    answer.facts |= _said(asdict(read_epu_session(path.read_bytes(), path=path)))


def _read_star(path: Path, answer: _Answer) -> None:
    from cryodaq.formats.star import read_star

    answer.format = "STAR"
    answer.facts["blocks"] = {
        name or "(unnamed)": {
            "rows": max((len(column) for column in block.values() if isinstance(column, list)), default=1),
            "columns": list(block),
        }
        for name, block in read_star(path).items()
    }


def _read_text(path: Path, answer: _Answer) -> None:
    """Try the readers of programs' results and logs on a text; what none of them takes stays unknown."""
    from cryodaq.formats.ctffind_txt import parse_ctffind
    from cryodaq.formats.defects import read_defects
    from cryodaq.formats.gctf_log import parse_gctf_log
    from cryodaq.formats.motioncor_log import parse_motioncor_log
    from cryodaq.formats.relion_log import parse_relion_motion_log

    if path.suffix.lower() not in {".txt", ".log", ".out", ".nav"} or path.stat().st_size > MAX_LOG_BYTES:
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix.lower() == ".nav":
        answer.format = "SerialEM's navigator"
        answer.facts["items"] = text.count("[Item") or text.count("<Item")
        return
    if "CameraSizeX" in text[:MAX_HEAD]:
        answer.format = "SerialEM's list of defects"
        mask = read_defects(path)
        answer.facts |= {"shape_yx": list(mask.shape), "defective_pixels": int(mask.sum())}
        return
    parsers: tuple[tuple[str, Callable[..., Any]], ...] = (  # Any: a dataclass, or one with its rows
        ("CTFFIND's result", parse_ctffind),
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
        return


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


_READERS: dict[str, Callable[[Path, _Answer], None]] = {
    **dict.fromkeys((".tif", ".tiff", ".mrc", ".mrcs", ".eer", ".gain", ".st"), _read_image),
    **dict.fromkeys((".dm3", ".dm4"), _read_dm),
    **dict.fromkeys((".xml", ".mdoc"), _read_exposure),
    ".dm": _read_session,
    ".star": _read_star,
}
