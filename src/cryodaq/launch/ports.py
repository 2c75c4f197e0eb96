"""Loopback ports: whether they are free, and whether somebody answers on them."""

from __future__ import annotations

import socket

from cryodaq.errors import LaunchError

LOOPBACK = "127.0.0.1"
LARGEST_PORT = 65535
ANSWER_S = 5.0


def is_free(port: int) -> bool:
    """Whether a server could listen on a loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(name: str, port: int) -> None:
    """Raise `LaunchError` when a port is taken."""
    if not is_free(port):
        message = f"port {port} is taken by another program; stop it, or give [ports] {name} another number"
        raise LaunchError(message)


def next_free(port: int, *, avoid: frozenset[int] = frozenset()) -> int:
    """Return the first free port from `port` on. Raises `LaunchError` when there is none."""
    for candidate in range(port, LARGEST_PORT + 1):
        if candidate not in avoid and is_free(candidate):
            return candidate
    message = f"no port from {port} on is free"
    raise LaunchError(message)


def answers_http(port: int, *, path: str = "/") -> bool:
    """Whether a web server answers on a port with anything but an error of its own."""
    import httpx

    try:
        answer = httpx.get(f"http://{LOOPBACK}:{port}{path}", timeout=ANSWER_S, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code < 500
