"""What is this file, or this session: its format, what it says, whether it is whole, and what is wrong with it.

Reads only below the path that was given, and writes nothing. A file that cannot be read is an answer, not an error.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cryodaq.app.inspect_content import SESSION_RECORD, Facts, read_content
from cryodaq.domain.file_roles import IMAGE_SUFFIXES, ClassifiedFile, FileRole, classify

LOOKED_INTO = 3
"""Movies of a session whose headers are read: the first, one in the middle, the last."""
NAMED = 10
"""So many names are listed of whatever is many."""


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
    answer = read_content(path)
    problems = [] if shut.problem is None or shut.closed is None else [shut.problem]
    problems += [problem for problem in answer.problems if problem not in problems]
    if kind.role is FileRole.MOVIE and answer.facts.get("single_image"):
        problems.append("it is named like a movie and holds a single image")
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


@dataclass(slots=True)
class _Tally:
    """What the names of a folder's files say, file by file."""

    roles: Counter[str] = field(default_factory=Counter)
    software: Counter[str] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    exposures: dict[str, set[FileRole]] = field(default_factory=dict)
    names: dict[FileRole, list[str]] = field(default_factory=lambda: {FileRole.MOVIE: [], FileRole.GAIN: []})
    unknown: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    records: list[PurePosixPath] = field(default_factory=list)
    size_bytes: int = 0

    def add(self, relative: PurePosixPath, size_bytes: int) -> None:
        """Take one file in."""
        kind = classify(relative, size_bytes=size_bytes)
        self.roles[kind.role.value] += 1
        self.size_bytes += size_bytes
        if kind.role is FileRole.IGNORED:
            return
        if kind.software is not None and kind.role is not FileRole.LIVING:
            self.software[kind.software.value] += 1
        if kind.exposure is not None:
            self.exposures.setdefault(kind.exposure, set()).add(kind.role)
            self.sessions[str(kind.acquisition_folder)] += 1
        self.names.get(kind.role, []).append(str(relative))
        self.unknown += [str(relative)] * kind.unrecognised_image
        self.frames += [str(relative)] * _is_single_frame(relative, kind)
        if relative.name == SESSION_RECORD and len(self.records) < NAMED:
            self.records.append(relative)

    def exposures_with(self, one: FileRole, *, without: FileRole) -> list[str]:
        """Exposures that have a file of one kind and none of the other, sorted."""
        return sorted(key for key, found in self.exposures.items() if one in found and without not in found)


def inspect_session(folder: Path) -> InspectedSession:
    """Say what a folder holds. Raises `OSError` when it cannot be read."""
    tally = _Tally()
    for relative, size_bytes in _files_below(folder):
        tally.add(relative, size_bytes)
    movies, gains = tally.names[FileRole.MOVIE], tally.names[FileRole.GAIN]
    recorded = [inspect_file(folder / path, named=path).facts for path in tally.records]
    lost = tally.exposures_with(FileRole.METADATA, without=FileRole.MOVIE)
    bare = tally.exposures_with(FileRole.MOVIE, without=FileRole.METADATA)
    looked = tuple(inspect_file(folder / name, named=PurePosixPath(name)) for name in _some(sorted(movies)))
    return InspectedSession(
        path=str(folder),
        files=sum(tally.roles.values()),
        size_bytes=tally.size_bytes,
        roles=dict(tally.roles.most_common()),
        software=dict(tally.software.most_common()),
        sessions=tuple(sorted(tally.sessions)),
        exposures=len(tally.exposures),
        movies=len(movies),
        without_movie=tuple(lost[:NAMED]),
        without_metadata=tuple(bare[:NAMED]),
        gain_references=tuple(sorted(gains)[:NAMED]),
        recorded=tuple(recorded),
        looked_into=looked,
        problems=(
            *_movies_missing(lost, tally.frames, recorded, exposures=len(tally.exposures), movies=len(movies)),
            *_other_problems(bare, tally.unknown, movies=len(movies), looked=looked),
        ),
    )


def _is_single_frame(path: PurePosixPath, kind: ClassifiedFile) -> bool:
    """Whether a file holds one frame of an exposure, as EPU 1.8 writes those of a K2."""
    return kind.role is FileRole.OTHER and kind.exposure is not None and path.suffix.lower() in IMAGE_SUFFIXES


def _movies_missing(
    lost: list[str], frames: list[str], recorded: list[Facts], *, exposures: int, movies: int
) -> Iterator[str]:
    if not movies:
        roots = ", ".join(str(one["movie_folder"]) for one in recorded if one.get("movie_folder"))
        told = f": {SESSION_RECORD} names {roots} on the microscope's computer" if roots else ""
        yield "it holds no movie" + (f"; movies may lie under another root{told}" if exposures else "")
    if lost and movies:
        yield f"{len(lost)} exposures have metadata and no movie"
    if frames:
        yield (
            f"{len(frames)} files hold a single frame of an exposure, such as {min(frames)}: "
            "such movies are copied, not processed"
        )


def _other_problems(
    bare: list[str], unknown: list[str], *, movies: int, looked: tuple[InspectedFile, ...]
) -> Iterator[str]:
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
