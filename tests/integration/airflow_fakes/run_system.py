"""Runs an embedded system until it is killed: `run_system.py HOME SERVICES_AS_JSON`."""

import json
import signal
import sys
from pathlib import Path

from cryodaq.config import load_active
from cryodaq.launch.services import Service
from cryodaq.launch.system import EmbeddedSystem

home = Path(sys.argv[1])
services = [Service(**service) for service in json.loads(sys.argv[2])]
with EmbeddedSystem(home, load_active(home), services=services):
    (home / "ready").touch()
    signal.pause()
