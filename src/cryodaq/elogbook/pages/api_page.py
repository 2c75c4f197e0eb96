"""A page that lists the API's calls: from our own OpenAPI document, without scripts of other sites."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

Shape = dict[str, Any]  # a JSON schema, or a part of an OpenAPI document


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call."""

    method: str
    path: str
    text: str
    parameters: tuple[str, ...]
    """Names of the query's, `*` after those that must be there."""
    body: str
    """An example of the body with its keys; empty without one."""


def calls_by_topic(app: FastAPI) -> dict[str, list[Call]]:
    """Return every call of the OpenAPI document, by its tag, in the order of the address."""
    found: dict[str, list[Call]] = {}
    for path, methods in sorted(app.openapi()["paths"].items()):
        for method, call in methods.items():
            topic = next(iter(call.get("tags", [])), "other")
            found.setdefault(topic, []).append(_call(method, path, call))
    return dict(sorted(found.items()))


def _call(method: str, path: str, call: Shape) -> Call:
    parameters = tuple(
        f"{one['name']}{'*' * bool(one.get('required'))}" for one in call.get("parameters", []) if one["in"] == "query"
    )
    contents: Shape = call.get("requestBody", {}).get("content", {})
    described: Shape = next(iter(contents.values()), {})
    shape: Shape = described.get("schema", {})
    return Call(
        method=method.upper(),
        path=path,
        text=call.get("description") or call.get("summary", ""),
        parameters=parameters,
        body=json.dumps(_example(shape), indent=1, ensure_ascii=False) if shape else "",
    )


def _example(shape: Shape) -> object:
    """Return what a body looks like: names of types in place of values, `*` after keys that must be there."""
    if "oneOf" in shape:
        return _example(shape["oneOf"][0])
    kind = shape.get("type")
    if kind == "object":
        required = shape.get("required", [])
        return {f"{name}{'*' * (name in required)}": _example(one) for name, one in shape.get("properties", {}).items()}
    if kind == "array":
        return [_example(shape.get("items", {}))]
    return shape.get("description") or shape.get("format") or kind or "anything"
