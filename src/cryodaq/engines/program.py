"""How an external program is started at a site, and which versions of it are understood."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryodaq.engines.child import run_child
from cryodaq.errors import EngineError

VERSION_TIMEOUT_S = 120.0
"""Programs in containers and on cold network file systems answer late."""

LOAD_MODULES = (
    'names=(); while [ "$1" != -- ]; do names+=("$1"); shift; done; shift; module load "${names[@]}" && exec "$@"'
)
"""Run by a login shell, which alone knows `module`; names and arguments reach it as arguments, never as script."""
_MODULE_NAME = re.compile(r"[A-Za-z0-9][\w.+/-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSettings:
    """What a site says about a program; None means the program's usual value."""

    executable: str | None = None
    """Name on the path, or path."""
    prefix: tuple[str, ...] = ()
    """Command that runs the program, such as apptainer with its image and binds."""
    modules: tuple[str, ...] = ()
    """Environment modules that are loaded before it starts."""
    version: str | None = None
    """Beginning of the version that must be found; another one is refused."""
    timeout_s: float = 1800.0
    threads: int = 1
    gpus: tuple[int, ...] = (0,)
    """Devices that it may use, as the driver counts them."""
    model: str | None = None
    """Trained model of a picker: its name, or its file."""
    threshold: float | None = None
    """Least score of a pick, in the picker's own measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProgram:
    """A program that has an adapter here."""

    name: str
    executable: str
    """Where a site does not say another one."""
    version_pattern: str
    """Finds the version, as its first group, in what the program says."""
    at_least: tuple[int, ...]
    below: tuple[int, ...]
    asks_version: tuple[str, ...] = ()
    """Arguments that make it say its version; empty where only its results say it."""

    def command(
        self, settings: ProgramSettings, arguments: Sequence[str], *, executable: str | None = None
    ) -> list[str]:
        """Return the argument list; raises `EngineError` for a module that cannot be one's name."""
        plain = [*settings.prefix, executable or settings.executable or self.executable, *arguments]
        if not settings.modules:
            return plain
        for module in settings.modules:
            if _MODULE_NAME.fullmatch(module) is None:
                raise EngineError(self.name, problem=f"{module!r} is not the name of an environment module")
        return ["/bin/bash", "--login", "-c", LOAD_MODULES, "modules", *settings.modules, "--", *plain]

    def check_version(self, said: str, settings: ProgramSettings) -> str:
        """Return the version that the program's words contain.

        Raises
        ------
        EngineError
            There is none, it is not understood here, or the facility file wants another one.
        """
        found = re.search(self.version_pattern, said)
        if found is None:
            raise EngineError(self.name, problem="it does not say which version it is", last_lines=said[-2000:])
        version = found[1]
        numbers = tuple(int(part) for part in version.split("."))
        if not self.at_least <= numbers < self.below:
            span = f"{_dotted(self.at_least)} up to, without, {_dotted(self.below)}"
            raise EngineError(self.name, problem=f"version {version} is installed, {span} are understood")
        wanted = settings.version
        if wanted is not None and numbers[: len(_numbers(wanted))] != _numbers(wanted):
            raise EngineError(self.name, problem=f"version {version} is installed, the facility file wants {wanted}")
        return version


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


@lru_cache(maxsize=64)
def installed_version(known: KnownProgram, settings: ProgramSettings) -> str | None:
    """Ask a program for its version once; None for one that does not answer such questions.

    Raises
    ------
    EngineError
        It cannot be started, or `KnownProgram.check_version` refuses its version.
    """
    if not known.asks_version:
        return None
    with tempfile.TemporaryDirectory(prefix="cryodaq-version-") as folder:
        said = run_child(
            known.command(settings, known.asks_version),
            program=known.name,
            folder=Path(folder),
            log=Path(folder) / "version.log",
            timeout_s=min(VERSION_TIMEOUT_S, settings.timeout_s),
        )
    return known.check_version(said, settings)
