"""The stack of a trial: deployed on a lab's nodes, with simulated microscopes on shares that single nodes mount."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.swarm import image
from tests.swarm.lab import SWITCH, Lab, Node, run

from cryodaq.launch.swarm.secrets import make_secrets
from cryodaq.simulator.optics import ImagingConditions

PYTHON = image.REPOSITORY / ".venv/bin/python"
ACCOUNT = 4200
EXPERIMENT = "20260101-CS0"
STACK = "cq"
TEMS = ("tem1", "tem2")
FRAMES = 16
"""Of every movie: operators say so once a sample."""
ASK = Path(__file__).with_name("ask.py").read_text()
LOOK_S = 2.0
LIMIT_S = 900.0
"""For all movies of a step, whatever was done to the stack."""


class Trial:
    """A deployed stack; what it needs is on disk, so that another process may go on with it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.folder = lab.folder
        self.begun = time.monotonic()

    @property
    def first(self) -> Node:
        """The node of the services."""
        return self.lab.nodes[0]

    @property
    def manager(self) -> Node:
        """A node whose engine answers, to ask about the swarm."""
        return next((node for node in self.lab.nodes if node.is_up()), self.first)

    def say(self, text: str) -> None:
        """Print what happens, and when."""
        print(f"{time.monotonic() - self.begun:6.0f} s  {text}", flush=True)

    def prepare_nodes(self) -> None:
        """Make folders, labels and shares: services on the first node, microscopes and computing on the others."""
        for name in ("state", "storage", "dags", "backups", "postgres", "redis"):
            (self.folder / name).mkdir(exist_ok=True)
            if name in {"state", "storage", "dags", "backups"}:
                os.chown(self.folder / name, ACCOUNT, ACCOUNT)
        for tem in TEMS:
            for place in (f"share-{tem}", f"share-{tem}-gainrefs", f"mnt/{tem}", f"mnt/{tem}-gainrefs"):
                (self.folder / place).mkdir(parents=True, exist_ok=True)
        labels = {1: ["services", "postgres", "redis"], 2: [*TEMS, "cpu"], 3: [*TEMS, "cpu"]}
        for node in self.lab.nodes:
            added = [word for label in labels.get(node.number, ["cpu"]) for word in _label(label)]
            self.first.docker("node", "update", *added, node.name)
            self.mount_all(node)

    def mount_all(self, node: Node) -> None:
        """Mount every microscope's share and gain references on a node, as its /etc/fstab would."""
        for share in (f"{tem}{kind}" for tem in TEMS for kind in ("", "-gainrefs")):
            self.mount(node, share)

    def mount(self, node: Node, share: str) -> None:
        """Mount a microscope's share on a node."""
        node.inside("mount", "--bind", str(self.folder / f"share-{share}"), str(self.folder / "mnt" / share))

    def unmount(self, node: Node, tem: str) -> None:
        """Take a microscope's share away from a node."""
        node.inside("umount", "--lazy", str(self.folder / "mnt" / tem))

    def write_settings(self) -> None:
        """Write facility file, secrets, stack and env file."""
        tables = "".join(
            f'[[microscopes]]\nname = "{tem}"\ninstrument = "{tem.upper()}"\nwindow_s = 60\n'
            "voltage_kv = 300\ncs_mm = 2.7\n"
            f'shares = [{{ root = "{self.folder}/mnt/{tem}" }}]\ngain_root = "{self.folder}/mnt/{tem}-gainrefs"\n'
            for tem in TEMS
        )
        (self.folder / "facility.toml").write_text(
            f'[storage]\nroot = "{self.folder}/storage"\ndag_folder = "{self.folder}/dags"\n'
            "processing_floor = 0\ncopying_floor = 0\n"
            '[database]\nurl_file = "/run/secrets/database_url"\n'
            '[elogbook]\nurl = "http://elogbook:8081"\ntoken_file = "/run/secrets/elogbook_token"\n'
            '[airflow]\nexecutor = "celery"\nurl = "http://airflow-api:8082"\n'
            'password_file = "/run/secrets/airflow_password"\nbroker_url_file = "/run/secrets/broker_url"\n'
            f'[maintenance]\nbackup_folder = "{self.folder}/backups"\n[pools]\ncompute_slots = 2\n{tables}'
        )
        for path in make_secrets(self.folder / "secrets", postgres="postgres:5432", redis="redis:6379"):
            self.first.docker("secret", "create", f"cryodaq_{path.name}", str(path))
        self.render("stack.yml")
        values = {"CRYODAQ_IMAGE": image.IMAGE, "CRYODAQ_POSTGRES_IMAGE": image.BASE, "CRYODAQ_REDIS_IMAGE": image.BASE}
        values |= dict.fromkeys(("CRYODAQ_UID", "CRYODAQ_GID"), str(ACCOUNT))
        values |= {"CRYODAQ_STATE": f"{self.folder}/state", "CRYODAQ_FACILITY": f"{self.folder}/facility.toml"}
        values |= {"CRYODAQ_POSTGRES_DATA": f"{self.folder}/postgres", "CRYODAQ_REDIS_DATA": f"{self.folder}/redis"}
        values |= {"CRYODAQ_WEB_PORT": "8080", "CRYODAQ_ELOGBOOK_PORT": "8081", "CRYODAQ_AIRFLOW_PORT": "8082"}
        values |= {"CRYODAQ_AIRFLOW_URL": f"http://{self.first.address}:8082", "CRYODAQ_TRANSFER_MEMORY": "3G"}
        values |= {"CRYODAQ_CPU_SLOTS": "1", "CRYODAQ_CPU_MEMORY": "4G"}
        (self.folder / "site.json").write_text(json.dumps(values, indent=2))

    def render(self, file: str, *words: str) -> None:
        """Write a stack of the facility file."""
        render = [str(PYTHON), "-m", "cryodaq", "deploy", "render", "--config", str(self.folder / "facility.toml")]
        (self.folder / file).write_text(run([*render, *words]))

    def deploy(self, file: str = "stack.yml", **changed: str) -> None:
        """Deploy a stack, with some values of the env file changed from now on; services that it lacks are stopped."""
        place = self.folder / "site.json"
        values = {**json.loads(place.read_text()), **changed}
        place.write_text(json.dumps(values, indent=2))
        command = ["docker", "-H", f"unix://{self.manager.folder}/s", "stack", "deploy", "--resolve-image", "never"]
        command += ["--detach=true", "--prune", "-c", file, STACK]
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, **values}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)

    def wait(self, claim: str, limit_s: float, holds: Callable[[], bool]) -> float:
        """Wait until a claim holds; return the seconds that it took. Raises `RuntimeError`."""
        begun = time.monotonic()
        while True:
            asked = time.monotonic()
            try:
                if holds():
                    self.say(f"{claim} ({time.monotonic() - begun:.0f} s)")
                    return time.monotonic() - begun
                last = "no"
            except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                last = str(error)
            if time.monotonic() - begun > limit_s:
                message = f"not within {limit_s:.0f} s: {claim} ({last})"
                raise RuntimeError(message)
            time.sleep(max(LOOK_S, time.monotonic() - asked))  # asking takes what the nodes need on a busy machine

    def containers(self, service: str) -> list[tuple[Node, str]]:
        """Return where containers of a service run, and their ids; nodes that do not answer have none."""
        found = []
        for node in self.lab.nodes:
            ids = node.docker("ps", "-q", "-f", f"name={STACK}_{service}.", check=False).split()
            found += [(node, container) for container in ids]
        return found

    def container(self, service: str) -> tuple[Node, str]:
        """Return the first of them. Raises `RuntimeError` while there is none."""
        found = self.containers(service)
        if not found:
            message = f"{service} runs nowhere"
            raise RuntimeError(message)
        return found[0]

    def said(self, service: str) -> str:
        """Return what a service's containers printed, those that ended too."""
        ended = ("ps", "--all", "-q", "-f", f"name={STACK}_{service}.")
        pairs = [(node, name) for node in self.lab.nodes for name in node.docker(*ended, check=False).split()]
        return "\n".join(node.docker("logs", name, check=False) for node, name in pairs)

    def ask(self, question: str, *more: str) -> object:
        """Ask the ledger, from within the container of the pages."""
        node, container = self.container("web")
        answer = node.docker("exec", container, "python3", "-c", ASK, question, *more, timeout_s=300)
        return json.loads(answer.splitlines()[-1])

    def back_up(self) -> Path:
        """Have the stack write a backup; return the file."""
        node, container = self.container("worker-cpu")
        said = node.docker("exec", container, "cryodaq", "backup")
        self.say(said.strip())
        return Path(said.partition(": ")[0])

    def kill(self, service: str) -> None:
        """Kill all of a service's containers as a crash would."""
        for node, container in self.containers(service):
            node.docker("kill", "--signal", "KILL", container)
            self.say(f"killed {service} on {node.name}")

    def begin_sessions(self) -> None:
        """Make a sample current on each microscope."""
        token = (self.folder / "state/secrets/operator-token").read_text().strip()
        url = f"http://{self.first.address}:8081"
        for tem in TEMS:
            names = [tem.upper(), f"{EXPERIMENT}{tem[-1]}", str(FRAMES)]
            operate = [str(PYTHON), "-m", "tests.swarm.operate", url, token, *names]
            run(["nsenter", f"--net=/var/run/netns/{SWITCH}", *operate])

    def collect(self, movies: int, *, shape: str = "256x256", interval_s: int = 8) -> None:
        """Have both microscopes take more movies of their sessions, beside what happens next."""
        for tem in TEMS:
            self._expose(tem, "--shape", shape, "--movies", str(movies), "--interval-s", str(interval_s))
        self.say(f"both microscopes take {movies} movies more")

    def send(self, tem: str, movie: Path, *, gain: Path) -> None:
        """Have a microscope send an existing movie, as if it had just been taken."""
        known = ImagingConditions()
        words = ["--from", str(movie), "--gain", str(gain), "--movies", "1", "--write-time-s", "2"]
        words += ["--pixel-size-ang", str(known.pixel_size_ang), "--cs-mm", str(known.cs_mm)]
        words += ["--dose-per-frame-e-ang2", str(known.dose_per_frame_e_ang2), "--voltage-kv", str(known.voltage_kv)]
        self._expose(tem, *words)

    def _expose(self, tem: str, *words: str) -> None:
        camera = [str(PYTHON), "-m", "cryodaq", "simulate", str(self.folder / f"share-{tem}"), "--seed", tem[-1]]
        camera += ["--frames", str(FRAMES), "--session", f"session-{tem}", *words]
        with (self.folder / f"camera-{tem}.log").open("ab") as log:
            process = subprocess.Popen(camera, stdout=log, stderr=log, cwd=image.REPOSITORY, start_new_session=True)
        (self.folder / f"camera-{tem}.pid").write_text(str(process.pid))

    def cameras(self) -> list[int]:
        """Return the process ids of cameras that still take movies."""
        pids = [int(path.read_text()) for path in self.folder.glob("camera-*.pid")]
        return [pid for pid in pids if _runs(pid)]

    def taken(self) -> int:
        """Return how many movies the cameras took."""
        return sum(1 for tem in TEMS for _ in (self.folder / f"share-{tem}-truth").rglob("*.json"))

    def published(self) -> int:
        """Return how many movies are published."""
        return int(str(dict(self.ask("counts")).get("published", 0)))  # type: ignore[call-overload]  # JSON

    def settle(self, what: str) -> float:
        """Wait until every movie taken so far is published; return the seconds that it took."""

        def all_are() -> bool:
            return not self.cameras() and self.published() >= self.taken()

        took_s = self.wait(f"{what}, and all movies are published", LIMIT_S, all_are)
        self.say(f"{self.taken()} movies so far")
        return took_s

    def rest(self, *, pause: bool) -> None:
        """Freeze all containers, or let them go on."""
        for node in self.lab.nodes:
            status = "running" if pause else "paused"
            if ids := node.docker("ps", "-q", "-f", f"status={status}").split():
                node.docker("pause" if pause else "unpause", *ids, check=False)

    def remove(self) -> None:
        """Take cameras and stack down."""
        for pid in self.cameras():
            os.kill(pid, signal.SIGKILL)
        self.manager.docker("stack", "rm", STACK, check=False)
        time.sleep(10)

    def keep_logs(self) -> None:
        """Write what every container said, those that ended too, beside the lab."""
        target = self.folder.parent / "logs"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for node in self.lab.nodes:
            for line in node.docker(
                "ps", "--all", "--format", "{{.ID}} {{.Names}} {{.Status}}", check=False
            ).splitlines():
                container, name, status = line.split(maxsplit=2)
                said = subprocess.run(
                    ["docker", "-H", f"unix://{node.folder}/s", "logs", "--tail", "400", container],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
                (target / f"{name} on {node.name}.log").write_bytes(f"{status}\n".encode() + said.stdout)
        self.say(f"what the containers said is in {target}")


def _label(name: str) -> list[str]:
    return ["--label-add", f"cryodaq.{name}=true"]


def _runs(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # of an earlier trial
        return Path(f"/proc/{pid}").exists()
