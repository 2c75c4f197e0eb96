"""Where files lie: below the storage root, always."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.domain.layout import BranchLayout, SampleLayout, experiment_layout
from cryodaq.errors import UnsafeNameError

ROOT = PurePosixPath("/storage")
SAMPLE = "6258a1f2c0ffee0123456789"


def test_an_experiment_lies_in_the_month_of_its_name() -> None:
    layout = experiment_layout(ROOT, "20260422-CA107", instrument="TEM1")
    assert layout.root == PurePosixPath("/storage/202604/20260422-CA107_TEM1")
    assert layout.sample(SAMPLE).raw == layout.root / SAMPLE / "raw"
    assert layout.link("apoferritin") == layout.root / "apoferritin"


def test_an_experiment_without_a_date_lies_in_the_month_of_its_start() -> None:
    started = datetime(2026, 11, 22, tzinfo=UTC)
    layout = experiment_layout(ROOT, "commissioning", instrument="TEM1", started_at=started)
    assert layout.root.parent.name == "202611"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "x\0y", "", ".hidden"])
def test_a_samples_name_never_leaves_the_experiment(name: str) -> None:
    with pytest.raises(UnsafeNameError):
        experiment_layout(ROOT, "20260422-CA107", instrument="TEM1").link(name)


def test_a_second_version_of_a_movie_has_a_name_of_its_own() -> None:
    layout = SampleLayout(root=ROOT / SAMPLE)
    relative = PurePosixPath("Images-Disc1/a_fractions.tiff")
    assert layout.raw_file(relative).name == "a_fractions.tiff"
    assert layout.raw_file(relative, version=2).name == "a_fractions.v2.tiff"


@given(st.text(min_size=1, max_size=40))
def test_no_path_of_a_share_leaves_raw(text: str) -> None:
    layout = SampleLayout(root=ROOT / SAMPLE)
    try:
        found = layout.raw_file(PurePosixPath(text))
    except UnsafeNameError:
        return
    assert found.is_relative_to(layout.raw)
    assert ".." not in found.parts


def test_products_of_another_branch_lie_apart() -> None:
    layout = SampleLayout(root=ROOT / SAMPLE)
    assert layout.branch("live").micrograph("m1") == layout.root / "aligned" / "m1.mrc"
    assert layout.branch("binned").micrograph("m1") == layout.root / "branches" / "binned" / "aligned" / "m1.mrc"


def test_the_products_of_a_movie_are_all_that_is_named_by_its_run() -> None:
    """Whoever gives a movie to another sample moves exactly these."""
    layout = BranchLayout(root=PurePosixPath("/sample"))
    named = {
        name
        for name, method in inspect.getmembers(BranchLayout, inspect.isfunction)
        if list(inspect.signature(method).parameters) == ["self", "run"]
    }
    products = layout.products("m1", stages=["align"])
    assert set(products) == {getattr(layout, name)("m1") for name in named} | {layout.log("m1", "align")}
    assert len(products) == len(set(products))
