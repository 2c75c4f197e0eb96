"""The facility file (TOML): microscopes, shares, storage, elogbook, engines, as typed settings.

An unknown key is an error that names the nearest valid one. The file that passed the check last is kept as
`facility.active.toml`; DAGs read that one, so that one typo cannot stop every microscope.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from cryodaq.config.elogbook import DirectoryTable, Elogbook, SignOn
from cryodaq.config.engines import Engines, Products
from cryodaq.config.notifications import Notifications
from cryodaq.config.tables import AbsolutePath, Port, Table
from cryodaq.domain import microscope as words
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.errors import ConfigError

SYSTEM_MEMORY_GB = 4.0
"""Left for databases, Airflow and pages of a machine that has everything."""
ACTIVE_NAME, SOURCE_NAME = "facility.active.toml", "facility.source"
"""The facility file that passed the check last, and where it came from; in the state's folder."""


class CalibratedPixelSize(Table):
    """The facility's own calibration, stronger than anything that a file or operator says."""

    detector: str = Field(description="The microscope's `detector`.")
    magnification: float = Field(gt=0, description="Nominal magnification, as the acquisition program says it.")
    pixel_size_ang: float = Field(gt=0, le=200, description="Physical pixel at the specimen, Å.")


class Site(Table):
    """The facility."""

    name: str = Field(default="cryo-EM facility", description="Shown on every page.")
    zone: str = Field(default="UTC", description="Time zone of the screens, such as Europe/Berlin.")
    experiment_name_pattern: str = Field(
        default=r"^\d{8}-C\w{3,4}$", description="Regular expression that every experiment's name must match."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Of our own processes: for people, or one JSON object a line for a log store."
    )
    web_url: str | None = Field(default=None, description="Where browsers find the pages; default: this machine.")
    elogbook_url: str | None = Field(default=None, description="Where browsers find the elogbook.")
    airflow_url: str | None = Field(default=None, description="Where browsers find Airflow.")
    calibrated_pixel_sizes: tuple[CalibratedPixelSize, ...] = Field(
        default=(), description="Calibrations of the facility."
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            message = f"{zone} is not a time zone; write one such as Europe/Berlin"
            raise ValueError(message) from None
        return zone

    @field_validator("experiment_name_pattern")
    @classmethod
    def _valid_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            message = f"{pattern} is not a regular expression: {error}"
            raise ValueError(message) from None
        return pattern


class Storage(Table):
    """The data centre's large file system."""

    root: AbsolutePath = Field(description="Experiments lie below in YYYYMM/<experiment>_<instrument>/.")
    dag_folder: AbsolutePath | None = Field(
        default=None, description="Where samples' DAG files lie; default: below the home of the system."
    )
    processing_floor: float = Field(
        default=0.1, ge=0, lt=1, description="No movie is processed while a smaller fraction of it is free."
    )
    readers_uids: tuple[Annotated[int, Field(gt=0, lt=2**32 - 1)], ...] = Field(
        default=(), description="Numeric ids of people who read every experiment."
    )
    readers_gids: tuple[Annotated[int, Field(gt=0, lt=2**32 - 1)], ...] = Field(
        default=(), description="Numeric ids of groups that read every experiment, such as the facility's staff."
    )
    copying_floor: float = Field(
        default=0.02, ge=0, lt=1, description="Nothing is copied while a smaller fraction of it is free."
    )
    verify_limit_mb_s: float | None = Field(
        default=None, gt=0, description="What reading copies again may take for each microscope, MB/s; default: all."
    )

    @property
    def verify_max_bytes_per_s(self) -> float | None:
        """The limit of reading copies again, bytes/s."""
        return None if self.verify_limit_mb_s is None else self.verify_limit_mb_s * 1e6


class Database(Table):
    """PostgreSQL; without a url the embedded one is started."""

    url_file: AbsolutePath | None = Field(
        default=None, description="File with postgresql+psycopg://..., because it holds a password."
    )


class Hosts(Table):
    """The microscope's computers, for people and messages."""

    control: str = Field(default="", description="Runs the microscope.")
    camera: str = Field(default="", description="Runs the camera and offers the share.")
    support: str = Field(default="", description="Runs the acquisition program, where that is another one.")


class ShareTable(Table):
    """One folder tree of the camera server."""

    root: AbsolutePath = Field(description="Where the share is mounted.")
    sentinel: str = Field(default=".online", description="File in the root that proves that the share is mounted.")
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


class Pools(Table):
    """How much runs at once."""

    compute_slots: int = Field(
        default=0, ge=0, description="Processing tasks at once; 0: one a core, as far as the memory reaches."
    )
    memory_per_task_gb: float = Field(
        default=4.0,
        gt=0,
        description="What aligning one movie takes, GB; a K3 movie of 40 frames 3 with our own engine, 8 with RELION.",
    )
    gpu_slots: int = Field(default=0, ge=0, description="Tasks with a GPU at once: slots of the pool and queue gpu.")
    threads_per_task: int = Field(default=1, ge=1, description="Threads of one processing task.")
    movies_in_flight: int = Field(
        default=0,
        ge=0,
        description="Movies of one microscope that Airflow has at once, others wait in the ledger; "
        "0: twice the slots and eight more.",
    )

    def slots(self, *, cores: int, memory_bytes: int) -> int:
        """Return how many tasks process at once on a machine: as many as have a core and the memory of a movie."""
        room = (memory_bytes / 1e9 - SYSTEM_MEMORY_GB) / self.memory_per_task_gb
        return self.compute_slots or max(1, min(cores, int(room)))

    def in_flight(self, *, cores: int, memory_bytes: int) -> int:
        """Return how many movies of one microscope Airflow gets at once, on such a machine."""
        return self.movies_in_flight or 2 * self.slots(cores=cores, memory_bytes=memory_bytes) + 8


class AirflowTable(Table):
    """How Airflow has tasks done, and where it is; without a url the embedded one is started."""

    executor: Literal["local", "celery"] = Field(
        default="local", description="Tasks as processes of one machine, or by workers that take them from queues."
    )
    broker_url_file: AbsolutePath | None = Field(
        default=None, description="File with the URL of Celery's Redis; default: an embedded one."
    )
    url: str | None = Field(default=None, description="Where its API is, when it is not the embedded one.")
    user: str = Field(default="cryodaq", description="Account of this program; it triggers and reads runs.")
    password_file: AbsolutePath | None = Field(default=None, description="File with its password.")


class Ports(Table):
    """Loopback ports of the embedded system."""

    web: Port = Field(default=8080, description="The pages.")
    elogbook: Port = Field(default=8081, description="The embedded elogbook.")
    airflow: Port = Field(default=8082, description="Airflow's pages and API.")

    @model_validator(mode="after")
    def _different(self) -> Ports:
        if len({self.web, self.elogbook, self.airflow}) < 3:
            message = "web, elogbook and airflow need three different ports"
            raise ValueError(message)
        return self


class Maintenance(Table):
    """What is done once a day."""

    airflow_history_days: int = Field(default=30, ge=2, description="Airflow's rows of older runs are removed.")
    log_days: int = Field(default=30, ge=2, description="Airflow's task logs that are older are removed.")
    backup_folder: AbsolutePath | None = Field(
        default=None, description="Where backups go; default: below the home. Better on another disk."
    )
    backups_kept: int = Field(default=14, ge=1, description="Older backups are removed.")
    verify_after_days: int = Field(
        default=30, ge=1, description="Copies verified so long ago are read again, some a day."
    )
    verify_gb: float = Field(default=50.0, ge=0, description="How much of them is read a day, GB; 0: nothing.")


class Facility(Table):
    """The whole facility file."""

    site: Site = Site()
    storage: Storage
    elogbook: Elogbook = Elogbook()
    sign_on: SignOn = SignOn()
    directory: DirectoryTable | None = Field(default=None, description="The site's directory of people.")
    database: Database = Database()
    microscopes: tuple[MicroscopeTable, ...] = Field(min_length=1, description="One table a microscope.")
    engines: Engines = Engines()
    products: Products = Products()
    notifications: Notifications = Notifications()
    pools: Pools = Pools()
    airflow: AirflowTable = AirflowTable()
    ports: Ports = Ports()
    maintenance: Maintenance = Maintenance()

    @model_validator(mode="after")
    def _unique(self) -> Facility:
        for field in ("name", "instrument"):
            seen: set[str] = set()
            for table in self.microscopes:
                value = str(getattr(table, field)).lower()
                key = value if field == "name" else f"{value} station {table.station}"
                if key in seen:
                    message = f"two microscopes have the {field} {key}"
                    raise ValueError(message)
                seen.add(key)
        return self

    @model_validator(mode="after")
    def _known_in_rules(self) -> Facility:
        known = {table.name for table in self.microscopes}
        for rule in self.engines.rules:
            for name in rule.microscopes:
                if name not in known:
                    message = f"a rule of engines names {name}, and there is no such microscope"
                    raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _known_channels(self) -> Facility:
        known = {channel.name for channel in self.notifications.channels}
        for table in self.microscopes:
            for name in table.on_call or ():
                if name not in known:
                    message = f"{table.name}: on_call names {name}, and there is no such channel"
                    raise ValueError(message)
        return self

    def microscope(self, name: str) -> words.Microscope:
        """Return one microscope in the domain's words. Raises `ConfigError` for an unknown name."""
        for table in self.microscopes:
            if table.name == name:
                return _to_domain(table)
        known = ", ".join(table.name for table in self.microscopes)
        message = f"the facility file has no microscope {name!r}; it has {known}"
        raise ConfigError(message)

    def calibrated_pixel_size_ang(self, detector: str, magnification: float | None) -> float | None:
        """Return the calibrated physical pixel of a camera at a magnification, Å, or None."""
        if magnification is None:
            return None
        for row in self.site.calibrated_pixel_sizes:
            if row.detector == detector and abs(row.magnification - magnification) <= 0.005 * row.magnification:
                return row.pixel_size_ang
        return None


def _to_domain(table: MicroscopeTable) -> words.Microscope:
    return words.Microscope(
        name=table.name,
        instrument=table.instrument,
        station=table.station,
        shares=tuple(
            words.Share(root=PurePosixPath(share.root), sentinel=share.sentinel, excludes=share.excludes)
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
    )


def read_secret(path: Path) -> SecretStr:
    """Read a secret from its file. Raises `ConfigError` when it cannot be read or is empty."""
    try:
        text = path.read_text().strip()
    except OSError as error:
        message = f"the secret in {path} cannot be read: {error.strerror}"
        raise ConfigError(message) from error
    if not text:
        message = f"{path} is empty; write the secret into it"
        raise ConfigError(message)
    return SecretStr(text)


def load(path: Path) -> Facility:
    """Read and check a facility file.

    Raises
    ------
    ConfigError
        With one line for every problem: where it is, and what to write instead.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), source=path.name)
    except OSError as error:
        message = f"{path}: {error.strerror}; write a facility file (an example: deploy/facility.example.toml)"
        raise ConfigError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text"
        raise ConfigError(message) from error


def parse(text: str, *, source: str) -> Facility:
    """Check a facility file's text. Raises `ConfigError`."""
    try:
        return Facility.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        message = f"{source} is not TOML: {error}"
        raise ConfigError(message) from error
    except ValidationError as error:
        lines = [f"{source}: {_sentence(problem)}" for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _sentence(problem: Any) -> str:  # Any: pydantic's ErrorDetails is a TypedDict of loose values
    place = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        *parents, key = problem["loc"]
        valid = _valid_keys(parents)
        nearest = difflib.get_close_matches(str(key), valid, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"valid here: {', '.join(sorted(valid))}"
        return f"{place} is not a setting; {hint}"
    if problem["type"] == "missing":
        return f"{place} is missing"
    return f"{place}: {str(problem['msg']).removeprefix('Value error, ')}"


def _valid_keys(parents: list[str | int]) -> list[str]:
    model: Any = Facility  # Any: walks through annotations of nested tables
    for part in parents:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            arguments = [a for a in getattr(annotation, "__args__", ()) if a is not Ellipsis]
            model = arguments[0] if arguments else annotation
    return list(model.model_fields)


def schema() -> dict[str, object]:
    """Return the JSON schema of the facility file."""
    return Facility.model_json_schema()


def activate(path: Path, *, home: Path) -> Facility:
    """Check a facility file and keep it as the active one.

    Raises `ConfigError`; then the active one stays what it was.
    """
    facility = load(path)
    active = home / ACTIVE_NAME
    text = path.read_text(encoding="utf-8")
    for place, content in ((active, text), (home / SOURCE_NAME, str(path.absolute()))):
        if not place.exists() or place.read_text(encoding="utf-8") != content:
            part = place.with_name(f".{place.name}.part")
            part.write_text(content, encoding="utf-8")
            part.replace(place)
    return facility


def first_line(error: ConfigError) -> str:
    """Return the first of a file's problems, and how many more there are."""
    first, *more = str(error).splitlines()
    return f"{first} (and {len(more)} more)" if more else first


def problem_of_source(home: Path) -> str | None:
    """Return why the facility file that was activated last is not the active one any more; None while it is."""
    try:
        source = Path((home / SOURCE_NAME).read_text(encoding="utf-8"))
        text = source.read_text(encoding="utf-8")
        if text == (home / ACTIVE_NAME).read_text(encoding="utf-8"):
            return None
    except (OSError, UnicodeDecodeError):  # not on this machine, or being written
        return None
    try:
        parse(text, source=str(source))
    except ConfigError as error:
        return f"{first_line(error)}; the system goes on with the facility file that passed the check last"
    return f"{source} was changed and is correct: restart to use it, or cryodaq config check --activate {source}"


def load_active(home: Path) -> Facility:
    """Read the facility file that passed the check last. Raises `ConfigError`."""
    return load(home / ACTIVE_NAME)
