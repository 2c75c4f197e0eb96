"""The real stack on a swarm of engines on this machine: collects, is hurt in many ways, loses and doubles nothing."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.swarm import image
from tests.swarm.lab import SWITCH, Lab, Node, run, why_not

from cryodaq.launch.swarm.secrets import make_secrets
from cryodaq.launch.system import ended_by_sigterm

PYTHON = image.REPOSITORY / ".venv/bin/python"
ACCOUNT = 4200
EXPERIMENT = "20260101-CS01"
STACK = "cq"
ASK = Path(__file__).with_name("ask.py").read_text()


class Trial:
    """A deployed stack with two simulated microscopes."""

    def __init__(self, lab: Lab, *, movies: int) -> None:
        self.lab, self.movies = lab, movies
        self.folder = lab.folder
        self.cameras: list[subprocess.Popen[bytes]] = []
        self.begun = time.monotonic()

    @property
    def first(self) -> Node:
        """The node of the services."""
        return self.lab.nodes[0]

    def say(self, text: str) -> None:
        """Print what happens, and when."""
        print(f"{time.monotonic() - self.begun:6.0f} s  {text}", flush=True)

    def prepare_nodes(self) -> None:
        """Make folders, labels and shares: services on the first node, microscopes and computing on the others."""
        for name in ("state", "storage", "dags", "postgres", "redis"):
            (self.folder / name).mkdir(exist_ok=True)
            if name in {"state", "storage", "dags"}:
                os.chown(self.folder / name, ACCOUNT, ACCOUNT)
        for tem in ("tem1", "tem2"):
            for place in (f"share-{tem}", f"mnt/{tem}", f"mnt/{tem}-gainrefs"):
                (self.folder / place).mkdir(parents=True, exist_ok=True)
        labels = {1: ["services", "postgres", "redis"], 2: ["tem1", "tem2", "cpu"], 3: ["tem2", "tem1", "cpu"]}
        for node in self.lab.nodes:
            for label in labels.get(node.number, ["cpu"]):
                self.first.docker("node", "update", "--label-add", f"cryodaq.{label}=true", node.name)
            for tem in ("tem1", "tem2"):
                self.mount(node, tem)

    def mount(self, node: Node, tem: str) -> None:
        """Mount a microscope's share on a node."""
        node.inside("mount", "--bind", str(self.folder / f"share-{tem}"), str(self.folder / "mnt" / tem))

    def unmount(self, node: Node, tem: str) -> None:
        """Take a microscope's share away from a node."""
        node.inside("umount", "--lazy", str(self.folder / "mnt" / tem))

    def write_settings(self) -> dict[str, str]:
        """Write facility file, secrets and stack; return the env file's values."""
        tables = "".join(
            f'[[microscopes]]\nname = "{tem}"\ninstrument = "{tem.upper()}"\nwindow_s = 30\n'
            f'shares = [{{ root = "{self.folder}/mnt/{tem}" }}]\ngain_root = "{self.folder}/mnt/{tem}-gainrefs"\n'
            for tem in ("tem1", "tem2")
        )
        (self.folder / "facility.toml").write_text(
            f'[storage]\nroot = "{self.folder}/storage"\ndag_folder = "{self.folder}/dags"\n'
            "processing_floor = 0\ncopying_floor = 0\n"
            '[database]\nurl_file = "/run/secrets/database_url"\n'
            '[elogbook]\nurl = "http://elogbook:8081"\ntoken_file = "/run/secrets/elogbook_token"\n'
            '[airflow]\nexecutor = "celery"\nurl = "http://airflow-api:8082"\n'
            'password_file = "/run/secrets/airflow_password"\nbroker_url_file = "/run/secrets/broker_url"\n'
            f"[pools]\ncompute_slots = 2\n{tables}"
        )
        shutil.rmtree(self.folder / "secrets", ignore_errors=True)
        for path in make_secrets(self.folder / "secrets", postgres="postgres:5432", redis="redis:6379"):
            self.first.docker("secret", "create", f"cryodaq_{path.name}", str(path))
        render = [str(PYTHON), "-m", "cryodaq", "deploy", "render", "--config", str(self.folder / "facility.toml")]
        (self.folder / "stack.yml").write_text(run(render))
        values = dict.fromkeys(("CRYODAQ_IMAGE", "CRYODAQ_POSTGRES_IMAGE", "CRYODAQ_REDIS_IMAGE"), image.IMAGE)
        values |= dict.fromkeys(("CRYODAQ_UID", "CRYODAQ_GID"), str(ACCOUNT))
        values |= {"CRYODAQ_STATE": f"{self.folder}/state", "CRYODAQ_FACILITY": f"{self.folder}/facility.toml"}
        values |= {"CRYODAQ_POSTGRES_DATA": f"{self.folder}/postgres", "CRYODAQ_REDIS_DATA": f"{self.folder}/redis"}
        values |= {"CRYODAQ_WEB_PORT": "8080", "CRYODAQ_ELOGBOOK_PORT": "8081", "CRYODAQ_AIRFLOW_PORT": "8082"}
        values |= {"CRYODAQ_AIRFLOW_URL": f"http://{self.first.address}:8082", "CRYODAQ_TRANSFER_MEMORY": "3G"}
        return values | {"CRYODAQ_CPU_SLOTS": "2", "CRYODAQ_CPU_MEMORY": "4G"}

    def deploy(self) -> None:
        """Deploy the stack and wait until its preparation has ended."""
        settings = {**os.environ, **self.write_settings()}
        command = ["docker", "-H", f"unix://{self.first.folder}/s", "stack", "deploy", "--resolve-image", "never"]
        done = subprocess.run(
            [*command, "-c", "stack.yml", STACK],
            cwd=self.folder,
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        self.wait("the stack is prepared", 1500, lambda: "prepared" in self.logs("prepare"))
        self.wait("the microscopes are followed", 400, lambda: self.ask("following") == ["tem1", "tem2"])

    def logs(self, service: str) -> str:
        """Return what a service printed."""
        return self.first.docker("service", "logs", "--raw", f"{STACK}_{service}", check=False)

    def wait(self, claim: str, limit_s: float, holds: Callable[[], bool]) -> None:
        """Wait until a claim holds. Raises `RuntimeError`."""
        deadline = time.monotonic() + limit_s
        while True:
            try:
                if holds():
                    self.say(claim)
                    return
            except (RuntimeError, ValueError) as error:
                last = str(error)
            else:
                last = "no"
            if time.monotonic() > deadline:
                message = f"not within {limit_s:.0f} s: {claim} ({last})"
                raise RuntimeError(message)
            time.sleep(2)

    def container(self, service: str) -> tuple[Node, str]:
        """Return where a service's container runs, and its id. Raises `RuntimeError` while it does not."""
        for node in self.lab.nodes:
            found = node.docker("ps", "-q", "-f", f"name={STACK}_{service}.", check=False).split()
            if found:
                return node, found[0]
        message = f"{service} runs nowhere"
        raise RuntimeError(message)

    def ask(self, question: str) -> object:
        """Ask the ledger, from within the container of the pages."""
        node, container = self.container("web")
        answer = node.docker("exec", container, "python3", "-c", ASK, question, timeout_s=120)
        return json.loads(answer.splitlines()[-1])

    def kill(self, service: str, *, first: Callable[[], None] = lambda: None) -> None:
        """Kill a service's container as a crash would."""
        node, container = self.container(service)
        first()
        node.docker("kill", "--signal", "KILL", container)
        self.say(f"killed {service} on {node.name}")

    def begin_sessions(self) -> None:
        """Make a sample current on each microscope and start their cameras."""
        token = (self.folder / "state/secrets/operator-token").read_text().strip()
        for tem in ("tem1", "tem2"):
            experiment = f"{EXPERIMENT[:-1]}{tem[-1]}"
            url = f"http://{self.first.address}:8081"
            operate = [str(PYTHON), "-m", "tests.swarm.operate", url, token, tem.upper(), experiment]
            run(["nsenter", f"--net=/var/run/netns/{SWITCH}", *operate])
            camera = [str(PYTHON), "-m", "cryodaq", "simulate", str(self.folder / f"share-{tem}"), "--shape", "512x512"]
            camera += ["--frames", "6", "--movies", str(self.movies), "--interval-s", "12", "--seed", tem[-1]]
            self.cameras.append(subprocess.Popen(camera, stdout=subprocess.DEVNULL, cwd=image.REPOSITORY))
        self.say("both microscopes collect")

    def published(self) -> int:
        """Return how many movies are published."""
        return int(str(dict(self.ask("counts")).get("published", 0)))  # type: ignore[call-overload]  # JSON

    def hurt(self) -> None:
        """Do, one after the other and while movies come, what happens to a facility in a bad year."""
        self.wait("a stage runs", 400, lambda: bool(self.ask("running")))
        self.kill("worker-cpu")
        self.kill("airflow-scheduler")
        self._after_each("scheduler and worker were killed")
        self.kill("postgres")
        self._after_each("PostgreSQL was killed")
        self.kill("redis", first=lambda: shutil.rmtree(self.folder / "redis/appendonlydir", ignore_errors=True))
        self._after_each("Redis was killed and lost its content")
        node, _ = self.container("worker-tem1")
        self.unmount(node, "tem1")
        self.say(f"unmounted tem1 on {node.name}")
        time.sleep(20)
        self.mount(node, "tem1")
        self._after_each("a share was mounted again")
        node, _ = self.container("worker-tem2")
        self.lab.cut_off(node)
        self.say(f"cut off {node.name}, which transfers tem2")
        time.sleep(60)
        self.lab.join_again(node)
        self._after_each("a node was cut off")
        for name in ("worker-tem1", "worker-tem2", "worker-cpu", "web"):
            self.first.docker("service", "update", "--detach", "--force", "--quiet", f"{STACK}_{name}")
        self._after_each("services were replaced, as an upgrade does")

    def _after_each(self, what: str) -> None:
        before: list[int] = []

        def goes_on() -> bool:
            now = self.published()
            before.append(now)
            return now > before[0] or now == 2 * self.movies

        self.wait(f"{what}, and movies are published again", 500, goes_on)

    def judge(self) -> bool:
        """Wait for the last movie; return whether each was copied once, processed once and published once."""
        for camera in self.cameras:
            camera.wait(3600)
        self.wait("every movie is published", 1500, lambda: self.published() >= 2 * self.movies)
        self.wait("every copy is verified", 600, lambda: self.ask("unverified") == 0)
        found = self.ask("verdict")
        print(json.dumps({"movies": 2 * self.movies, **dict(found)}, indent=2))  # type: ignore[call-overload]  # JSON
        return found == {"published": 2 * self.movies, "not once": [], "star rows": 2 * self.movies, "short": []}


def main() -> int:
    """Run the trial; status 0 when nothing was lost or doubled, and when no engine can run here, which is said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, help="engines, 3 to 5")
    parser.add_argument("--movies", type=int, default=40, help="of each of the two microscopes")
    parser.add_argument("--no-faults", action="store_true", help="only collect")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/cryodaq-swarm"), help="keeps the image's files")  # noqa: S108
    options = parser.parse_args()
    if (why := why_not()) is not None:
        print(f"SKIPPED: the swarm test did not run: {why}", file=sys.stderr)
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    rootfs = image.make_rootfs(options.folder)
    lab_folder = options.folder / "lab"
    shutil.rmtree(lab_folder, ignore_errors=True)
    with ended_by_sigterm(), Lab(lab_folder, nodes=options.nodes) as lab:
        trial = Trial(lab, movies=options.movies)
        image.load(rootfs, lab.nodes)
        trial.say("every node has the image")
        lab.form_swarm()
        trial.prepare_nodes()
        good = _try(trial, hurt=not options.no_faults)
    print("PASSED: every movie was copied once, processed once, published once" if good else "FAILED")
    return 0 if good else 1


def _try(trial: Trial, *, hurt: bool) -> bool:
    """Deploy, collect and judge; what the services said is kept when something goes wrong, and all is taken down."""
    good = False
    try:
        trial.deploy()
        trial.begin_sessions()
        if hurt:
            trial.hurt()
        good = trial.judge()
    finally:
        if not good:
            _keep_logs(trial)
        for camera in trial.cameras:
            camera.kill()
            camera.wait()
        trial.first.docker("stack", "rm", STACK, check=False)
        time.sleep(10)
    return good


def _keep_logs(trial: Trial) -> None:
    """Write what every container said, those that ended too, beside the lab."""
    target = trial.folder.parent / "logs"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for node in trial.lab.nodes:
        for line in node.docker("ps", "--all", "--format", "{{.ID}} {{.Names}} {{.Status}}", check=False).splitlines():
            container, name, status = line.split(maxsplit=2)
            said = subprocess.run(
                ["docker", "-H", f"unix://{node.folder}/s", "logs", "--tail", "400", container],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            (target / f"{name} on {node.name}.log").write_bytes(f"{status}\n".encode() + said.stdout)
    trial.say(f"what the containers said is in {target}")


if __name__ == "__main__":
    sys.exit(main())
