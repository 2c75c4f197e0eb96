"""Look at files through open handles until each is complete, or a person must look at it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, cast

from cryodaq.app.transfer_window.mounts import Mount
from cryodaq.app.transfer_window.session import Session, Tracked
from cryodaq.domain.completeness import (
    HELD_AFTER_S,
    SIBLINGS_THAT_AGREE,
    Acceptance,
    CompletenessState,
    Look,
    Verdict,
    as_accepted,
    expected_frames,
    judge,
    unchanged_since,
)
from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.file_roles import FileRole, as_frame_mdoc, as_movie, base_name_of_foreign_path
from cryodaq.domain.parameters import read_operator_settings
from cryodaq.errors import ParameterError, SourceVanishedError, TransferError
from cryodaq.ledger import acceptances, exposures, files
from cryodaq.ledger.exposures import ExposureRecord, NewExposure
from cryodaq.ledger.files import ChangedFile, FileRecord, StateChange
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.wire import error_from_message

log = logging.getLogger(__name__)
BATCH = 40
"""Files in one request to look."""
REQUESTS = 2
"""Requests to look under way for each share."""
LONGEST_PAUSE_S = 30.0
"""Between two looks at a file that does not change."""

OWNER_PAUSE_S = 0.5
"""Before the next look at a movie whose owner is not decided yet."""

Json = Mapping[str, Any]  # Any: values of JSON


@dataclass(slots=True)
class _Request:
    mount: Mount
    asked: list[Tracked]
    future: Future[dict[str, Any]]


class Judge:
    """Decides when files are complete."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._requests: list[_Request] = []
        self._named: dict[tuple[str, str], int | None] = {}
        """Movies that mdocs name, by share and path, with their frames."""
        self._frames_of_sample: dict[str, int | None] = {}

    def look(self, mount: Mount) -> None:
        """Ask for looks at files that are due."""
        worker = mount.worker
        under_way = sum(request.mount is mount for request in self._requests)
        if worker is None or under_way >= REQUESTS:
            return
        now_s = self._session.clock()
        due = [
            tracked
            for tracked in self._session.tracked.values()
            if tracked.look_due_s <= now_s
            and not tracked.busy
            and tracked.record.state in {"seen", "held"}
            and tracked.record.share == mount.root
        ]
        if not due:
            return
        # Metadata first: it says how many frames its movie must have.
        due.sort(key=lambda tracked: (tracked.record.role != FileRole.METADATA, tracked.look_due_s))
        for start in range(0, min(len(due), BATCH * (REQUESTS - under_way)), BATCH):
            asked = due[start : start + BATCH]
            for tracked in asked:
                tracked.busy = True
            future = worker.request("look", paths=[tracked.record.path for tracked in asked])
            self._requests.append(_Request(mount, asked, future))

    def due_in_s(self) -> float:
        """Return in how many seconds the next file is to be looked at; what is due already waits for its worker."""
        now_s = self._session.clock()
        waiting = (t.look_due_s - now_s for t in self._session.tracked.values() if t.record.state in {"seen", "held"})
        return min((pause_s for pause_s in waiting if pause_s > 0), default=math.inf)

    def learn_expected_frames(self, known: Sequence[FileRecord]) -> None:
        """Have metadata that was copied by an earlier window looked at again, for movies that are not complete."""
        movies = {t.record.exposure_id for t in self._session.tracked.values() if t.is_movie}
        for record in known:
            if record.exposure_id in movies and record.role == FileRole.METADATA:
                self._session.reread.append(record)

    def reread(self, mount: Mount) -> None:
        """Ask for looks at copied metadata whose facts this window does not know."""
        mine = [record for record in self._session.reread if record.share == mount.root]
        if mount.worker is None or not mine:
            return
        self._session.reread = [record for record in self._session.reread if record.share != mount.root]
        future = mount.worker.request("look", paths=[record.path for record in mine])
        self._requests.append(_Request(mount, [Tracked(record) for record in mine], future))

    def judge(self) -> None:
        """Take the looks that came back."""
        done = [request for request in self._requests if request.future.done()]
        self._requests = [request for request in self._requests if not request.future.done()]
        for request in done:
            for tracked in request.asked:
                tracked.busy = False
            try:
                looks = request.future.result()["looks"]
            except TransferError as error:
                log.warning("looking failed", extra={"share": request.mount.root, "problem": str(error)})
                self._look_later(request.asked, LONGEST_PAUSE_S / 6)
                continue
            self._judge_all(request.asked, looks)

    def _look_later(self, asked: Sequence[Tracked], pause_s: float) -> None:
        for tracked in asked:
            tracked.look_due_s = self._session.clock() + pause_s

    def _judge_all(self, asked: Sequence[Tracked], looks: Sequence[Json]) -> None:
        for tracked, said in zip(asked, looks, strict=True):
            if "facts" in said:
                self._learn(tracked.record, said["facts"])
        changes: list[StateChange] = []
        corrected: list[ChangedFile] = []
        for tracked, said in zip(asked, looks, strict=True):
            if tracked.record.id not in self._session.tracked:
                continue  # it vanished meanwhile, or was only read for its facts
            changes += self._refused(tracked, said) if "error" in said else self._judged(tracked, said, corrected)
        if not changes and not corrected:
            return
        with self._session.transition() as connection:
            files.record_changes(connection, corrected, at=self._session.now())
            self._session.set_state(connection, changes)

    def _refused(self, tracked: Tracked, said: Json) -> list[StateChange]:
        error = error_from_message(said["error"])
        self._look_later([tracked], LONGEST_PAUSE_S / 3)
        if isinstance(error, SourceVanishedError):
            return []  # the next scan says what became of it
        return _change(tracked, "held", str(error))

    def _judged(self, tracked: Tracked, said: Json, corrected: list[ChangedFile]) -> list[StateChange]:
        """Judge one look; what the open handle said is believed before the folder's listing."""
        record, now_s = tracked.record, self._session.clock()
        latest = Look(
            size_bytes=said["size_bytes"],
            mtime_ns=said["mtime_ns"],
            closed=said["closed"],
            frame_count=said["frame_count"],
            taken_at_s=now_s,
            sealed=said["sealed"],
        )
        if (record.size_bytes, record.mtime_ns) != (latest.size_bytes, latest.mtime_ns):
            tracked.record = replace(
                record, size_bytes=latest.size_bytes, mtime_ns=latest.mtime_ns, state="seen", problem=None
            )
            self._session.known[record.share, record.path] = tracked.record
            inode = record.inode or 0
            corrected.append(
                ChangedFile(id=record.id, size_bytes=latest.size_bytes, mtime_ns=latest.mtime_ns, inode=inode)
            )
        verdict = judge(
            tracked.look,
            latest,
            role=FileRole(record.role),
            expected_frames=self._expected(record),
            now_s=now_s,
        )
        if verdict.state is CompletenessState.SHORT:
            verdict = as_accepted(verdict, latest, self._acceptance(record.id))
        tracked.look = unchanged_since(tracked.look, latest)
        unchanged_s = now_s - tracked.look.taken_at_s
        tracked.look_due_s = verdict.until_s or now_s + min(LONGEST_PAUSE_S, max(1.0, unchanged_s / 4))
        return self._state(tracked, verdict, problem=said["problem"], unchanged_s=unchanged_s)

    def _state(
        self, tracked: Tracked, verdict: Verdict, *, problem: str | None, unchanged_s: float
    ) -> list[StateChange]:
        record = tracked.record
        if verdict.complete and tracked.is_movie and not self._owner_is_known(record):
            tracked.look_due_s = self._session.clock() + OWNER_PAUSE_S
            return []  # its sample says how many frames it must have
        if verdict.complete:
            as_expected = verdict.frames_expected in {None, verdict.frames_found}
            if tracked.is_movie and verdict.frames_found and as_expected:
                self._remember_frames(record, verdict.frames_found)
            return [StateChange(id=record.id, state="complete", frame_count=verdict.frames_found)]
        name = PurePosixPath(record.path).name
        if verdict.state is CompletenessState.SHORT:
            why = f"is short: {verdict.why}"
            if problem:
                why = f"is not finished: {problem}, and nothing was written for {HELD_AFTER_S:g} s"
            frames = None if problem else verdict.frames_found
            return _change(tracked, "held", f"{name} {why}", frame_count=frames)
        if record.size_bytes > 0 or unchanged_s < HELD_AFTER_S:
            return []
        if record.role in {FileRole.MOVIE, FileRole.METADATA}:
            return _change(tracked, "held", f"{name} is empty, and nothing writes to it")
        return [StateChange(id=record.id, state="complete")]

    def _acceptance(self, file_id: int) -> Acceptance | None:
        with self._session.transfer.engine.connect() as connection:
            return acceptances.newest_acceptance(connection, file_id)

    def _owner_is_known(self, record: FileRecord) -> bool:
        owner = self._session.exposures.get(record.exposure_id)
        return owner is not None and owner.decision is not None

    def _expected(self, record: FileRecord) -> int | None:
        """Return how many frames a movie must have, from metadata, the operator, or the movies before it."""
        if record.role != FileRole.MOVIE:
            return None
        owner = self._session.exposures.get(record.exposure_id)
        sample_id = owner.sample_id if owner else None
        metadata = self._named.get((record.share, record.path)) or self._session.frames_expected.get(record.exposure_id)
        siblings = self._session.siblings.get(sample_id, []) if sample_id else []
        return expected_frames(metadata=metadata, parameters=self._operators_frames(sample_id), siblings=siblings)

    def _operators_frames(self, sample_id: str | None) -> int | None:
        if sample_id is None:
            return None
        if sample_id not in self._frames_of_sample:
            found = self._session.sample(sample_id)
            try:
                settings = read_operator_settings(_params(found)) if found else None
            except ParameterError:
                settings = None  # its alarm is raised where the elogbook is followed
            self._frames_of_sample[sample_id] = settings.frame_count if settings else None
        return self._frames_of_sample[sample_id]

    def _remember_frames(self, record: FileRecord, frames: int) -> None:
        owner = self._session.exposures.get(record.exposure_id)
        if owner is not None and owner.sample_id is not None:
            latest = self._session.siblings.get(owner.sample_id, [])
            self._session.siblings[owner.sample_id] = [*latest, frames][-SIBLINGS_THAT_AGREE:]

    def _learn(self, record: FileRecord, facts: Sequence[tuple[str | None, int | None]]) -> None:
        """Take in what a metadata file says: frames, and the movie that an mdoc names."""
        if len(facts) == 1 and facts[0][1] and record.role == FileRole.METADATA:
            self._session.frames_expected[record.exposure_id] = int(facts[0][1])
        if not record.path.lower().endswith(".mdoc"):
            return
        folder = PurePosixPath(record.path).parent
        for name, frames in facts:
            if name is None:
                continue
            movie_path = str(folder / base_name_of_foreign_path(name))
            self._named[record.share, movie_path] = frames
            movie = self._session.known.get((record.share, movie_path))
            if movie is not None and movie.role != FileRole.MOVIE:
                self._make_movie(movie)
        if len(facts) == 1 and facts[0][0] is not None and record.role != FileRole.METADATA:
            kind = as_frame_mdoc(PurePosixPath(record.path), movie_file_name=base_name_of_foreign_path(facts[0][0]))
            self._reclassify(record, FileRole.METADATA, key=kind.exposure or record.path)

    def _make_movie(self, record: FileRecord) -> None:
        kind = as_movie(PurePosixPath(record.path))
        self._reclassify(record, FileRole.MOVIE, key=kind.exposure or record.path)

    def _reclassify(self, record: FileRecord, role: FileRole, *, key: str) -> None:
        """Give a file another role and exposure; the exposure keeps the owner that the file has."""
        session = self._session
        before = session.exposures.get(record.exposure_id) or self._exposure(record.exposure_id)
        with session.transition() as connection:
            owner = exposures.register_exposures(
                connection,
                session.microscope,
                share=record.share,
                found=[NewExposure(key=key, acquisition_folder=before.acquisition_folder)],
                seen_from=before.seen_from,
                seen_until=before.seen_until,
            )[key]
            files.reclassify(connection, record.id, role=role.value, exposure_id=owner.id)
        session.exposures[owner.id] = owner
        if owner.decision is None:
            session.undecided[owner.id] = owner
        session.remember(replace(record, role=role.value, exposure_id=owner.id))
        if role is FileRole.MOVIE and record.state in files.HAS_COPY:
            session.late_movies.append(record.id)

    def _exposure(self, exposure_id: int) -> ExposureRecord:
        with self._session.transfer.engine.connect() as connection:
            return exposures.exposures_by_id(connection, [exposure_id])[exposure_id]


def _params(found: SampleRecord) -> Mapping[str, ParameterValue]:
    return cast("Mapping[str, ParameterValue]", found.params)  # stored as they came from the elogbook


def _change(tracked: Tracked, state: str, problem: str | None, *, frame_count: int | None = None) -> list[StateChange]:
    """Return the change of a file's state, none when it says so already."""
    if (tracked.record.state, tracked.record.problem) == (state, problem):
        return []
    return [StateChange(id=tracked.record.id, state=state, problem=problem, frame_count=frame_count)]
