"""Whether a service of a stack is well, for its health check; imports nothing of size.

    python3 -m cryodaq.launch.swarm.healthy page http://127.0.0.1:8080/static/style.css
    python3 -m cryodaq.launch.swarm.healthy component scheduler http://airflow-api:8082

A component of Airflow is ill when Airflow's API says so; while that does not answer, nobody else is to blame.
"""

from __future__ import annotations

import json
import sys
from urllib.error import URLError
from urllib.request import urlopen

TIMEOUT_S = 15.0


def page_answers(url: str) -> bool:
    """Whether a page comes without an error."""
    try:
        with urlopen(url, timeout=TIMEOUT_S):  # noqa: S310  # an address of the stack's own
            return True
    except OSError:
        return False


def component_is_well(name: str, api_url: str) -> bool:
    """Whether Airflow's API does not call a component, such as `scheduler`, ill."""
    try:
        with urlopen(f"{api_url}/api/v2/monitor/health", timeout=TIMEOUT_S) as answer:  # noqa: S310  # as above
            said = json.load(answer)
    except (URLError, OSError, ValueError):
        return True
    return not isinstance(said, dict) or said.get(name, {}).get("status") != "unhealthy"


def main() -> None:
    """End with status 0 or 1."""
    kind, *words = sys.argv[1:]
    check = page_answers if kind == "page" else component_is_well
    sys.exit(0 if check(*words) else 1)


if __name__ == "__main__":
    main()
