"""The facility file (TOML): microscopes, shares, storage, elogbook, engines, as typed settings.

An unknown key is an error that names the nearest valid one. The file that passed the check last is kept as
`facility.active.toml`; DAGs read that one, so that one typo cannot stop every microscope.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, model_validator

from cryodaq.config.elogbook import DirectoryTable, Elogbook, SignOn
from cryodaq.config.engines import Engines, Products
from cryodaq.config.machines import AirflowTable, Database, Maintenance, Pools, Ports, Storage
from cryodaq.config.microscope import MicroscopeTable, to_domain
from cryodaq.config.notifications import Notifications
from cryodaq.config.site import Site
from cryodaq.config.tables import Table
from cryodaq.domain import microscope as words
from cryodaq.errors import ConfigError

ACTIVE_NAME, SOURCE_NAME = "facility.active.toml", "facility.source"
"""The facility file that passed the check last, and where it came from; in the state's folder."""


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
                return to_domain(table)
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
        advice = "write a facility file (an example: deploy/facility.example.toml)"
        if path.name == ACTIVE_NAME:
            advice = "no system was started here yet: start one with cryodaq up, or name its folder with --home"
        message = f"{path}: {error.strerror}; {advice}"
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
        lines = [f"{source}: {_sentence(problem)}" for problem in _roots(error.errors())]
        raise ConfigError("\n".join(lines)) from error


def _roots(problems: Sequence[Any]) -> list[Any]:  # Any: pydantic's ErrorDetails
    """Leave out lists that are too short only because what is in them has problems of its own."""
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short"
        or not any(
            len(one["loc"]) > len(problem["loc"]) and one["loc"][: len(problem["loc"])] == problem["loc"]
            for one in problems
        )
    ]


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


def activate_or_keep(path: Path, *, home: Path) -> tuple[Facility, str | None]:
    """Activate a facility file; when it has a mistake, go on with the state of it that passed the check last.

    Returns
    -------
    The facility, and the mistake in a sentence.

    Raises
    ------
    ConfigError
        It has a mistake, and no earlier state of this file was ever active.
    """
    try:
        return activate(path, home=home), None
    except ConfigError as mistake:
        source = home / SOURCE_NAME
        if not source.exists() or source.read_text(encoding="utf-8") != str(path.absolute()):
            raise
        return load_active(home), f"{first_line(mistake)}; the system goes on with what passed the check last"


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
