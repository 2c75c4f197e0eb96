"""A microscope: its computers, its shares, what may be removed from them, and what is known of it."""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import Field, model_validator

from cryodaq.config.tables import AbsolutePath, Table
from cryodaq.domain import microscope as words
from cryodaq.domain.parameters import InstrumentDefaults


class Hosts(Table):
    """The microscope's computers, as people call them: alarms and pages name them."""

    control: str = Field(default="", description="Runs the microscope.")
    camera: str = Field(default="", description="Runs the camera and offers the share.")
    support: str = Field(default="", description="Runs the acquisition program, where that is another one.")


class ShareTable(Table):
    """One folder tree of the camera server."""

    root: AbsolutePath = Field(description="Where the share is mounted.")
    sentinel: str = Field(
        default=".online",
        description="File in the root that proves that the share is mounted; where it is a local folder, each camera's "
        "own name, such as `.online-tem1` (begin it with `.online`), tells another camera's in its place.",
    )
    mounted_from: str | None = Field(
        default=None,
        min_length=1,
        description="What must be mounted there, as `findmnt` says it, such as `//camera1/x`. Default: the server's "
        "share that was there at the first scan; another one is not looked at until it is named here.",
    )
    excludes: tuple[str, ...] = Field(default=(), description="Name patterns that are not looked at.")


class Retention(Table):
    """When a verified movie may be removed from the microscope; off until switched on."""

    enabled: bool = Field(default=False, description="Whether anything is ever removed from the microscope.")
    older_than_h: float = Field(default=72.0, ge=0, description="Hours since the copy was verified.")
    larger_than_mb: float = Field(default=100.0, ge=0, description="Smaller files stay.")
    patterns: tuple[str, ...] = Field(default=("*",), description="Only files of these names are removed.")
    begin_above: float = Field(
        default=0.0, ge=0, le=1, description="Removal begins when the share is so full (fraction); 0: at any time."
    )
    until_below: float = Field(default=0.0, ge=0, le=1, description="It ends when the share is no fuller than this.")
    session_after_days: float | None = Field(
        default=None, ge=0, description="Days until a session whose copies are all verified goes, small files too."
    )
    recycle_bin_after_days: float | None = Field(
        default=None, ge=0, description="Days until what people deleted goes from the share's recycle bin."
    )

    @model_validator(mode="after")
    def _marks(self) -> Retention:
        if self.until_below > self.begin_above:
            message = "until_below is above begin_above; removal would never begin"
            raise ValueError(message)
        return self


class MicroscopeTable(Table):
    """One TEM."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$", description="Lower case; names DAG and queue.")
    instrument: str = Field(min_length=1, description="The elogbook's _id of it.")
    station: int = Field(default=0, ge=0, description="The elogbook's number of the place on the instrument.")
    hosts: Hosts = Hosts()
    shares: tuple[ShareTable, ...] = Field(min_length=1, description="The camera server's folder trees.")
    gain_root: AbsolutePath | None = Field(default=None, description="Where gain references are written.")
    defects: AbsolutePath | None = Field(
        default=None, description="List (SerialEM's .txt) or mask (.mrc, .tif) of the camera's defects."
    )
    needs_gain: bool = Field(default=True, description="Movies come without gain correction and wait for a gain.")
    voltage_kv: float | None = Field(default=None, gt=0, le=1250, description="kV.")
    cs_mm: float | None = Field(default=None, ge=0, le=10, description="Spherical aberration, mm.")
    amplitude_contrast: float = Field(default=0.1, ge=0, le=0.5, description="Fraction.")
    detector: str = Field(default="", description="Name of the camera, as calibrations use it.")
    retention: Retention = Retention()
    queue: str | None = Field(default=None, description="Default: the name.")
    no_movie_alarm_min: float = Field(
        default=30.0, ge=0, description="Minutes without a new movie until people are told; 0: never."
    )
    shadow: bool = Field(
        default=False, description="Watch only: nothing is copied, triggered or removed; `cryodaq shadow` reports."
    )
    filling_alarm_h: float = Field(
        default=12.0, ge=0, description="People are told when a share is full in so many hours at its rate; 0: never."
    )
    on_call: tuple[str, ...] | None = Field(
        default=None, description="Names of the channels that hear of its alarms; default: all."
    )
    window_s: float = Field(default=120.0, ge=5, le=600, description="Length of one transfer task, s.")
    copy_limit_mb_s: float | None = Field(
        default=None, gt=0, description="What copying may take of the link to the camera server, MB/s; default: all."
    )


def to_domain(table: MicroscopeTable) -> words.Microscope:
    """Return a microscope in the domain's words."""
    return words.Microscope(
        name=table.name,
        instrument=table.instrument,
        station=table.station,
        shares=tuple(
            words.Share(
                root=PurePosixPath(share.root),
                sentinel=share.sentinel,
                mounted_from=share.mounted_from,
                excludes=share.excludes,
                camera_server=table.hosts.camera,
            )
            for share in table.shares
        ),
        gain_root=PurePosixPath(table.gain_root) if table.gain_root else None,
        detector=table.detector,
        defaults=InstrumentDefaults(
            voltage_kv=table.voltage_kv, cs_mm=table.cs_mm, amplitude_contrast=table.amplitude_contrast
        ),
        retention=words.RetentionRule(
            enabled=table.retention.enabled,
            older_than_h=table.retention.older_than_h,
            larger_than_mb=table.retention.larger_than_mb,
            patterns=table.retention.patterns,
            begin_above=table.retention.begin_above,
            until_below=table.retention.until_below,
            session_after_days=table.retention.session_after_days,
            recycle_bin_after_days=table.retention.recycle_bin_after_days,
        ),
        queue=table.queue or table.name,
        window_s=table.window_s,
        no_movie_alarm_s=table.no_movie_alarm_min * 60 or None,
        defects=PurePosixPath(table.defects) if table.defects else None,
        needs_gain=table.needs_gain,
        shadow=table.shadow,
        copy_max_bytes_per_s=table.copy_limit_mb_s * 1e6 if table.copy_limit_mb_s else None,
        computers=tuple((role, name) for role, name in table.hosts.model_dump().items() if name),
    )
