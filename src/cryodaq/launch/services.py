"""Our own web servers, the pages and the elogbook, and the loopback ports of everything."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryodaq.config import Facility
from cryodaq.config.machines import Ports
from cryodaq.domain.home import Home
from cryodaq.launch.ports import PortClaims, answers_http
from cryodaq.launch.supervisor import Child


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A server of ours."""

    name: str
    command: Sequence[str]
    port: int | None = None
    """Where it answers plain HTTP on the loopback; None: it answers nowhere."""

    def child(self, environment: Mapping[str, str], home: Home) -> Child:
        """Return it as a child; the elogbook stops after the tasks, which may still write to it."""
        return Child(
            name=self.name,
            command=self.command,
            environment=environment,
            folder=home.root,
            is_healthy=lambda: None if self.port is None else answers_http(self.port),
            port=self.port,
            stop_rank=1 if self.name == "elogbook" else 0,
            stop_grace_s=3.0,
        )


def own_services(facility: Facility) -> list[Service]:
    """Return the pages, the watch and, unless a foreign one is followed, the elogbook."""
    ports: dict[str, int | None] = {"elogbook": facility.ports.elogbook, "web": facility.ports.web, "watch": None}
    if facility.elogbook.kind != "embedded":
        del ports["elogbook"]
    return [
        Service(name=name, command=[sys.executable, "-m", "cryodaq", "serve", name], port=port)
        for name, port in ports.items()
    ]


def free_ports(wanted: Ports, claims: PortClaims) -> Ports:
    """Claim ports and return them, each the first free one from the wanted on. Raises `LaunchError`."""
    return Ports(
        web=claims.next_free(wanted.web),
        elogbook=claims.next_free(wanted.elogbook),
        airflow=claims.next_free(wanted.airflow),
    )
