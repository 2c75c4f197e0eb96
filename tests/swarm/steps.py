"""What happens to a facility in a bad year, one after the other, while movies come."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.swarm import image
from tests.swarm.trial import EXPERIMENT, FRAMES, LIMIT_S, Trial

AWAY_S = 40.0
"""How long a node, a share or a leader is away."""
Step = Callable[[Trial], None]


def start(trial: Trial) -> None:
    """Deploy the stack, and wait until it follows the elogbook."""
    trial.write_settings()
    trial.deploy()
    trial.wait("tables, DAG files and accounts are there", 600, (trial.folder / "state" / "prepared").exists)
    trial.wait("pages answer", 300, lambda: trial.ask("counts") == {})
    trial.wait("Airflow answers and has its pools", 600, lambda: not trial.containers("prepare"))
    trial.wait("the microscopes are followed", 400, lambda: trial.ask("following") == ["tem1", "tem2"])


def collect(trial: Trial) -> None:
    """Collect a few movies in peace."""
    trial.begin_sessions()
    trial.collect(3)
    trial.settle("a first session")


def worker(trial: Trial) -> None:
    """Kill the workers while one of them aligns a movie."""
    trial.collect(1, shape="2048x2048")
    if not trial.ask("aligning", "300"):
        raise RuntimeError("no movie was aligned")
    trial.kill("worker-cpu")
    trial.settle("workers died in the middle of a movie")


def scheduler(trial: Trial) -> None:
    """Kill the scheduler."""
    trial.collect(2)
    trial.kill("airflow-scheduler")
    trial.settle("the scheduler was killed")


def cut(trial: Trial) -> None:
    """Cut a node off while it copies a large movie; freeze its transfer, and wake it after another node took over."""
    before = _lease(trial)
    movie, gain = _write_large_movie(trial.folder)
    node, container = trial.container("worker-tem2")
    trial.send("tem2", movie, gain=gain)
    if not trial.ask("copying", "120"):
        raise RuntimeError("no movie was copied")
    node.docker("pause", container)
    trial.lab.cut_off(node)
    trial.say(f"cut off {node.name}, which copies for tem2")
    trial.collect(1)
    trial.wait("another node transfers", LIMIT_S, lambda: _lease(trial)[0] > before[0] and _lease(trial) != before)
    trial.lab.join_again(node)
    node.docker("unpause", container, check=False)
    trial.settle("a node was cut off while it copied, and woke up later")


def leader(trial: Trial) -> None:
    """Crash the node that leads the swarm, with all that it runs, and start it again."""
    trial.collect(2)
    # a node that was cut off comes back with a later term, and half a minute of elections goes by
    trial.wait("a manager leads", 120, lambda: trial.lab.leader() is not None)
    leads = trial.lab.leader()
    if leads is None:
        raise RuntimeError("no manager leads for longer than a moment")
    trial.lab.crash(leads)
    trial.say(f"crashed {leads.name}, which led the swarm")
    trial.wait("another manager leads", 120, lambda: trial.lab.leader() not in {None, leads})
    trial.lab.start(leads)
    leads.wait_until_up(60)
    trial.mount_all(leads)
    trial.settle("the leader crashed and came back")


def postgres(trial: Trial) -> None:
    """Kill PostgreSQL."""
    trial.collect(2)
    trial.kill("postgres")
    trial.settle("PostgreSQL was killed")


def redis(trial: Trial) -> None:
    """Kill Redis."""
    trial.collect(2)
    trial.kill("redis")
    trial.settle("Redis was killed")


def empty(trial: Trial) -> None:
    """Kill Redis and lose its content."""
    trial.collect(2)
    place = trial.folder / "redis" / "appendonlydir"
    place.rename(place.with_name("lost"))  # what it writes until it dies goes there
    trial.kill("redis")
    shutil.rmtree(place.with_name("lost"))
    trial.settle("Redis lost its content")


def share(trial: Trial) -> None:
    """Unmount a share under its microscope, and mount it again."""
    node, _ = trial.container("worker-tem1")
    trial.collect(2)
    trial.unmount(node, "tem1")
    trial.say(f"unmounted tem1 on {node.name}")
    time.sleep(AWAY_S)
    trial.mount(node, "tem1")
    trial.settle("a share was unmounted and mounted again")


def edit(trial: Trial) -> None:
    """Break one sample's DAG file by hand, and repair it."""
    place = max((trial.folder / "dags").glob(f"{EXPERIMENT}1_*.py"), key=lambda path: path.stat().st_mtime)
    good = place.read_text()
    place.write_text(f"{good}\nthis is no Python\n")
    trial.collect(2)
    trial.wait("an alarm names the file", LIMIT_S, lambda: _is_told(trial, place.name))
    place.write_text(good)
    trial.settle("a DAG file was broken and repaired")
    trial.wait("the alarm is over", LIMIT_S, lambda: not _is_told(trial, place.name))


def _is_told(trial: Trial, words: str) -> bool:
    alarms = trial.ask("open alarms")
    return isinstance(alarms, list) and any(words in str(text) for text in alarms)


def upgrade(trial: Trial) -> None:
    """Back up, and deploy a release with other tables while movies come."""
    backup = trial.back_up()
    (trial.folder / "backup").write_text(str(backup))
    trial.collect(4)
    begun = time.monotonic()
    trial.deploy(CRYODAQ_IMAGE=image.NEXT_IMAGE)
    _all_run(trial, image.NEXT_IMAGE)
    trial.wait("the tables are the later release's", LIMIT_S, lambda: trial.ask("tables") == [image.revisions()[1]])
    trial.say(f"the upgrade took {time.monotonic() - begun:.0f} s")
    trial.settle("the release was replaced while movies came")


def back(trial: Trial) -> None:
    """Put the backup of before the upgrade back, and the earlier release, while movies come."""
    trial.collect(4)
    begun = time.monotonic()
    trial.render("restore.yml", "--restore", (trial.folder / "backup").read_text())
    trial.deploy("restore.yml", CRYODAQ_IMAGE=image.IMAGE)
    trial.wait("the backup is restored", LIMIT_S, lambda: "restored" in trial.said("restore"))
    trial.deploy()
    _all_run(trial, image.IMAGE)
    trial.wait("the tables are the earlier release's", LIMIT_S, lambda: trial.ask("tables") == [image.revisions()[0]])
    trial.say(f"the way back took {time.monotonic() - begun:.0f} s")
    trial.settle("the earlier release is back, with the ledger of before the upgrade")


def _all_run(trial: Trial, wanted: str) -> None:
    services = ("worker-tem1", "worker-tem2", "worker-cpu", "web", "airflow-scheduler", "airflow-api")

    def all_do() -> bool:
        found = [trial.containers(service) for service in services]
        images = [
            node.docker("inspect", "--format", "{{.Config.Image}}", name).strip() for one in found for node, name in one
        ]
        return all(found) and set(images) == {wanted}

    trial.wait(f"all services run {wanted}", LIMIT_S, all_do)


def _lease(trial: Trial) -> tuple[int, str]:
    """Return epoch and holder of tem2's lease."""
    leases = {str(row[0]): (int(row[1]), str(row[2])) for row in trial.ask("leases")}  # type: ignore[attr-defined]  # JSON
    return leases["tem2"]


def _write_large_movie(folder: Path) -> tuple[Path, Path]:
    """Write counts of 270 MB, long enough under way to be cut off, and their gain."""
    import mrcfile

    movie, gain, side = folder / "large.mrc", folder / "large-gain.mrc", 4096
    frame = np.random.default_rng(5).poisson(1.0, (side, side)).astype(np.int8)
    with mrcfile.new_mmap(movie, shape=(FRAMES, side, side), mrc_mode=0, overwrite=True) as written:
        for number in range(FRAMES):
            written.data[number] = np.roll(frame, number, axis=0)
    with mrcfile.new(gain, overwrite=True) as written:
        written.set_data(np.ones((side, side), np.float32))
    return movie, gain


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (start, collect, worker, scheduler, cut, leader, postgres, redis, empty, share, edit, upgrade, back)
}
