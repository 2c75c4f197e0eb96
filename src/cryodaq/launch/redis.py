"""The embedded Redis, Celery's broker: Debian's program, on a Unix socket in a private folder alone.

What it holds is what was handed to workers and not begun, so it writes each second's changes to disk; losing even
those costs no more than a wait: the scheduler notices that nobody begins a task, the ledger that nothing is published.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from cryodaq.errors import LaunchError
from cryodaq.launch.socket_folders import socket_folder
from cryodaq.launch.supervisor import Child

if TYPE_CHECKING:
    import redis

PROGRAM = "redis-server"
ANSWER_S = 3.0
WORKERS_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """One Redis below `home`."""

    home: Path

    @property
    def data(self) -> Path:
        """Where it writes what it holds."""
        return self.home / "redis"

    @property
    def socket(self) -> Path:
        """Where it listens, alone in its folder."""
        return socket_folder(self.home, suffix="-redis") / "redis.sock"

    @property
    def url(self) -> str:
        """What Celery calls it."""
        return f"redis+socket://{quote(str(self.socket))}"

    def child(self) -> Child:
        """Return it as a child. Raises `LaunchError` where the program is not installed."""
        program = shutil.which(PROGRAM)
        if program is None:
            message = (
                f"{PROGRAM} is not installed; install Debian's package {PROGRAM}, name another Redis with "
                "[airflow] broker_url_file, or start without --executor celery"
            )
            raise LaunchError(message)
        for folder in (self.data, self.socket.parent):
            _make_private(folder)
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
        }
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        return Child(
            name="redis",
            command=[program, *words],
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            folder=self.data,
            is_healthy=lambda: consumed_queues(self.url, []) is not None,
            stop_signal=signal.SIGTERM,
            stop_rank=2,
            stop_grace_s=3.0,
        )


def consumed_queues(url: str, wanted: Collection[str]) -> frozenset[str] | None:
    """Return which queues a worker has ever taken tasks from since the broker was emptied; None without an answer."""
    import redis

    try:
        with _client(url) as client:
            client.ping()
            return frozenset(queue for queue in wanted if client.exists(f"_kombu.binding.{queue}"))
    except (redis.RedisError, OSError):
        return None


def listening_queues(url: str) -> frozenset[str]:
    """Return which queues living workers take tasks from now; they are given two seconds to answer.

    Raises `LaunchError` without an answer of the broker.
    """
    import redis
    from celery import Celery
    from kombu.exceptions import OperationalError

    with Celery(broker=url) as program:
        try:
            answers = program.control.inspect(timeout=WORKERS_ANSWER_S).active_queues() or {}
        except (OperationalError, redis.RedisError, OSError) as error:
            message = f"Celery's broker does not answer ({error}); is Redis running?"
            raise LaunchError(message) from error
    return frozenset(str(queue["name"]) for queues in answers.values() for queue in queues)


def _client(url: str) -> redis.Redis:
    import redis

    plain = url.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(plain, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid():
        message = f"{folder} belongs to somebody else; remove it"
        raise LaunchError(message)
    folder.chmod(0o700)
