"""What operators decide in the elogbook: experiments, samples, people, and what is current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

ParameterValue = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One specimen of an experiment, with the parameters that the operator gave it."""

    id: str
    """24 hexadecimal digits; names the sample's folder and DAG."""
    name: str
    """The operator's name; may be empty in a foreign elogbook, which is an error people must see."""
    description: str = ""
    params: Mapping[str, ParameterValue] = field(default_factory=dict)
    """The elogbook's slash keys and values as entered; `domain.parameters` makes them typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A microscope as the elogbook knows it."""

    id: str
    """The elogbook's spelling, which ends the experiment's folder name."""
    description: str = ""
    params: Mapping[str, ParameterValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborator:
    """A person or group that may read an experiment's files."""

    uid: str
    """`uid:<user>` or a group's name, as the elogbook stores it."""
    is_group: bool
    full_name: str = ""
    posix_id: int | None = None
    """Numeric uid or gid; None when the elogbook's directory does not know it."""
    roles: tuple[str, ...] = ()


class Assignment(StrEnum):
    """What the elogbook says of a microscope at one moment."""

    SAMPLE = "sample"
    """An experiment and a sample are current."""
    NO_SAMPLE = "no_sample"
    """An experiment is active, but none of its samples is current."""
    STANDBY = "standby"
    NOTHING = "nothing"
    """The microscope was never switched to an experiment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentState:
    """What is current on one microscope, as the elogbook answered."""

    assignment: Assignment
    experiment: str | None = None
    """Name of the active experiment; None in standby."""
    sample: Sample | None = None
    switched_at: datetime | None = None
    """When the operator switched, by the elogbook's clock."""
    experiment_started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredFile:
    """A file of a run, as it is registered in the elogbook."""

    path: str
    """Relative to the experiment's folder."""
    size_bytes: int
    checksum: str
    """`xxh3_128:<hex>`."""
    created_at: datetime
    modified_at: datetime
