"""Gain references of existing movies on the simulated gain share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cryodaq.errors import ConfigError
from cryodaq.simulator.gain_store import provide_gain_file


def _gain(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    (folder / "gain.mrc").write_bytes(content)
    return folder / "gain.mrc"


def _made_older(share: Path, name: str) -> None:
    os.utime(share / name, ns=(1, 1))


def test_the_gain_that_is_already_the_newest_is_used_as_it_is(tmp_path: Path) -> None:
    gain, share = _gain(tmp_path / "a", b"first"), tmp_path / "share"
    assert provide_gain_file(share, gain) == provide_gain_file(share, gain) == "gain.mrc"
    assert [path.name for path in share.iterdir()] == ["gain.mrc"]


def test_another_gain_of_that_name_gets_a_number(tmp_path: Path) -> None:
    share = tmp_path / "share"
    provide_gain_file(share, _gain(tmp_path / "a", b"first"))
    assert provide_gain_file(share, _gain(tmp_path / "b", b"other")) == "gain_2.mrc"
    assert (share / "gain.mrc").read_bytes() == b"first"
    assert (share / "gain_2.mrc").read_bytes() == b"other"


def test_a_gain_that_newer_ones_have_hidden_becomes_the_newest_again(tmp_path: Path) -> None:
    first, share = _gain(tmp_path / "a", b"first"), tmp_path / "share"
    _made_older(share, provide_gain_file(share, first))
    provide_gain_file(share, _gain(tmp_path / "b", b"other"))
    _made_older(share, "gain_2.mrc")
    assert provide_gain_file(share, first) == "gain_3.mrc"
    assert (share / "gain_3.mrc").read_bytes() == b"first"


def test_a_gain_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.mrc does not exist"):
        provide_gain_file(tmp_path / "share", tmp_path / "nowhere.mrc")
