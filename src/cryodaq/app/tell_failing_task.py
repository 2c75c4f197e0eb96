"""Tell people when a task of a microscope fails as nobody foresaw: it would fail again and again, unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from cryodaq.errors import CryodaqError, LeaseLostError
from cryodaq.ledger import events
from cryodaq.ledger.events import Subject

if TYPE_CHECKING:
    from sqlalchemy import Engine


@contextmanager
def telling_failure(engine: Engine, microscope: str, task: str, *, now: Callable[[], datetime]) -> Iterator[None]:
    """Keep an alarm from a failure of what is done within until it succeeds; what was raised goes on.

    That another process took the lease is no failure, and that the ledger does not answer is told by the watch.
    """
    from sqlalchemy.exc import InterfaceError, OperationalError

    key, subject = f"failing:{microscope}:{task}", Subject(microscope=microscope)
    try:
        yield
    except LeaseLostError:
        raise
    except Exception as error:  # of a task's outermost call; whatever it is, it goes on
        told = str(error) if isinstance(error, CryodaqError) else f"{type(error).__name__}: {error}"
        message = (
            f"{microscope}: {task} failed and is tried again: {told.splitlines()[0]}; "
            f"its log is in Airflow, at {task} of {microscope}-daq"
        )
        with suppress(OperationalError, InterfaceError), engine.begin() as connection:
            events.raise_alarm(connection, key, severity="error", message=message, at=now(), subject=subject)
        raise
    with engine.begin() as connection:
        if events.is_raised(connection, key):
            events.clear_alarm(connection, key, at=now())
