"""What `docker stack config` lets through: names that nobody declares, secrets in plain sight, ports that need IPVS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Stack = Mapping[str, Any]  # Any: YAML
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
    if not ((deploy.get("resources") or {}).get("limits") or {}).get("memory"):
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
