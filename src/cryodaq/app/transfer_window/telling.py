"""Tell people: what nobody owns, what is held, what is still drained, how full the target is."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any

from cryodaq.app.follow_logbook import Current
from cryodaq.app.transfer_window.session import Session
from cryodaq.errors import TransferError
from cryodaq.ledger import exposures, files
from cryodaq.ledger.files import Unfinished
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
            held = files.held_movies(connection, self._session.microscope)
            unfinished = files.unfinished(connection, self._session.microscope)
        movies = sum(folder.movies for folder in unowned)
        size_gb = sum(folder.size_bytes for folder in unowned) / 1e9
        self._session.alarm(
            "unassigned", self._unassigned(current, movies, size_gb) if movies else None, severity="error"
        )
        problems = [record.problem or "" for _, record in held]
        held_message = f"{self._session.microscope}: {len(held)} movies are not copied; {problems[0]}" if held else None
        self._session.alarm("held", held_message)
        self._drain(current, unfinished)

    def _unassigned(self, current: Current, movies: int, size_gb: float) -> str:
        name = self._session.microscope.upper()
        amount = f"{movies} movies, {size_gb:.3g} GB"
        if current.sample_id is None:
            return f"{name} is collecting and nothing is assigned: {amount}"
        return f"{name}: {amount} wait in quarantine until somebody says whose they are"

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
        """Stop copying while the target has less room than its floor."""
        session = self._session
        if self._space is None:
            if self._worker.alive and session.clock() >= self._due_s:
                root = str(session.transfer.following.storage_root)
                self._space = self._worker.request("free_space", folder=root)
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
        floor = session.transfer.floor_fraction
        low = [
            f"{space[f'free_{what}'] / space[f'total_{what}']:.1%} of its {what}"
            for what in ("bytes", "inodes")
            if space[f"total_{what}"] and space[f"free_{what}"] < floor * space[f"total_{what}"]
        ]
        if low:
            session.paused_until_s = session.clock() + SPACE_PAUSE_S
            what = f"{session.transfer.following.storage_root} has {' and '.join(low)} free"
            message = f"{what}; copying waits until there is more than {floor:.0%}"
            session.alarm("target-low", message, severity="error")
        else:
            session.alarm("target-low", None)
