"""A sample's DAG file: copied byte for byte, never replaced, retired and brought back."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryodaq.app.sample_dag import (
    install_sample_dag,
    packaged_templates,
    retire_sample_dag,
    template_for,
    template_hash,
)
from cryodaq.errors import UnsafeNameError

DAG = "20260101-CT01_0123456789abcdef01234567"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template.py"
    path.write_bytes(b"# Airflow \xc3\xa9\r\nalign() >> ctf()\n")
    return path


def test_the_file_is_the_template_byte_for_byte_and_nothing_else_is_left(tmp_path: Path, template: Path) -> None:
    folder = tmp_path / "dags"
    target = install_sample_dag(template, folder, dag_id=DAG)
    assert target == folder / f"{DAG}.py"
    assert target.read_bytes() == template.read_bytes()
    assert [path.name for path in folder.iterdir()] == [target.name]


def test_an_edited_file_is_left_as_it_is(tmp_path: Path, template: Path) -> None:
    target = install_sample_dag(template, tmp_path, dag_id=DAG)
    target.write_text("edited by hand")
    assert install_sample_dag(template, tmp_path, dag_id=DAG) == target
    assert target.read_text() == "edited by hand"


def test_a_retired_file_is_out_of_sight_and_comes_back_as_it_was(tmp_path: Path, template: Path) -> None:
    target = install_sample_dag(template, tmp_path, dag_id=DAG)
    target.write_text("edited by hand")
    assert retire_sample_dag(tmp_path, dag_id=DAG)
    assert not list(tmp_path.glob(f"{DAG}*.py"))
    assert not retire_sample_dag(tmp_path, dag_id=DAG)
    install_sample_dag(template, tmp_path, dag_id=DAG)
    assert target.read_text() == "edited by hand"


@pytest.mark.parametrize("hostile", ["../evil", "x_0123456789abcdef01234567/../y", "no-sample", ""])
def test_a_hostile_id_makes_no_file(tmp_path: Path, template: Path, hostile: str) -> None:
    folder = tmp_path / "dags"
    with pytest.raises(UnsafeNameError):
        install_sample_dag(template, folder, dag_id=hostile)
    assert not folder.exists()


def test_the_sites_template_comes_before_the_packaged_one(tmp_path: Path) -> None:
    packaged = template_for("single-particle", folders=[tmp_path, packaged_templates()])
    assert packaged is not None
    assert packaged.parent == packaged_templates()
    own = tmp_path / packaged.name
    own.write_text("# the site's")
    assert template_for("single-particle", folders=[tmp_path, packaged_templates()]) == own
    assert template_hash(own) != template_hash(packaged)


@pytest.mark.parametrize("method", ["tomography", "../../etc/passwd", "", "Single-Particle", "a/b"])
def test_a_method_without_a_template_is_copied_only(method: str) -> None:
    assert template_for(method, folders=[packaged_templates()]) is None


def test_packaged_dag_files_are_short_declarations_that_the_parser_will_look_at() -> None:
    files = [*packaged_templates().glob("*.py"), *(packaged_templates().parent / "dags").glob("*.py")]
    assert {"cryodaq_microscopes.py", "pipeline_single-particle_pre-processing.py"} <= {path.name for path in files}
    for path in files:
        text = path.read_text().lower()
        assert "airflow" in text  # else Airflow skips the file silently
        assert "dag" in text
        assert len(text.splitlines()) <= 40
