"""Docker engines on one machine as the nodes of a swarm, each with its own network, host name and mounts.

A bridge in a namespace of its own joins them, so nothing is added to the machine's own network. A node's mounts are its
own, which is what the CIFS mount of a microscope's share is to a node of a facility. Engines outlive the process that
started them, so that a trial may go on where another one ended.
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
STOP_S = 40.0


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

    def engine_command(self) -> list[str]:
        """Return the command that starts its engine."""
        places = [f"--{what}={self.folder}/{place}" for what, place in (("data-root", "data"), ("exec-root", "exec"))]
        engine = ["dockerd", *places, f"--pidfile={self.folder}/pid", "-H", f"unix://{self.folder}/s"]
        return [*engine, "--exec-opt", "native.cgroupdriver=cgroupfs", "--shutdown-timeout", "5"]

    @property
    def engine_pid(self) -> int:
        """Process id of its engine."""
        return int((self.folder / "pid").read_text())

    def is_up(self) -> bool:
        """Whether its engine answers."""
        command = ["docker", "-H", f"unix://{self.folder}/s", "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def wait_until_up(self, limit_s: float) -> None:
        """Wait for its engine. Raises `RuntimeError`."""
        deadline = time.monotonic() + limit_s
        while not self.is_up():
            if time.monotonic() > deadline:
                message = f"the engine of {self.name} did not start; see {self.folder}/log"
                raise RuntimeError(message)
            time.sleep(0.2)


class Lab:
    """Some nodes below a folder."""

    def __init__(self, folder: Path, *, nodes: int) -> None:
        self.folder = folder
        self.nodes = [Node(number, folder / f"n{number}") for number in range(1, nodes + 1)]

    def stands(self) -> bool:
        """Whether all engines answer."""
        return all(node.is_up() for node in self.nodes)

    def make(self) -> None:
        """Make the network; each node's folder may hold images already."""
        (self.folder / "mnt").mkdir(parents=True, exist_ok=True)
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")  # pulls fail at once instead of after 40 s
        run(["ip", "netns", "add", SWITCH])
        for words in ("link set lo up", "link add br0 type bridge", "link set br0 up", "addr add 10.77.1.1/24 dev br0"):
            run(["ip", "-n", SWITCH, *words.split()])
        for node in self.nodes:
            self._wire(node)
            self.start(node)
        for node in self.nodes:
            node.wait_until_up(START_S)

    @staticmethod
    def _wire(node: Node) -> None:
        node.folder.mkdir(parents=True, exist_ok=True)
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

    def start(self, node: Node) -> None:
        """Start a node's engine, with mounts of its own."""
        (node.folder / "pid").unlink(missing_ok=True)
        script = (
            f"hostname {node.name}; mount --bind {self.folder}/resolv.conf /etc/resolv.conf; "
            "mount --make-rshared /; "  # as systemd leaves it on a node; else nothing can be bound as rslave
            f"exec {' '.join(node.engine_command())}"
        )
        inside = ["unshare", "--uts", "--mount", "--propagation", "slave", "sh", "-c", script]
        with (node.folder / "log").open("ab") as log:
            subprocess.Popen(
                ["nsenter", f"--net=/var/run/netns/{node.space}", *inside],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def crash(self, node: Node) -> None:
        """Kill a node's engine and all that it runs, as a power cut does."""
        containers = node.docker("ps", "-q", "--no-trunc").split()
        pids = node.docker("inspect", "--format", "{{.State.Pid}}", *containers).split() if containers else []
        helpers = run(["pgrep", "-f", f"{node.folder}/exec"], check=False).split()
        for pid in [str(node.engine_pid), *helpers, *pids]:
            if pid != "0":
                run(["kill", "-9", pid], check=False)

    def remove(self) -> None:
        """End all engines; leave no process, namespace or mount behind."""
        for node in self.nodes:
            if (node.folder / "pid").exists():
                run(["kill", "-TERM", str(node.engine_pid)], check=False)
        deadline = time.monotonic() + STOP_S
        while any((node.folder / "pid").exists() for node in self.nodes) and time.monotonic() < deadline:
            time.sleep(0.2)
        for pid in run(["pgrep", "-f", f"{self.folder}/n[0-9]/exec"], check=False).split():
            os.kill(int(pid), signal.SIGKILL)
        for line in run(["ip", "netns", "list"], check=False).splitlines():
            if line.startswith("cqlab-"):
                run(["ip", "netns", "del", line.split()[0]], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def form_swarm(self) -> None:
        """Make every node a manager of one swarm."""
        first, *others = self.nodes
        first.docker("swarm", "init", "--advertise-addr", first.address)
        token = first.docker("swarm", "join-token", "-q", "manager").strip()
        for node in others:
            node.docker("swarm", "join", "--token", token, f"{first.address}:2377")

    def leader(self) -> Node | None:
        """Return the manager that leads; None while none does."""
        for asked in self.nodes:
            told = asked.docker("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}", check=False)
            for line in told.splitlines():
                name, _, status = line.partition(" ")
                if status == "Leader":
                    return next(node for node in self.nodes if node.name == name)
        return None

    def cut_off(self, node: Node) -> None:
        """Take a node off the network."""
        run(["ip", "-n", SWITCH, "link", "set", f"p{node.number}", "down"])

    def join_again(self, node: Node) -> None:
        """Put a node back on the network."""
        run(["ip", "-n", SWITCH, "link", "set", f"p{node.number}", "up"])
