"""Watch the gain root, and bring the gain references that movies wait for to their samples."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cryodaq.app.transfer_window.mounts import Mount, Scan
from cryodaq.app.transfer_window.session import Session
from cryodaq.domain.completeness import Look, judge, unchanged_since
from cryodaq.domain.file_roles import IMAGE_SUFFIXES, FileRole, classify
from cryodaq.domain.layout import SampleLayout
from cryodaq.errors import TargetExistsError, TransferError
from cryodaq.ledger import gains, shares
from cryodaq.ledger.gains import GainReference, WantedGain
from cryodaq.ledger.shares import ScanRecord
from cryodaq.transfer.wire import error_from_message
from cryodaq.transfer.workers import ShareWorker

log = logging.getLogger(__name__)
SCAN_PAUSE_S = 2.0
ORDER_EVERY_S = 0.5
WAIT_S = 30.0
LAST_VERSION = 100

Json = dict[str, Any]  # Any: values of JSON


@dataclass(slots=True)
class _GainCopy:
    wanted: WantedGain
    target: PurePosixPath
    future: Future[Json]


class GainKeeper:
    """Records the gain references of one gain root, and copies those that are wanted."""

    def __init__(self, session: Session, mount: Mount) -> None:
        self._session = session
        self._mount = mount
        self._present: dict[str, tuple[int, int]] = {}
        self._looks: dict[int, Look] = {}
        self._asked: tuple[list[GainReference], Future[Json]] | None = None
        self._copies: list[_GainCopy] = []
        self._due_s = 0.0

    @property
    def in_flight(self) -> int:
        """Copies under way."""
        return len(self._copies)

    def tick(self, publisher: ShareWorker) -> None:
        """Scan, judge and copy, one step further."""
        self._mount.supervise()
        scan = self._mount.scan(hot=[""], pause_s=SCAN_PAUSE_S, asked=True)
        if scan is not None:
            self._adopt(scan)
        self._settle()
        self._collect(publisher)
        if self._session.clock() >= self._due_s:
            self._due_s = self._session.clock() + ORDER_EVERY_S
            self._order()

    def _adopt(self, scan: Scan) -> None:
        rows = [row for part in scan.found["parts"] for row in part["changed"] if _is_gain(row[0])]
        if scan.first:
            self._present.clear()
        for path, size_bytes, mtime_ns, _inode in rows:
            self._present[path] = (size_bytes, mtime_ns)
        for path in scan.found["vanished"]:
            self._present.pop(path, None)
        with self._session.transition() as connection:
            gains.register_gains(
                connection,
                self._session.microscope,
                root=self._mount.root,
                found=[(row[0], row[1], row[2]) for row in rows],
                at=scan.ended_at,
            )
            unsettled = gains.unsettled_gains(connection, self._session.microscope, self._mount.root)
            passed = [gain.id for gain in unsettled if self._present.get(gain.path) != (gain.size_bytes, gain.mtime_ns)]
            gains.forget_unsettled(connection, passed)
            if (scan.first or rows or scan.found["vanished"]) and not scan.found["unreadable"]:
                present = [(path, *facts) for path, facts in self._present.items()]
                gains.forget_gone(connection, self._session.microscope, self._mount.root, present=present)
            shares.record_scan(
                connection,
                self._session.microscope,
                self._mount.root,
                scan=ScanRecord(
                    began_at=scan.began_at,
                    ended_at=scan.ended_at,
                    scan_s=float(scan.found["scan_s"]),
                    file_count=int(scan.found["file_count"]),
                    free_bytes=int(scan.found["free_bytes"]),
                    total_bytes=int(scan.found["total_bytes"]),
                    mount=str(scan.found["device"]),
                    unrecognised_images=0,
                ),
            )
        self._ask_about([gain for gain in unsettled if gain.id not in passed])

    def _ask_about(self, unsettled: list[GainReference]) -> None:
        if unsettled and self._asked is None and self._mount.worker is not None:
            future = self._mount.worker.request("look", paths=[gain.path for gain in unsettled])
            self._asked = (unsettled, future)

    def _settle(self) -> None:
        """Settle the gains that two looks showed closed and unchanged."""
        if self._asked is None or not self._asked[1].done():
            return
        (asked, future), self._asked = self._asked, None
        try:
            said = future.result()["looks"]
        except TransferError as error:
            log.warning("gain references could not be looked at", extra={"problem": str(error)})
            return
        now_s = self._session.clock()
        for gain, one in zip(asked, said, strict=True):
            if "error" in one or (one["size_bytes"], one["mtime_ns"]) != (gain.size_bytes, gain.mtime_ns):
                continue
            latest = Look(
                size_bytes=one["size_bytes"],
                mtime_ns=one["mtime_ns"],
                closed=one["closed"],
                frame_count=None,
                taken_at_s=now_s,
            )
            before = self._looks.get(gain.id)
            verdict = judge(before, latest, role=FileRole.GAIN, expected_frames=None, now_s=now_s)
            self._looks[gain.id] = unchanged_since(before, latest)
            if verdict.complete:
                with self._session.transition() as connection:
                    gains.settle_gain(connection, gain.id, at=self._session.now())

    def _order(self) -> None:
        worker = self._mount.worker
        if worker is None:
            return
        with self._session.transfer.engine.connect() as connection:
            wanted = gains.wanted_gains(connection, self._session.microscope, self._mount.root)
        under_way = {copy.wanted.id for copy in self._copies}
        for one in wanted:
            if one.id not in under_way:
                self._begin(one, PurePosixPath(one.target), worker)

    def _begin(self, wanted: WantedGain, target: PurePosixPath, worker: ShareWorker) -> None:
        sample = self._session.sample(wanted.sample_id)
        if sample is None:
            return
        base = SampleLayout(root=PurePosixPath(sample.folder)).raw
        if not self._session.folder_is_ready(base):
            return
        order = {
            "source": wanted.gain.path,
            "size_bytes": wanted.gain.size_bytes,
            "mtime_ns": wanted.gain.mtime_ns,
            "base": str(base),
            "relative": str(target.relative_to(base)),
            "token": self._session.lease.token,
            "number": wanted.id,
        }
        self._copies.append(_GainCopy(wanted, target, worker.request("copy", order=order)))

    def _collect(self, publisher: ShareWorker) -> None:
        done = [copy for copy in self._copies if copy.future.done()]
        self._copies = [copy for copy in self._copies if not copy.future.done()]
        for copy in done:
            try:
                self._publish(copy, copy.future.result(), publisher)
            except TargetExistsError as error:
                self._next_version(copy, error)
            except TransferError as error:
                log.warning("a gain was not copied", extra={"path": copy.wanted.gain.path, "problem": str(error)})
                with self._session.transition() as connection:
                    gains.record_gain_problem(connection, copy.wanted, problem=str(error))

    def _publish(self, copy: _GainCopy, part: Json, publisher: ShareWorker) -> None:
        one = {"part": part["part"], "target": str(copy.target), "xxh3_128": part["xxh3_128"]}
        with self._session.transition() as connection:
            try:
                (said,) = publisher.request("publish", copies=[one]).result(WAIT_S)["published"]
            except TimeoutError as error:
                message = f"{copy.target} could not be given its name in {WAIT_S:.0f} s"
                raise TransferError(message) from error
            if "error" in said:
                raise error_from_message(said["error"])
            gains.record_gain_copy(
                connection,
                copy.wanted,
                target=str(copy.target),
                xxh3_128=part["xxh3_128"],
                at=self._session.now(),
            )
        self._session.to_hand_over = True

    def _next_version(self, copy: _GainCopy, error: TargetExistsError) -> None:
        """Another gain of that name is there already: this one gets a name of its own."""
        original = PurePosixPath(copy.wanted.target)
        names = [original, *(original.with_stem(f"{original.stem}.v{n}") for n in range(2, LAST_VERSION))]
        following = names[names.index(copy.target) + 1 :]
        if not following or self._mount.worker is None:
            with self._session.transition() as connection:
                gains.record_gain_problem(connection, copy.wanted, problem=str(error))
            return
        self._begin(copy.wanted, following[0], self._mount.worker)

    def close(self) -> None:
        """End the worker of the gain root."""
        self._mount.close()


def _is_gain(path: str) -> bool:
    name = PurePosixPath(path)
    return name.suffix.lower() in IMAGE_SUFFIXES | {".gain"} and classify(name).role is not FileRole.IGNORED
