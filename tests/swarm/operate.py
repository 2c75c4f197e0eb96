"""Run within the lab's network: begins a session at the stack's elogbook."""

from __future__ import annotations

import sys

from cryodaq.cli.demo_operator import DemoOperator
from cryodaq.domain.file_roles import Software
from cryodaq.simulator.plan import SessionPlan


def main(url: str, token: str, instrument: str, experiment: str, frames: str) -> None:
    """Make a sample of an experiment current on a microscope."""
    operator = DemoOperator(url, user="operator", token=token)
    plan = SessionPlan(software=Software.EPU, movie_count=1, frame_count=int(frames), particle_diameter_ang=50)
    operator.begin_session(instrument, experiment, sample_name=operator.free_sample_name(experiment, "grid"), plan=plan)
    operator.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
