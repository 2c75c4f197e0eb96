"""People and groups in a JSON file, where a site has no LDAP server or exports what it has."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cryodaq.errors import DirectoryError
from cryodaq.ports import DirectoryGroup, DirectoryPerson


class _Person(BaseModel):
    model_config = ConfigDict(extra="forbid")
    uid: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    full_name: str = Field(max_length=200)
    uid_number: int = Field(ge=0, lt=2**32)


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    gid_number: int = Field(ge=0, lt=2**32)
    members: frozenset[str] = frozenset()


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")
    people: tuple[_Person, ...]
    groups: tuple[_Group, ...] = ()


class FileDirectory:
    """A `Directory` in a file.

    It holds `{"people": [{uid, full_name, uid_number}], "groups": [{name, gid_number, members}]}`.
    """

    def __init__(self, path: Path) -> None:
        """Remember where the file is; it is read at each question."""
        self._path = path

    def people(self) -> list[DirectoryPerson]:
        """Return everybody in the file. Raises `DirectoryError`."""
        return [DirectoryPerson(**one.model_dump()) for one in self._read().people]

    def groups(self) -> list[DirectoryGroup]:
        """Return all groups in the file. Raises `DirectoryError`."""
        return [DirectoryGroup(**one.model_dump()) for one in self._read().groups]

    def _read(self) -> _Content:
        try:
            return _Content.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError) as error:
            message = f"{self._path} cannot be read as a directory: {error}"
            raise DirectoryError(message) from error
