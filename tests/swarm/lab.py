"""Docker engines on one machine as the nodes of a swarm, each with its own network, host name and mounts.

A bridge in a namespace of its own joins them, so nothing is added to the machine's own network. A node's mounts are its
own, which is what the CIFS mount of a microscope's share is to a node of a facility.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SWITCH = "cqlab-sw"
NEEDS = ("dockerd", "docker", "debootstrap", "ip", "nsenter", "unshare", "iptables")
START_S = 60.0


def why_not() -> str | None:
    """Say why no engine can run here, or None."""
    if os.geteuid() != 0:
        return "a swarm on one machine needs root"
    missing = [name for name in NEEDS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} are missing; install Debian's docker.io, iptables, debootstrap and iproute2"
    probe = subprocess.run(["unshare", "--net", "--mount", "--uts", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "this kernel or container makes no namespaces"


def run(command: Sequence[str], *, check: bool = True, timeout_s: float = 600.0) -> str:
    """Run a command and return what it printed. Raises `RuntimeError` with its last lines."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        message = f"{' '.join(command[:6])} ... ended with status {done.returncode}:\n{lines}"
        raise RuntimeError(message)
    return done.stdout


@dataclass(frozen=True, slots=True)
class Node:
    """One engine."""

    number: int
    folder: Path

    @property
    def name(self) -> str:
        """Its host name."""
        return f"cryoem-daq{self.number:02}"

    @property
    def address(self) -> str:
        """In the lab's network."""
        return f"10.77.1.{10 + self.number}"

    @property
    def space(self) -> str:
        """Its network namespace."""
        return f"cqlab-n{self.number}"

    def docker(self, *words: str, check: bool = True, timeout_s: float = 600.0) -> str:
        """Run docker's client at this engine."""
        return run(["docker", "-H", f"unix://{self.folder}/s", *words], check=check, timeout_s=timeout_s)

    def inside(self, *words: str, check: bool = True) -> str:
        """Run a command among this node's mounts."""
        return run(["nsenter", f"--mount=/proc/{self.engine_pid}/ns/mnt", *words], check=check)

    @property
    def engine_pid(self) -> int:
        """Process id of its engine."""
        return int((self.folder / "pid").read_text())


class Lab:
    """Some nodes below a folder; a context manager that leaves no process, namespace or mount behind."""

    def __init__(self, folder: Path, *, nodes: int) -> None:
        self.folder = folder
        self.nodes = [Node(number, folder / f"n{number}") for number in range(1, nodes + 1)]
        self._engines: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Lab:
        (self.folder / "mnt").mkdir(parents=True, exist_ok=True)
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")  # pulls fail at once instead of after 40 s
        try:
            run(["ip", "netns", "add", SWITCH])
            for words in (
                "link set lo up",
                "link add br0 type bridge",
                "link set br0 up",
                "addr add 10.77.1.1/24 dev br0",
            ):
                run(["ip", "-n", SWITCH, *words.split()])
            for node in self.nodes:
                self._start(node)
            for node in self.nodes:
                self._wait(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, node: Node) -> None:
        node.folder.mkdir(parents=True, exist_ok=True)
        (node.folder / "pid").unlink(missing_ok=True)
        space, port = node.space, f"p{node.number}"
        run(["ip", "netns", "add", space])
        run(["ip", "link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", SWITCH])
        run(["ip", "-n", SWITCH, "link", "set", port, "master", "br0", "up"])
        words = (
            f"addr add {node.address}/24 dev eth0",
            "link set eth0 up",
            "link set lo up",
            "route add default via 10.77.1.1",
        )
        for one in words:
            run(["ip", "-n", space, *one.split()])
        script = (
            f"hostname {node.name}; mount --bind {self.folder}/resolv.conf /etc/resolv.conf; "
            "mount --make-rshared /; "  # as systemd leaves it on a node; else nothing can be bound as rslave
            f"exec dockerd --data-root={node.folder}/data --exec-root={node.folder}/exec --pidfile={node.folder}/pid "
            f"-H unix://{node.folder}/s --exec-opt native.cgroupdriver=cgroupfs --shutdown-timeout 5"
        )
        inside = ["unshare", "--uts", "--mount", "--propagation", "slave", "sh", "-c", script]
        with (node.folder / "log").open("ab") as log:
            engine = subprocess.Popen(
                ["nsenter", f"--net=/var/run/netns/{space}", *inside], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._engines.append(engine)

    def _wait(self, node: Node) -> None:
        deadline = time.monotonic() + START_S
        while subprocess.run(
            ["docker", "-H", f"unix://{node.folder}/s", "version"], capture_output=True, check=False
        ).returncode:
            if time.monotonic() > deadline:
                message = f"the engine of {node.name} did not start; see {node.folder}/log"
                raise RuntimeError(message)
            time.sleep(0.5)

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if (node.folder / "pid").exists():
                os.kill(node.engine_pid, signal.SIGTERM)
        for engine in self._engines:
            try:
                engine.wait(40)
            except subprocess.TimeoutExpired:
                engine.kill()
                engine.wait()
        for line in run(["ip", "netns", "list"], check=False).splitlines():
            if line.startswith("cqlab-"):
                run(["ip", "netns", "del", line.split()[0]], check=False)

    def form_swarm(self) -> None:
        """Make every node a manager of one swarm."""
        first, *others = self.nodes
        first.docker("swarm", "init", "--advertise-addr", first.address)
        token = first.docker("swarm", "join-token", "-q", "manager").strip()
        for node in others:
            node.docker("swarm", "join", "--token", token, f"{first.address}:2377")

    def cut_off(self, node: Node) -> None:
        """Take a node off the network."""
        run(["ip", "-n", SWITCH, "link", "set", f"p{node.number}", "down"])

    def join_again(self, node: Node) -> None:
        """Put a node back on the network."""
        run(["ip", "-n", SWITCH, "link", "set", f"p{node.number}", "up"])
