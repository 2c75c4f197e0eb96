"""The real stack on a swarm of engines on this machine: collects, is hurt in many ways, loses and doubles nothing."""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import sys
import time
from pathlib import Path

from tests.swarm import image
from tests.swarm.lab import Lab, why_not
from tests.swarm.steps import STEPS
from tests.swarm.trial import TEMS, Trial

from cryodaq.launch.system import ended_by_sigterm

FOLDER = Path("/var/tmp/cryodaq-swarm")  # noqa: S108  # keeps the image for the next time

MOST_NODES = 5


def stand_up(lab: Lab) -> None:
    """Build the image, start the engines and form the swarm."""
    trial = Trial(lab)
    trial.say(f"the image is built ({image.build(lab.folder.parent):.0f} s)")
    image.give(lab.folder.parent, lab.nodes)
    lab.make()
    lab.form_swarm()
    trial.prepare_nodes()
    trial.say(f"{len(lab.nodes)} engines are a swarm and have the image")


def judge(trial: Trial) -> bool:
    """Return whether each movie that was taken was copied, processed and published once."""
    trial.settle("at the end")
    trial.wait("every copy is verified", 900, lambda: trial.ask("unverified") == 0)
    taken, facts = trial.taken(), dict(trial.ask("verdict"))  # type: ignore[call-overload]  # JSON
    unequal = [name for tem in TEMS for name in _unequal(trial.folder, tem)]
    facts |= {"taken": taken, "unequal copies": unequal, "alarms": trial.ask("open alarms")}
    print(json.dumps(facts))
    wrong = [*facts["not once"], *facts["exported twice"], *unequal]
    return facts["published"] == facts["exported"] == taken and not wrong


def _unequal(folder: Path, tem: str) -> list[str]:
    """Return movies of a share of which storage does not hold exactly one copy, equal byte for byte."""
    copies: dict[str, list[Path]] = {}
    for path in (folder / "storage").rglob("raw/**/*_fractions.*"):
        copies.setdefault(path.name, []).append(path)
    sources = list((folder / f"share-{tem}").rglob("*_fractions.*"))
    return [
        str(source)
        for source in sources
        if len(found := copies.get(source.name, [])) != 1 or not filecmp.cmp(source, found[0], shallow=False)
    ]


def main() -> int:
    """Run the trial; status 0 when nothing was lost or doubled, and when no engine can run here, which is said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, help=f"engines, 3 to {MOST_NODES}")
    parser.add_argument("--steps", default=",".join(STEPS), help="some of the steps; those before must have been done")
    parser.add_argument("--keep", action="store_true", help="leave the swarm standing, its containers frozen")
    parser.add_argument("--down", action="store_true", help="only take a standing swarm down")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="keeps the image")
    options = parser.parse_args()
    if (why := why_not()) is not None:
        print(f"SKIPPED: the swarm test did not run: {why}", file=sys.stderr)
        return 0
    if options.down:
        Lab(options.folder / "lab", nodes=MOST_NODES).remove()  # however many stand
        return 0
    lab = Lab(options.folder / "lab", nodes=options.nodes)
    with ended_by_sigterm():
        return _try(lab, options.steps.split(","), keep=options.keep)


def _try(lab: Lab, steps: list[str], *, keep: bool) -> int:
    """Do the steps on a standing swarm, or on a new one, and judge; keep what the services said if it goes wrong."""
    trial, good = Trial(lab), False
    try:
        if lab.stands():
            trial.rest(pause=False)
        else:
            lab.remove()
            stand_up(lab)
        for name in steps:
            _do(trial, name)
        good = judge(trial)
    finally:
        if not good:
            trial.keep_logs()
        if keep:
            trial.rest(pause=True)
        else:
            trial.remove()
            lab.remove()
    print("PASSED: every movie was copied once, processed once, published once" if good else "FAILED")
    return 0 if good else 1


def _do(trial: Trial, name: str) -> None:
    """Do a step, and say how long it took and how busy the machine was."""
    trial.say(f"--- {name}: {STEPS[name].__doc__}")
    begun = time.monotonic()
    STEPS[name](trial)
    trial.say(f"--- {name}: passed in {time.monotonic() - begun:.0f} s, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(main())
