"""A microscope, its shares and its rules, as the facility describes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from cryodaq.domain.parameters import InstrumentDefaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One folder tree that the camera server offers."""

    root: PurePosixPath
    sentinel: str | None = ".online"
    """A file in the root that proves that the share is mounted; None: nothing proves it."""
    mounted_from: str | None = None
    """What must be mounted there, such as `//camera1/x`; None: what was there at the first scan."""
    excludes: tuple[str, ...] = ()
    """Name patterns that are never looked at, beside Windows' own junk."""
    camera_server: str = ""
    """The computer that offers it, as people call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """When a verified movie may be removed from the microscope."""

    enabled: bool = False
    older_than_h: float = 72.0
    """Hours since the copy was verified."""
    larger_than_mb: float = 100.0
    """Smaller files stay."""
    patterns: tuple[str, ...] = ("*",)
    begin_above: float = 0.0
    """Fraction of the share in use at which removal begins; 0: whenever something may go."""
    until_below: float = 0.0
    """Fraction of the share in use at which removal ends again."""
    session_after_days: float | None = None
    """Days after which all files of a session may go, small ones too, once each copy is verified; None: never."""
    recycle_bin_after_days: float | None = None
    """Days after which what people deleted goes from the share's recycle bin; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Microscope:
    """One TEM with its camera server."""

    name: str
    """Lower case; names the DAG `<name>-daq` and the queue."""
    instrument: str
    """The elogbook's `_id`; its spelling ends the experiment's folder."""
    station: int
    shares: tuple[Share, ...]
    gain_root: PurePosixPath | None
    detector: str
    defaults: InstrumentDefaults
    retention: RetentionRule
    queue: str
    window_s: float = 120.0
    """How long one transfer task streams before the next one takes over."""
    no_movie_alarm_s: float | None = None
    """People are told when a sample had movies and gets no new one for so long; None: they are not."""
    shadow: bool = False
    """Whether nothing is copied, triggered or removed: it is only said what would be."""
    defects: PurePosixPath | None = None
    """List or mask of the camera's defects, for movies whose metadata name none."""
    needs_gain: bool = True
    """Whether movies of this camera are recorded without gain correction."""
    copy_max_bytes_per_s: float | None = None
    """What copying may take of the link to the camera server; None: everything."""
    computers: tuple[tuple[str, str], ...] = ()
    """What its computers do, and how people call them."""

    @property
    def dag_id(self) -> str:
        """Id of the DAG that runs this microscope's transfer."""
        return f"{self.name}-daq"
