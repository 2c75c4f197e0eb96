"""The reference says what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def load_generator() -> object:
    spec = importlib.util.spec_from_file_location("generate_reference", DOCS / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATED = load_generator().pages()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_the_committed_page_is_what_the_code_says_now(name: str) -> None:
    committed = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert committed == GENERATED[name], "run scripts/docs and commit the result"


def test_every_command_and_setting_has_a_meaning() -> None:
    empty = [line for page in ("facility.md", "errors.md") for line in GENERATED[page].splitlines() if "|  |" in line]
    undocumented = [line for line in empty if line.startswith("| `")]
    assert undocumented == []
