"""Real servers and mounts for tests, each in processes and folders of its own, all ended whatever happened."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 30.0
_SMBD = shutil.which("smbd") or "/usr/sbin/smbd"
_CONFIG = """
[global]
server role = standalone server
interfaces = 127.0.0.1
bind interfaces only = yes
smb ports = {port}
disable netbios = yes
private dir = {state}
lock directory = {state}
state directory = {state}
cache directory = {state}
pid directory = {state}
ncalrpc dir = {state}/ncalrpc
log file = {state}/log
map to guest = Bad User
guest account = root
load printers = no
disable spoolss = yes
server min protocol = SMB2
store dos attributes = no
"""
_SHARE = """
[{name}]
path = {path}
read only = no
guest ok = yes
force user = root
"""


def missing_for_mounts(*, samba: bool) -> str | None:
    """Say what this machine lacks for real mounts."""
    if os.geteuid() != 0:
        return "only root mounts here"
    if not Path("/dev/fuse").exists() or shutil.which("fusermount3") is None:
        return "there is no FUSE: install Debian's fuse3, and look for /dev/fuse"
    if samba and not Path(_SMBD).exists():
        return "there is no SMB server: install Debian's samba"
    return None


class CameraServer:
    """A real SMB server on a free port of this machine, with its shares below one folder."""

    def __init__(self, folder: Path, *shares: str) -> None:
        self.folder, self.port = folder, _free_port()
        self._state = folder / "state"
        self._state.mkdir(parents=True)
        for name in shares:
            self.share(name).mkdir()
            for sentinel in (".online", f".online-{name}"):
                (self.share(name) / sentinel).touch()
        config = _CONFIG.format(port=self.port, state=self._state)
        config += "".join(_SHARE.format(name=name, path=self.share(name)) for name in shares)
        (folder / "smb.conf").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    def share(self, name: str) -> Path:
        """Where a share's files lie on the server."""
        return self.folder / name

    def start(self) -> None:
        command = [_SMBD, "--foreground", "--no-process-group", "--configfile", str(self.folder / "smb.conf")]
        with (self.folder / "smbd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_LIMIT_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "smbd.log").read_text()
            assert time.monotonic() < deadline, "the SMB server did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def freeze(self) -> None:
        """Answer nobody any more, and close no connection."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(20)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@contextmanager
def camera_server(folder: Path, *shares: str) -> Iterator[CameraServer]:
    """A server that is thawed and ended at last."""
    server = CameraServer(folder, *shares)
    server.start()
    try:
        yield server
    finally:
        server.kill()  # a frozen one too


class Mounted:
    """A FUSE file system in a process of its own."""

    def __init__(self, folder: Path, module: str, *arguments: str) -> None:
        self.folder = folder
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._log = folder.with_name(f"{folder.name}.log")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=os.environ | {"PYTHONPATH": path, "FUSE_LIBRARY_NAME": "fuse3"},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not _is_mounted(folder):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"{folder} was not mounted: {self._log.read_text()}"
            time.sleep(0.05)

    def unmount(self) -> None:
        """End the file system: killing its process frees everybody who waits in it."""
        self._process.kill()
        self._process.wait(20)
        while _is_mounted(self.folder):
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@contextmanager
def mounted_share(server: CameraServer, share: str, folder: Path, *, listings_s: float = 0.0) -> Iterator[Mounted]:
    """A share of a server, mounted."""
    about = [str(server.port), share, str(folder), "--listings-s", str(listings_s)]
    with _mounted(folder, "tests.faults.smb_mount", *about) as made:
        yield made


@contextmanager
def failing_mount(shown: Path, faults: Path, folder: Path) -> Iterator[Mounted]:
    """A folder's files behind a file system that fails as the file `faults` says (`failing_mount.py`)."""
    with _mounted(folder, "tests.faults.failing_mount", str(shown), str(faults), str(folder)) as made:
        yield made


@contextmanager
def _mounted(folder: Path, module: str, *arguments: str) -> Iterator[Mounted]:
    folder.mkdir(exist_ok=True)
    made = Mounted(folder, module, *arguments)
    try:
        yield made
    finally:
        made.unmount()


def _is_mounted(folder: Path) -> bool:
    """Ask the kernel's table, never the file system: that may not answer."""
    return any(line.split()[4] == str(folder) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as trial:
        return int(trial.getsockname()[1])
