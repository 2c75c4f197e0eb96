"""What `docker stack config` lets through: names that nobody declares, secrets in plain sight, ports that need IPVS."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

Stack = Mapping[str, Any]  # Any: YAML
MEMORY_PER_TASK = "cryodaq.memory_per_task_gb"
"""Label of a service whose worker computes: GB that one of its tasks takes."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECRET_NAME = re.compile(r"(PASSWORD|SECRET|TOKEN|_KEY|CONN|BROKER_URL|DATABASE_URL)", re.IGNORECASE)
_ELSEWHERE = re.compile(r"(_CMD|_FILE|_URL_FILE)$", re.IGNORECASE)
_HARMLESS = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__"
_URL_WITH_PASSWORD = re.compile(r"\w+://[^/\s:@]*:[^/\s@]+@")


def problems(stack: Stack) -> list[str]:
    """Return what is wrong with a stack, one sentence each; none when it may be deployed."""
    services: Mapping[str, Stack] = stack.get("services") or {}
    found = [sentence for name, service in services.items() for sentence in _of_service(name, service, stack)]
    for kind in ("networks", "secrets", "configs"):
        used = {one for service in services.values() for one in _used(service, kind)}
        unused = sorted((stack.get(kind) or {}).keys() - used)
        found += [f"{kind}: {one} is declared and no service uses it" for one in unused]
    return found


def read_env_file(text: str) -> dict[str, str]:
    """Return the values of an env file as the shell takes them. Raises `ValueError` where a quote has no end."""
    pairs = (word.partition("=") for word in shlex.split(text, comments=True))
    return {name: value for name, equals, value in pairs if equals}


def problems_of_values(stack: Stack, values: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a site's values for a stack: names without one, and memory for fewer movies than slots.

    Parameters
    ----------
    values
        Of the env file; an empty one is none.
    """
    wanted = sorted({name for text in _texts(stack) for name in _VARIABLE.findall(text)})
    missing = [f"the env file has no {name}" for name in wanted if not values.get(name)]
    services: Mapping[str, Stack] = stack.get("services") or {}
    return missing + [sentence for name, one in services.items() for sentence in _of_memory(name, one, values)]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def _of_memory(name: str, service: Stack, values: Mapping[str, str]) -> Iterator[str]:
    """Compare the slots of a worker that computes with its memory."""
    deploy = service.get("deploy") or {}
    per_task_gb = (deploy.get("labels") or {}).get(MEMORY_PER_TASK)
    if per_task_gb is None:
        return
    command = [_filled(str(word), values) for word in service.get("command") or ()]
    slots = next((word for option, word in pairwise(command) if option == "--concurrency"), "")
    memory = _filled(str(_memory_limit(deploy) or ""), values)
    size = _MEMORY.fullmatch(memory)
    if not slots.isdecimal() or size is None:
        yield f"{name}: {slots or 'nothing'} slots with {memory or 'no'} memory; write such as 16 and 72G"
        return
    given_gb = float(size[1]) * _BYTES[size[2].lower()] / 1e9
    wanted_gb = int(slots) * float(per_task_gb)
    if wanted_gb > given_gb:
        yield (
            f"{name}: {slots} slots need {wanted_gb:.0f} GB ({per_task_gb} GB a movie, [pools] memory_per_task_gb) and "
            f"have {given_gb:.0f} GB: its tasks would be killed; give it fewer slots or more memory"
        )


def _memory_limit(deploy: Stack) -> object:
    return ((deploy.get("resources") or {}).get("limits") or {}).get("memory")


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), text)


def _used(service: Stack, kind: str) -> Iterator[str]:
    for one in service.get(kind) or ():
        yield one if isinstance(one, str) else str(one["source"])


def _of_service(name: str, service: Stack, stack: Stack) -> Iterator[str]:
    for kind in ("networks", "secrets", "configs"):
        declared = stack.get(kind) or {}
        for one in _used(service, kind):
            if one not in declared:
                yield f"{name}: {kind[:-1]} {one} is not declared"
    yield from _plain_secrets(name, service)
    yield from _of_running(name, service)
    for volume in service.get("volumes") or ():
        if not isinstance(volume, Mapping):
            yield f"{name}: write volume {volume} in the long form, with its propagation"


def _of_running(name: str, service: Stack) -> Iterator[str]:
    deploy = service.get("deploy") or {}
    if deploy.get("endpoint_mode") != "dnsrr":
        yield f"{name}: endpoint_mode must be dnsrr; virtual addresses need IPVS, which drops idle connections"
    if not _memory_limit(deploy):
        yield f"{name}: no memory limit; it could starve its node"
    if str(service.get("image", "")).endswith(":latest") or not service.get("image"):
        yield f"{name}: its image has no fixed version"
    for port in service.get("ports") or ():
        if not isinstance(port, Mapping) or port.get("mode") != "host":
            yield f"{name}: ports must be in host mode; the ingress network needs IPVS"


def _plain_secrets(name: str, service: Stack) -> Iterator[str]:
    environment: Mapping[str, object] = service.get("environment") or {}
    for key, value in environment.items():
        if _SECRET_NAME.search(key) and not _ELSEWHERE.search(key) and not key.startswith(_HARMLESS):
            yield f"{name}: {key} would stand in plain sight; read it from /run/secrets with {key}_CMD or _FILE"
        if _URL_WITH_PASSWORD.search(str(value)):
            yield f"{name}: {key} holds a password"
    for word in service.get("command") or ():
        if _URL_WITH_PASSWORD.search(str(word)):
            yield f"{name}: its command holds a password"
