"""What all tables of the facility file have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        message = f"{path} must be an absolute path"
        raise ValueError(message)
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Table(BaseModel):
    """A table of the facility file; keys that it does not have are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
