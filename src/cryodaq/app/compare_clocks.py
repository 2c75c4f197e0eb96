"""Compare this node's clock with the database's, which all nodes share, and tell people when they differ."""

from __future__ import annotations

import os
import socket
from datetime import datetime
from typing import TYPE_CHECKING

from cryodaq.ledger import events, notifications
from cryodaq.ledger.events import Severity, Subject

if TYPE_CHECKING:
    from sqlalchemy import Connection

CLOCK_TOLERANCE_S = 5.0
NODE_VARIABLE = "CRYODAQ_NODE"
"""A container's own host name is a number that changes at each start; the stack names the node here."""


def node_name() -> str:
    """Return by which name people know the machine on which this process runs."""
    return os.environ.get(NODE_VARIABLE) or socket.gethostname()


def holder_name() -> str:
    """Return how a lease shows people who holds it: node and process."""
    return f"{node_name()} {os.getpid()}"


def clock_problem(connection: Connection, *, at: datetime) -> str | None:
    """Say how far this node's clock is from the database's; None while it is near enough.

    Parameters
    ----------
    at
        This node's clock.
    """
    apart_s = (at - notifications.database_time(connection)).total_seconds()
    if abs(apart_s) <= CLOCK_TOLERANCE_S:
        return None
    return (
        f"the clock of {node_name()} is {abs(apart_s):.0f} s {'ahead of' if apart_s > 0 else 'behind'} the database's; "
        "look at the time service (chrony) of its node"
    )


def tell_clock_of_transfer(connection: Connection, microscope: str, *, at: datetime) -> None:
    """Keep an alarm while the clock of the node that transfers is off: it decides whose exposures are."""
    _tell(connection, f"clocks-apart:{microscope}", at=at, subject=Subject(microscope=microscope), severity="error")


def tell_clock_of_node(connection: Connection, *, at: datetime) -> None:
    """Keep an alarm while the clock of the node that computes or watches is off: its times are shown to people."""
    _tell(connection, f"clocks-apart:{node_name()}", at=at, subject=Subject(), severity="warning")


def _tell(connection: Connection, key: str, *, at: datetime, subject: Subject, severity: Severity) -> None:
    problem = clock_problem(connection, at=at)
    if problem is not None:
        told = problem if subject.microscope is None else f"{subject.microscope}: {problem}"
        events.raise_alarm(connection, key, severity=severity, message=told, at=at, subject=subject)
    elif events.is_raised(connection, key):
        events.clear_alarm(connection, key, at=at)
