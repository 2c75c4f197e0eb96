"""Notice what operators forget: to switch, to begin a session, or that the microscope stopped collecting."""

from __future__ import annotations

from datetime import timedelta

from cryodaq.app.follow_logbook import Current
from cryodaq.app.transfer_window.session import Session
from cryodaq.ledger import exposures, observations
from cryodaq.ledger.exposures import SessionFolder

EVERY_S = 20.0
RECENT = timedelta(hours=2)
"""A suspicion about folders is dropped when nothing was written there for so long."""


class Suspecter:
    """Compares what is current with where movies are written, and when the last one was."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._due_s = 0.0
        self._sample_id: str | None = None
        """Of the sample that was current at the last look."""

    def look(self, current: Current | None) -> None:
        """Keep the three alarms true; those of the sample before end with it."""
        session = self._session
        if current is None or (session.clock() < self._due_s and current.sample_id == self._sample_id):
            return
        self._due_s, self._sample_id = session.clock() + EVERY_S, current.sample_id
        folders: list[SessionFolder] = []
        if current.sample_id is not None:
            with session.transfer.engine.connect() as connection:
                folders = exposures.session_folders(connection, current.sample_id)
        recent = [one for one in folders if session.now() - one.last_at < RECENT]
        session.alarm("no-switch", self._new_folder(current, recent))
        session.alarm("no-folder", self._old_folder(current, recent))
        session.alarm("no-movie", self._silence(current, folders))

    def _sample(self, current: Current) -> str:
        sample = self._session.sample(current.sample_id) if current.sample_id else None
        return f"{sample.name} of {sample.experiment}" if sample else "no sample"

    def _new_folder(self, current: Current, recent: list[SessionFolder]) -> str | None:
        """A session folder that began after another one of the same sample."""
        mine = [one for one in recent if not one.shared]
        if len(mine) < 2:
            return None
        before, newest = mine[-2:]
        return (
            f"{self._session.microscope.upper()}: the session folder {newest.folder} is new, and "
            f"{self._sample(current)} is current still, whose movies lie in {before.folder}; "
            "did the operator forget to switch?"
        )

    def _old_folder(self, current: Current, recent: list[SessionFolder]) -> str | None:
        """Movies that go on in a folder of another sample."""
        if not recent or not recent[-1].shared or recent[-1].last_at < max(one.last_at for one in recent):
            return None
        return (
            f"{self._session.microscope.upper()}: {self._sample(current)} is current, and its movies go on in "
            f"{recent[-1].folder}, a session folder of another sample; was the switch meant?"
        )

    def _silence(self, current: Current, folders: list[SessionFolder]) -> str | None:
        """No movie for longer than the facility file allows, after there were some, and as long as it is current."""
        limit_s = self._session.transfer.microscope.no_movie_alarm_s
        if limit_s is None or not folders:
            return None
        with self._session.transfer.engine.connect() as connection:
            said = observations.last_answer(connection, self._session.microscope)
        since = [one.last_at for one in folders] + ([said.first_asked_at] if said else [])
        silent_s = (self._session.now() - max(since)).total_seconds()
        if silent_s < limit_s:
            return None
        minutes = int(limit_s // 60)
        return f"{self._session.microscope.upper()}: no new movie of {self._sample(current)} for over {minutes} minutes"
