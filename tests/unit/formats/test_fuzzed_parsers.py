"""Damaged bytes are an error that says so, never a crash: a short turn of what `scripts/fuzz` does for long."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.mutation import mutated
from tests.fuzz.parsers import SEEDS, Target, targets

from cryodaq.errors import FormatError

TARGETS = {target.name: target for target in targets()}


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.integers(0, 2**32), noise=st.binary(max_size=40))
def test_a_damaged_file_is_refused_or_read(tmp_path: Path, name: str, chance: int, noise: bytes) -> None:
    target = TARGETS[name]
    for data in (mutated(target.seeds, random.Random(chance)), noise):
        with suppress(FormatError):
            target.parse(data, tmp_path)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_was_found_once_stays_mended(tmp_path: Path, target: Target) -> None:
    for kept in sorted((SEEDS / target.name).glob("*")):
        with suppress(FormatError):
            target.parse(kept.read_bytes(), tmp_path)
