"""The embedded elogbook on a free port of this machine, for tests that speak real HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import uvicorn

from cryodaq.elogbook.app import create_app, utc_now
from cryodaq.elogbook.settings import ElogbookSettings

START_TIMEOUT_S = 20.0


@contextmanager
def running_elogbook(settings: ElogbookSettings, *, clock: Callable[[], datetime] = utc_now) -> Iterator[str]:
    """Serve a migrated database and yield the base URL.

    Parameters
    ----------
    clock
        What the elogbook takes for the time, with an offset.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings, clock=clock), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="elogbook", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                message = "the elogbook did not start"
                raise RuntimeError(message)
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()
