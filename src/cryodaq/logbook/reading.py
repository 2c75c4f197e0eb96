"""Foreign JSON becomes values of the domain, or a `LogbookError`; never anything else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryodaq.domain.experiment import Collaborator, Instrument, ParameterValue, Sample
from cryodaq.errors import LogbookError

_INTEGER = re.compile(r"\s*[0-9]{1,18}\s*", re.ASCII)
_UNKNOWN = "N/A"
Json = dict[str, Any]  # a JSON object of a foreign server


def _wrong(what: str, found: object) -> LogbookError:
    return LogbookError(f"the elogbook's answer makes no sense: {what}, not {found!r:.120}")


def objects(found: object, *, what: str) -> list[Json]:
    """Return a list of JSON objects. Raises `LogbookError`."""
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        msg = f"{what} should be a list of objects"
        raise _wrong(msg, found)
    return found


def text(entry: Mapping[str, object], key: str, *, default: str | None = None) -> str:
    """Return a text; absent or null is the default. Raises `LogbookError`."""
    found = entry.get(key)
    if found is None and default is not None:
        return default
    if not isinstance(found, str):
        msg = f"{key} should be text"
        raise _wrong(msg, found)
    return found


def integer(found: object, *, what: str) -> int:
    """Return a whole number, also from text. Raises `LogbookError`."""
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    if isinstance(found, float) and math.isfinite(found) and found == int(found):
        return int(found)
    if isinstance(found, str) and _INTEGER.fullmatch(found):
        return int(found)
    msg = f"{what} should be a whole number"
    raise _wrong(msg, found)


def moment(entry: Mapping[str, object], key: str) -> datetime | None:
    """Return a time with an offset; without one it is UTC. Raises `LogbookError`."""
    found = entry.get(key)
    if found is None:
        return None
    try:
        parsed = datetime.fromisoformat(text(entry, key))
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        msg = f"{key} should be a time"
        raise _wrong(msg, found) from None


def params(entry: Mapping[str, object]) -> dict[str, ParameterValue]:
    """Return the open key set of a document, values as entered; nested ones as JSON text. Raises `LogbookError`."""
    found = entry.get("params")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong("params should be an object", found)
    return {str(key): _parameter(value) for key, value in found.items()}


def _parameter(value: object) -> ParameterValue:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value)


def instrument(entry: Json) -> Instrument:
    """Return a microscope. Raises `LogbookError`."""
    return Instrument(id=text(entry, "_id"), description=text(entry, "description", default=""), params=params(entry))


def sample(entry: Json) -> Sample:
    """Return a sample; a name may be missing, which people must see. Raises `LogbookError`."""
    return Sample(
        id=text(entry, "_id"),
        name=text(entry, "name", default=""),
        description=text(entry, "description", default=""),
        params=params(entry),
    )


def current_sample(entries: Sequence[Json]) -> Sample | None:
    """Return the one sample that is current. Raises `LogbookError` when several say so."""
    current = [entry for entry in entries if entry.get("current") is True]
    if len(current) > 1:
        raise _wrong("at most one sample should be current", [entry.get("name") for entry in current])
    return sample(current[0]) if current else None


def collaborator(entry: Json) -> Collaborator:
    """Return a person or group; a number that the directory does not know is None. Raises `LogbookError`."""
    uid = text(entry, "uid")
    number = entry.get("uidNumber")
    full_name = text(entry, "full_name", default="")
    roles = entry.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise _wrong("roles should be a list of texts", roles)
    return Collaborator(
        uid=uid,
        is_group=entry.get("is_group") is True or not uid.startswith("uid:"),
        full_name="" if full_name == _UNKNOWN else full_name,
        posix_id=None if number in (None, _UNKNOWN, "") else integer(number, what="uidNumber"),
        roles=tuple(roles),
    )
