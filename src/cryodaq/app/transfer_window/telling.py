"""Tell people: what nobody owns, what is held, what is still drained, how full the target is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from cryodaq.app.follow_logbook import Current
from cryodaq.app.transfer_window.session import Session
from cryodaq.domain.file_roles import FileRole
from cryodaq.domain.wording import say_size
from cryodaq.errors import TransferError
from cryodaq.ledger import acceptances, exposures, files
from cryodaq.ledger.events import PROCESSING_PAUSED
from cryodaq.ledger.files import FileRecord, Unfinished
from cryodaq.transfer.workers import ShareWorker

log = logging.getLogger(__name__)
EVERY_S = 5.0
SPACE_PAUSE_S = 20.0
"""How long copying rests below the floor."""


class Teller:
    """Looks at the whole every few seconds and keeps its alarms true."""

    def __init__(self, session: Session, worker: ShareWorker) -> None:
        self._session = session
        self._worker = worker
        self._due_s = 0.0
        self._space: Future[dict[str, Any]] | None = None

    def tell(self, current: Current | None) -> None:
        """Raise and clear the alarms of a window."""
        self._watch_space()
        if self._session.clock() < self._due_s or current is None:
            return
        self._due_s = self._session.clock() + EVERY_S
        with self._session.transfer.engine.connect() as connection:
            unowned = exposures.unowned_folders(connection, self._session.microscope)
            held = files.held_files(connection, self._session.microscope)
            unfinished = files.unfinished(connection, self._session.microscope)
            short = acceptances.short_copies(connection, microscope=self._session.microscope)
        movies = sum(folder.movies for folder in unowned)
        size_bytes = sum(folder.size_bytes for folder in unowned)
        self._session.alarm(
            "unassigned", self._unassigned(current, movies, size_bytes) if movies else None, severity="error"
        )
        self._session.alarm("held", self._held(held) if held else None)
        self._session.alarm("short", self._short(short) if short else None)
        self._drain(current, unfinished)

    def _held(self, held: Sequence[FileRecord]) -> str:
        movies = sum(record.role == FileRole.MOVIE for record in held)
        counts = ((movies, "movie"), (len(held) - movies, "other file"))
        amount = " and ".join(f"{n} {what}{'s' * (n > 1)}" for n, what in counts if n)
        return f"{self._session.microscope}: {amount} cannot be copied; {held[0].problem or held[0].path}"

    def _short(self, short: Mapping[int, str]) -> str:
        amount = f"{len(short)} movie{'s' * (len(short) > 1)}"
        return (
            f"{self._session.microscope}: {amount} that left quarantine lack frames that their sample expects; "
            "their sources stay on the share (cryodaq held list)"
        )

    def _unassigned(self, current: Current, movies: int, size_bytes: int) -> str:
        name = self._session.microscope.upper()
        amount = f"{movies} movie{'s' * (movies > 1)}, {say_size(size_bytes)}"
        if current.sample_id is None:
            return f"{name} is collecting and nothing is assigned: {amount}"
        return f"{name}: {amount} in quarantine until somebody says whose they are (cryodaq quarantine list)"

    def _drain(self, current: Current, unfinished: list[Unfinished]) -> None:
        """Say what is still brought over for samples that are not current any more."""
        earlier = [one for one in unfinished if one.sample_id not in {None, current.sample_id}]
        parts = []
        for one in earlier:
            sample = self._session.sample(str(one.sample_id))
            parts.append(f"{one.files} files of {sample.name if sample else one.sample_id}")
        message = f"{self._session.microscope} is draining {', '.join(parts)}" if parts else None
        self._session.alarm("draining", message, severity="notice")

    def _watch_space(self) -> None:
        """Stop processing, and later copying, while the target has less room than their floors."""
        session = self._session
        if self._space is None:
            if self._worker.alive and session.clock() >= self._due_s:
                folder = str(session.transfer.following.storage_root)
                self._space = self._worker.request("free_space", folder=folder)
            return
        if not self._space.done():
            return
        finished, self._space = self._space, None
        try:
            space = finished.result()
        except TransferError as error:
            session.alarm("target", f"{session.microscope}: {error}", severity="error")
            return
        session.alarm("target", None)
        root = session.transfer.following.storage_root
        processing, copying = session.transfer.processing_floor_fraction, session.transfer.floor_fraction
        low = _low(space, processing)
        message = f"{root} has {low} free; processing waits until there is more than {processing:.0%}" if low else None
        session.alarm(PROCESSING_PAUSED, message, severity="error")
        low = _low(space, copying)
        message = f"{root} has {low} free; copying waits until there is more than {copying:.0%}" if low else None
        session.alarm("target-low", message, severity="error")
        if low:
            session.paused_until_s = session.clock() + SPACE_PAUSE_S


def _low(space: Mapping[str, int], floor: float) -> str:
    """Say what there is too little of."""
    return " and ".join(
        f"{space[f'free_{what}'] / space[f'total_{what}']:.1%} of its {what}"
        for what in ("bytes", "inodes")
        if space[f"total_{what}"] and space[f"free_{what}"] < floor * space[f"total_{what}"]
    )
