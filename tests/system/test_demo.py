"""The whole system as a stranger starts it: movies travel from the simulated camera to the pages."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import httpx
import psutil
import pytest
import sqlalchemy as sa
import starfile
from playwright.sync_api import Browser, expect

from cryodaq.launch.postgres import EmbeddedPostgres

DEMO_LIMIT_S = 420
REMOVED = sa.text("select path from ledger.file where role = 'movie' and state = 'removed'")
SEEN = sa.text("select count(*) from ledger.file where role = 'movie'")


@pytest.mark.system
@pytest.mark.timeout(DEMO_LIMIT_S + 60)
def test_the_demo_publishes_every_movie_close_to_the_truth_and_leaves_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with _demo(home, ["--movies", "2", "--software", "epu"]) as demo:
        assert demo.wait(DEMO_LIMIT_S) == 0, _said(home)
    summary = json.loads((home / "summary.json").read_text())
    assert summary["missing"] == []
    assert summary["published"] == summary["collected"] == 2
    assert summary["defocus_within_2_percent"] == 2
    assert max(movie["drift_error_px"] for movie in summary["movies"]) < 2  # RELION's own 0.5 to 0.6 px; a sign: 10
    (sample,) = {movie["sample_id"] for movie in summary["movies"]}
    assert len(_published(home, sample)) == 2
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(home) in _command(process)]
    assert not _readable_by_others(home / "secrets")


@pytest.mark.system
@pytest.mark.timeout(DEMO_LIMIT_S + 60)
@pytest.mark.skipif(
    which("relion_run_motioncorr") is None or "CRYODAQ_LONG_TESTS" not in os.environ,
    reason="a whole run with RELION takes a minute: scripts/setup dev relion, and CRYODAQ_LONG_TESTS=1",
)
def test_relion_takes_part_in_the_whole_run(tmp_path: Path) -> None:
    """The facility file names it for motion correction and picking; our CTF fits its micrographs."""
    home = tmp_path / "home"
    with _demo(home, ["--movies", "2", "--software", "epu", "--engine", "relion"]) as demo:
        assert demo.wait(DEMO_LIMIT_S) == 0, _said(home)
    summary = json.loads((home / "summary.json").read_text())
    assert summary["missing"] == []
    assert summary["defocus_within_2_percent"] == summary["published"] == 2
    assert max(movie["drift_error_px"] for movie in summary["movies"]) < 2  # RELION's own 0.5 to 0.6 px; a sign: 10
    (sample,) = {movie["sample_id"] for movie in summary["movies"]}
    assert len(_published(home, sample)) == 2
    (folder,) = (home / "storage").glob(f"*/*/{sample}")
    table = list(csv.DictReader((folder / "micrographs.csv").open()))
    assert {(row["align_engine"], row["ctf_engine"], row["picks_engine"]) for row in table} == {
        ("relion", "native", "relion")
    }


@pytest.mark.system
@pytest.mark.timeout(DEMO_LIMIT_S + 60)
def test_a_switch_in_the_middle_gives_each_sample_exactly_its_own_movies(tmp_path: Path, browser: Browser) -> None:
    """The session's folder goes on; only the elogbook says that the grid was changed. An operator's page looks on."""
    home = tmp_path / "home"
    with _demo(home, ["--movies", "5", "--software", "serialem", "--interval-s", "8"]) as demo:
        before = _switch_once_two_are_seen(home, demo)
        _watch_movies_arrive(home, browser)
        assert demo.wait(DEMO_LIMIT_S) == 0, _said(home)
    summary = json.loads((home / "summary.json").read_text())
    assert summary["published"] == summary["collected"] == 5
    owners = {movie["movie"]: movie["sample_id"] for movie in summary["movies"]}
    first = {owners[movie] for movie in before}
    second = {owner for movie, owner in owners.items() if movie not in before}
    assert len(before) >= 2
    assert len(first) == len(second) == 1
    assert first != second
    for owner in (*first, *second):
        own = {Path(movie).stem for movie in owners if owners[movie] == owner}
        assert {stem.removesuffix("_DW") for stem in _published(home, owner)} == own


@contextmanager
def _demo(home: Path, options: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A running demo, what it says in a file beside its home; ended with the block."""
    command = [sys.executable, "-m", "cryodaq", "demo", "--exit-when-done", "--home", str(home), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRYODAQ_")}
    with home.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _watch_movies_arrive(home: Path, browser: Browser) -> None:
    """Log in, open the first sample from the list, and wait until two movies have come onto the page by themselves."""
    from cryodaq.config import load

    context = browser.new_context(base_url=f"http://127.0.0.1:{load(home / 'facility.toml').ports.web}")
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("User name").fill("operator")
    page.get_by_label("Password").fill((home / "secrets" / "operator-password").read_text().strip())
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Samples").click()
    page.get_by_role("link", name="grid1").click()
    page.evaluate("window.untouched = true")
    expect(page.locator(".gallery img").nth(1)).to_be_visible(timeout=1000 * DEMO_LIMIT_S / 2)
    assert page.evaluate("window.untouched") is True, "the page was loaded anew"
    context.close()


def _said(home: Path) -> str:
    return home.with_suffix(".log").read_text()


def _switch_once_two_are_seen(home: Path, demo: subprocess.Popen[bytes]) -> set[str]:
    """Make a second sample current; return the movies that lay on the share before."""
    share = home / "tem1"
    _wait_for(lambda: len(_movies(share)) >= 2, demo, home)
    engine = sa.create_engine(EmbeddedPostgres(home).url("cryodaq"))
    try:
        _wait_for(lambda: _seen(engine) >= len(_movies(share)), demo, home)
        with engine.connect() as connection:
            removed = set(connection.execute(REMOVED).scalars())
    finally:
        engine.dispose()
    (experiment,) = {folder.name.rpartition("_")[0] for folder in (home / "storage").glob("2*/*")}
    token = (home / "secrets" / "operator-token").read_text().strip()
    with httpx.Client(base_url=_elogbook(home), auth=("operator", token), trust_env=False, timeout=30) as client:
        samples = f"/lgbk/{experiment}/ws/samples"
        (old,) = client.get(samples).json()["value"]
        made = client.post(f"{samples}/", json={"name": "next grid", "description": "", "params": old["params"]})
        before = _movies(share) | removed  # retention removes what is verified
        current = client.post(f"/lgbk/{experiment}/ws/make_sample_current", params={"sample_name": "next grid"})
        assert [made.status_code, current.status_code] == [200, 200], made.text + current.text
    return before


def _wait_for(come: Callable[[], bool], demo: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + DEMO_LIMIT_S / 2
    while not come():
        assert demo.poll() is None, _said(home)
        assert time.monotonic() < deadline, _said(home)
        time.sleep(0.1)


def _seen(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(SEEN).scalar_one())


def _movies(share: Path) -> set[str]:
    return {str(path.relative_to(share)) for path in share.rglob("*.tif")}


def _elogbook(home: Path) -> str:
    from cryodaq.config import load

    return f"http://127.0.0.1:{load(home / 'facility.toml').ports.elogbook}"


def _published(home: Path, sample_id: str) -> set[str]:
    """Stems of the micrographs in a sample's STAR file; each is there."""
    (star,) = (home / "storage").glob(f"*/*/{sample_id}/micrographs_ctf.star")
    tables: dict[str, Any] = starfile.read(star, always_dict=True)
    names = [Path(name) for name in tables["micrographs"]["rlnMicrographName"]]
    assert all((star.parent / name).is_file() for name in names)
    return {name.stem for name in names}


def _command(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or [])


def _readable_by_others(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.stat().st_mode & 0o077]
