"""Loopback ports: whether they are free, kept until our servers listen, and whether somebody answers on them."""

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


class PortClaims:
    """Ports that this process keeps for servers that it starts later.

    Between the choice of a port and the moment a server listens there may lie half a minute, in which another system
    that starts on this machine would choose the same one. A claim is a socket in Linux' abstract namespace (unix(7)):
    like a port it belongs to the network namespace, and the kernel drops it with the process.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def require(self, name: str, port: int) -> None:
        """Claim a port, unless it is claimed here already. Raises `LaunchError` when it is taken."""
        if not self._take(port):
            message = f"port {port} is taken by another program; stop it, or give [ports] {name} another number"
            raise LaunchError(message)

    def next_free(self, port: int) -> int:
        """Claim the first free port from `port` on and return it. Raises `LaunchError` when there is none."""
        for candidate in range(port, LARGEST_PORT + 1):
            if candidate not in self._held and self._take(candidate):
                return candidate
        message = f"no port from {port} on is free"
        raise LaunchError(message)

    def release(self) -> None:
        """Give all claims back; a second call does nothing."""
        while self._held:
            self._held.popitem()[1].close()

    def _take(self, port: int) -> bool:
        if port not in self._held:
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                claim.bind(f"\0cryodaq port {port}")
            except OSError:
                claim.close()
                return False
            self._held[port] = claim
        if is_free(port):
            return True
        self._held.pop(port).close()
        return False


def answers_http(port: int, *, path: str = "/") -> bool:
    """Whether a web server answers on a port with anything but an error of its own."""
    import httpx

    try:
        answer = httpx.get(f"http://{LOOPBACK}:{port}{path}", timeout=ANSWER_S, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code < 500
