"""Identities are never shared, and unsafe names never become part of one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq.domain.names import (
    check_experiment_name,
    check_sample_id,
    dag_id,
    disambiguated,
    parse_dag_id,
    run_id,
    safe_component,
    safe_relative_path,
)
from cryodaq.errors import UnsafeNameError

SITE_PATTERN = r"^\d{8}-C\w{3,4}$"
SAMPLE = "65f0c0ffee65f0c0ffee1234"
names = st.text(alphabet=st.one_of(st.sampled_from("ab01_.~:+-[]xvhb"), st.characters(codec="utf-8")), min_size=1)
identities = st.tuples(names, st.integers(1, 99), st.one_of(st.just("live"), names), st.integers(0, 9))


@given(first=identities, second=identities)
def test_two_identities_never_share_a_run_id(
    first: tuple[str, int, str, int], second: tuple[str, int, str, int]
) -> None:
    a, b = (
        run_id(name, version=version, branch=branch, rerun=rerun) for name, version, branch, rerun in (first, second)
    )
    assert (a == b) == (first == second)


@given(identity=identities)
def test_run_ids_keep_to_the_schedulers_alphabet_and_length(identity: tuple[str, int, str, int]) -> None:
    name, version, branch, rerun = identity
    assert re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,250}", run_id(name, version=version, branch=branch, rerun=rerun))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FoilHole_1_Data_2_3_20250108_154918", "FoilHole_1_Data_2_3_20250108_154918"),
        ("template_0035~2", "template_0035~2"),
        ("Position_1_001[-12.0]", "Position_1_001~x5b.-12.0~x5d."),
        ("a~v2", "a~x7e.v2"),
        ("scheduled__x", "~x73.cheduled__x"),
    ],
)
def test_usual_names_stay_readable_as_run_ids(name: str, expected: str) -> None:
    assert run_id(name) == expected


def test_versions_and_branches_are_said_in_the_run_id() -> None:
    assert run_id("a", version=2) == "a~v2"
    assert run_id("a", branch="dose 60") == "a~b-dose~x20.60"
    assert run_id("a", version=3, branch="b") == "a~v3~b-b"


def test_long_names_keep_apart() -> None:
    first, second = run_id("x" * 300), run_id("x" * 299 + "y")
    assert len(first) == len(second) == 250
    assert first != second


def test_a_second_movie_of_a_name_is_numbered() -> None:
    assert [disambiguated("a", n) for n in (1, 2, 3)] == ["a", "a~2", "a~3"]
    with pytest.raises(UnsafeNameError):
        disambiguated("a", 0)


@given(
    experiment=st.from_regex(r"[0-9]{8}-C[A-Za-z0-9_]{3,4}", fullmatch=True),
    sample_id=st.from_regex(r"[0-9a-f]{24}", fullmatch=True),
)
def test_a_dag_id_gives_back_experiment_and_sample(experiment: str, sample_id: str) -> None:
    assert parse_dag_id(dag_id(check_experiment_name(experiment, SITE_PATTERN), sample_id)) == (
        experiment,
        sample_id,
    )


@given(text=st.text())
def test_any_text_is_a_dag_id_or_refused(text: str) -> None:
    try:
        experiment, sample_id = parse_dag_id(text)
    except UnsafeNameError:
        return
    assert dag_id(experiment, sample_id) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        SAMPLE,
        f"_{SAMPLE}",
        f"../x_{SAMPLE}",
        f"20250101-CS01_{SAMPLE}\n",
        f"20250101-CS01_{SAMPLE.upper()}",
    ],
)
def test_what_is_no_dag_id_is_refused(text: str) -> None:
    with pytest.raises(UnsafeNameError):
        parse_dag_id(text)


@pytest.mark.parametrize("name", ["20250101-CS01", "20250101-CS012", "20250101-C_01"])
def test_experiments_of_the_site_are_accepted(name: str) -> None:
    assert check_experiment_name(name, SITE_PATTERN) == name


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("20250101-S01", SITE_PATTERN),
        ("20250101-CS01\n", SITE_PATTERN),
        ("../etc", ".*"),
        ("ä20250101", ".*"),
        ("", ".*"),
    ],
)
def test_badly_named_experiments_are_refused_in_a_sentence(name: str, pattern: str) -> None:
    with pytest.raises(UnsafeNameError, match="cannot be used: experiments"):
        check_experiment_name(name, pattern)


@pytest.mark.parametrize("text", ["", SAMPLE[:-1], SAMPLE + "0", SAMPLE.upper(), SAMPLE + "\n", "g" * 24, "٣" * 24])
def test_what_is_no_sample_id_is_refused(text: str) -> None:
    with pytest.raises(UnsafeNameError):
        check_sample_id(text)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        ".hidden",
        "-rf",
        "a\u202eb",
        "\udcff",
        "x" * 256,
        "ä" * 128,
    ],
)
def test_unsafe_components_are_refused(name: str) -> None:
    with pytest.raises(UnsafeNameError):
        safe_component(name)


@pytest.mark.parametrize("name", ["grid 2, lamella (3)", "Ångström", "a..b", "a'b\"c", "$(x)"])
def test_names_that_people_use_are_kept(name: str) -> None:
    assert safe_component(name) == name


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "a/\0", "a/" * 2100 + "b"])
def test_paths_that_leave_their_folder_are_refused(path: str) -> None:
    with pytest.raises(UnsafeNameError):
        safe_relative_path(path)


@given(text=st.text())
def test_a_safe_path_stays_below_its_folder(text: str) -> None:
    try:
        path = safe_relative_path(text)
    except UnsafeNameError:
        return
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert "\0" not in str(path)
