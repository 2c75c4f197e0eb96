"""The real pages behind a real port, for tests with browsers and streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cryodaq.web.application import make_server
from cryodaq.web.settings import WebSettings


@contextmanager
def running_pages(settings: WebSettings) -> Iterator[str]:
    """Serve the pages on a free loopback port; yield their address.

    Raises `TimeoutError` when they do not start or end within 20 s.
    """
    server = make_server(settings, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run, name="pages", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                message = "the pages did not start"
                raise TimeoutError(message)
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        if thread.is_alive():
            message = "the pages did not end"
            raise TimeoutError(message)
