"""Directed faults against a real SMB server, real mounts and a real full file system (README.md, tier c)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import psutil
import pytest
import smbclient
from tests.faults.mounting import (
    CameraServer,
    Mounted,
    camera_server,
    failing_mount,
    missing_for_mounts,
    mounted_share,
)
from tests.integration.transfer.conftest import Stage, frames, movie_bytes, running, until

from cryodaq.app.clear_microscope import Clearing, clear_microscope
from cryodaq.app.transfer_movies import Transfer
from cryodaq.database import open_engine
from cryodaq.domain.microscope import RetentionRule, Share
from cryodaq.simulator.camera import GrowingTiff, encode_tiff
from cryodaq.transfer.workers import still_lives

PATIENCE_S = 2.0
"""What a share may be silent for here; 60 s otherwise."""
LINK_BYTES_PER_S = 3e6
"""So slow that something can happen while a movie is copied."""

needs_samba = pytest.mark.skipif(bool(missing_for_mounts(samba=True)), reason=f"{missing_for_mounts(samba=True)}")
needs_fuse = pytest.mark.skipif(bool(missing_for_mounts(samba=False)), reason=f"{missing_for_mounts(samba=False)}")


def large_movie(seed: int) -> bytes:
    """A movie that takes three seconds on the slow link."""
    rng = np.random.default_rng(seed)
    return encode_tiff([rng.integers(0, 256, (1500, 1500), dtype=np.uint8) for _ in range(4)])


@dataclass
class Camera:
    """A camera server whose share is mounted where the microscope's files are looked for."""

    server: CameraServer
    stage: Stage
    mounted: Mounted

    @property
    def files(self) -> Path:
        """Where the share's files lie on the server."""
        return self.server.share("tem1")

    def write(self, path: str, content: bytes) -> Path:
        """Have the microscope write, on the server."""
        target = self.files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def transfer(self, **changes: object) -> Transfer:
        return self.stage.transfer(**changes)

    def slow_transfer(self, *more: Share) -> Transfer:
        made = self.transfer()
        shares = (*self.stage.microscope.shares, *more)
        limit = LINK_BYTES_PER_S * len(shares)
        microscope = replace(self.stage.microscope, shares=shares, copy_max_bytes_per_s=limit)
        return replace(made, following=replace(made.following, microscope=microscope))

    def until_verified(self, *paths: str, wait_s: float = 30.0) -> None:
        states = self.stage.states
        until(lambda: all(states().get(path) == "verified" for path in paths), f"{paths}: {states()}", wait_s=wait_s)

    def copied(self, path: str) -> bytes:
        return (self.stage.raw("grid") / path).read_bytes()

    def wait_for_copying(self) -> None:
        """Wait until a copy is under way, and not begun just now."""
        until(lambda: any(part.stat().st_size > 1e6 for part in self.stage.storage.rglob("*.part")), "no copy grows")

    def share_alarm(self) -> str:
        alarm = self.stage.alarms().get("share")
        return "" if alarm is None else alarm.text

    @property
    def abandoned(self) -> str:
        """The worker that hangs in the share."""
        with self.stage.engine.connect() as connection:
            query = "select abandoned_worker from ledger.share_state where abandoned_worker is not null"
            return str(connection.exec_driver_sql(query).scalar_one())

    @property
    def gone(self) -> int:
        """Files that the ledger believes to be no longer on the share."""
        with self.stage.engine.connect() as connection:
            return int(connection.exec_driver_sql("select count(gone_at) from ledger.file").scalar_one())


@contextmanager
def camera(tmp_path: Path, database_url: str, *, listings_s: float = 0.0) -> Iterator[Camera]:
    share, gain_root, storage = tmp_path / "mnt", tmp_path / "gains", tmp_path / "storage"
    for folder in (gain_root, storage):
        folder.mkdir()
    engine = open_engine(database_url)
    stage = Stage(engine=engine, share=share, gain_root=gain_root, storage=storage, stall_s=PATIENCE_S)
    stage.set_up()
    stage.make_current("grid")
    with (
        camera_server(tmp_path / "server", "tem1", "tem2") as server,
        mounted_share(server, "tem1", share, listings_s=listings_s) as mounted,
    ):
        yield Camera(server, stage, mounted)
    engine.dispose()


@pytest.fixture
def tem1(tmp_path: Path, database_url: str) -> Iterator[Camera]:
    with camera(tmp_path, database_url) as made:
        yield made


@needs_samba
@pytest.mark.parametrize("listings_s", [0.0, 3.0])
def test_a_movie_that_grows_on_the_server_is_brought_once_and_whole(
    tmp_path: Path, database_url: str, listings_s: float
) -> None:
    """With listings that are late, too: then names and sizes may be three seconds old, 30 s of the transfer's clock."""
    with camera(tmp_path, database_url, listings_s=listings_s) as tem1, running(tem1.transfer()):
        tem1.stage.wait_for_scans()
        with (tem1.files / "grown_00001.tif").open("wb+") as handle:
            movie = GrowingTiff(handle)
            for frame in frames(4):
                movie.append(frame)
                handle.flush()
                tem1.stage.wait_for_scans(1)
                assert not list(tem1.stage.storage.rglob("*grown*"))
        tem1.until_verified("grown_00001.tif@1")
        assert tem1.copied("grown_00001.tif") == (tem1.files / "grown_00001.tif").read_bytes()
        assert list(tem1.stage.movies("grid")) == ["grown_00001@1"]


@needs_samba
def test_a_stalled_server_costs_its_worker_and_nobody_else(tem1: Camera, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / ".online").touch()
    content = large_movie(1)
    with running(tem1.slow_transfer(Share(root=PurePosixPath(other)))):
        tem1.stage.wait_for_scans()
        tem1.write("large_00001.tif", content)
        tem1.wait_for_copying()
        tem1.server.freeze()
        until(tem1.share_alarm, "no alarm")
        (other / "small_00001.tif").write_bytes(movie_bytes())
        tem1.until_verified("small_00001.tif@1")
        assert [state for state in tem1.stage.states().values() if state == "copied"] == []
        hanging = tem1.abandoned
        assert still_lives(hanging), "it was killed, and hangs in the mount"
        ended = [one.pid for one in psutil.Process().children() if one.status() == psutil.STATUS_ZOMBIE]
        assert ended == [int(hanging.split()[1])], "no other was sent after it"
        tem1.server.thaw()
        tem1.until_verified("large_00001.tif@1")
        until(lambda: not tem1.share_alarm(), "the alarm stays")
    assert tem1.copied("large_00001.tif") == content
    assert tem1.gone == 0


@needs_samba
def test_a_server_that_dies_in_the_middle_of_a_copy_and_comes_back(tem1: Camera) -> None:
    content = large_movie(2)
    with running(tem1.slow_transfer()):
        tem1.stage.wait_for_scans()
        tem1.write("large_00001.tif", content)
        tem1.wait_for_copying()
        tem1.server.kill()
        until(tem1.share_alarm, "no alarm")
        assert not (tem1.stage.raw("grid") / "large_00001.tif").exists()
        tem1.server.start()
        tem1.until_verified("large_00001.tif@1")
        until(lambda: not tem1.share_alarm(), "the alarm stays")
    assert tem1.copied("large_00001.tif") == content
    assert list(tem1.stage.movies("grid")) == ["large_00001@1"]
    assert tem1.gone == 0


@needs_samba
def test_an_unmounted_share_is_an_alarm_and_no_empty_session(tem1: Camera) -> None:
    with running(tem1.transfer()):
        tem1.stage.wait_for_scans()
        tem1.write("a_00001.tif", movie_bytes(seed=1))
        tem1.until_verified("a_00001.tif@1")
        tem1.mounted.unmount()
        until(lambda: "mount the share" in tem1.share_alarm(), "no alarm")
        tem1.write("b_00001.tif", movie_bytes(seed=2))
        assert tem1.gone == 0
        with mounted_share(tem1.server, "tem1", tem1.stage.share):
            tem1.until_verified("a_00001.tif@1", "b_00001.tif@1")
            until(lambda: not tem1.share_alarm(), "the alarm stays")
    assert len(tem1.stage.states()) == 2
    assert tem1.gone == 0


@needs_samba
@pytest.mark.parametrize(
    ("sentinel", "problem"),
    [(".online-tem1", ".online-tem1 is not there"), (".online", "//camera/tem2 is there, not //camera/tem1")],
)
def test_another_cameras_share_in_its_place_is_not_taken_for_it(tem1: Camera, sentinel: str, problem: str) -> None:
    other = tem1.server.share("tem2") / "other_00001.tif"
    other.write_bytes(movie_bytes(seed=3))
    share = Share(root=PurePosixPath(tem1.stage.share), sentinel=sentinel)
    made = tem1.transfer()
    microscope = replace(tem1.stage.microscope, shares=(share,))
    with running(replace(made, following=replace(made.following, microscope=microscope))):
        tem1.stage.wait_for_scans()
        tem1.write("a_00001.tif", movie_bytes(seed=1))
        tem1.until_verified("a_00001.tif@1")
        tem1.mounted.unmount()
        with mounted_share(tem1.server, "tem2", tem1.stage.share):
            until(lambda: problem in tem1.share_alarm(), "no alarm")
            time.sleep(2 * PATIENCE_S)
            assert list(tem1.stage.states()) == ["a_00001.tif@1"]
            assert tem1.gone == 0
        with mounted_share(tem1.server, "tem1", tem1.stage.share):
            until(lambda: not tem1.share_alarm(), "the alarm stays")
    assert list(tem1.stage.states()) == ["a_00001.tif@1"]
    assert tem1.gone == 0


@needs_samba
def test_a_file_that_is_replaced_on_the_server_while_it_is_copied(tem1: Camera) -> None:
    old, new = large_movie(3), large_movie(4)
    with running(tem1.slow_transfer()):
        tem1.stage.wait_for_scans()
        written = tem1.write("large_00001.tif", old)
        tem1.wait_for_copying()
        other = tem1.files / ".cryodaq-other"
        other.write_bytes(new)
        other.replace(written)
        tem1.until_verified("large_00001.tif@1")
        tem1.stage.wait_for_scans(3)
    copies = {path.read_bytes() for path in tem1.stage.raw("grid").glob("large_00001*.tif")}
    assert new in copies
    assert copies <= {old, new}, "a copy is one of the two, never half of each"


@needs_samba
def test_names_and_letters_of_windows(tem1: Camera) -> None:
    names = ["Grille n° 1/Träger [1] ~ (Kopie).TIF", "Grille n° 1/Foto & so #2.tif", "Grille n° 1/日本 1.tif"]
    with running(tem1.transfer()):
        tem1.stage.wait_for_scans()
        for seed, name in enumerate(names):
            tem1.write(name, movie_bytes(seed=seed))
        tem1.until_verified(*(f"{name}@1" for name in names))
        (tem1.files / names[1]).rename(tem1.files / names[1].replace(".tif", ".TIF"))
        tem1.until_verified(f"{names[1]}@1".replace(".tif", ".TIF"))
    assert [tem1.copied(name) for name in names] == [(movie_bytes(seed=seed)) for seed in range(3)]


@needs_samba
def test_a_file_that_a_program_keeps_to_itself_waits_and_the_others_go(tem1: Camera) -> None:
    tem1.write("locked_00001.tif", movie_bytes(seed=1))
    smbclient.ClientConfig(require_secure_negotiate=False)
    known: dict[str, object] = {}
    how = {"port": tem1.server.port, "connection_cache": known}
    smbclient.register_session(
        "127.0.0.1", username="guest", password="", auth_protocol="ntlm", require_signing=False, **how
    )
    with running(tem1.transfer()):
        with smbclient.open_file(r"\\127.0.0.1\tem1\locked_00001.tif", "r+b", share_access="", buffering=0, **how):
            tem1.stage.wait_for_scans()
            tem1.write("free_00001.tif", movie_bytes(seed=2))
            tem1.until_verified("free_00001.tif@1")
            until(lambda: tem1.stage.problem("locked_00001.tif"), "nothing is said about it")
            assert "cannot be read" in str(tem1.stage.problem("locked_00001.tif"))
            assert not (tem1.stage.raw("grid") / "locked_00001.tif").exists()
        tem1.until_verified("locked_00001.tif@1")
    smbclient.reset_connection_cache(connection_cache=known)
    assert tem1.copied("locked_00001.tif") == movie_bytes(seed=1)


@needs_samba
def test_what_goes_from_the_server_is_what_was_verified(tem1: Camera) -> None:
    with running(tem1.transfer()):
        tem1.stage.wait_for_scans()
        for seed, name in enumerate(("goes", "changed", "damaged")):
            tem1.write(f"{name}_00001.tif", movie_bytes(seed=seed))
        tem1.until_verified("goes_00001.tif@1", "changed_00001.tif@1", "damaged_00001.tif@1")
    content = (tem1.files / "changed_00001.tif").read_bytes()
    other = tem1.write("other.part", content[:-1] + b"x")
    found = (tem1.files / "changed_00001.tif").stat()
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(tem1.files / "changed_00001.tif")  # of the same size and time: only the server's number tells
    damaged = tem1.stage.raw("grid") / "damaged_00001.tif"
    damaged.write_bytes(damaged.read_bytes()[::-1])
    rule = RetentionRule(enabled=True, older_than_h=0, larger_than_mb=0, patterns=("*.tif",))
    clearing = Clearing(
        engine=tem1.stage.engine,
        microscope=replace(tem1.stage.microscope, retention=rule),
        storage_root=PurePosixPath(tem1.stage.storage),
        now=lambda: datetime.now(UTC),
    )
    done = clear_microscope(clearing)
    assert done.removed == ("goes_00001.tif",)
    assert {path for path, _ in done.kept} == {"changed_00001.tif", "damaged_00001.tif"}
    assert sorted(path.name for path in tem1.files.iterdir()) == [
        ".online",
        ".online-tem1",
        "changed_00001.tif",
        "damaged_00001.tif",
    ]


@pytest.fixture
def local(tmp_path: Path, database_url: str) -> Iterator[Stage]:
    share, gain_root, storage = tmp_path / "share", tmp_path / "gains", tmp_path / "storage"
    for folder in (share, gain_root, storage):
        folder.mkdir()
    (share / ".online").touch()
    engine = open_engine(database_url)
    stage = Stage(engine=engine, share=share, gain_root=gain_root, storage=storage, stall_s=30.0)
    stage.set_up()
    yield stage
    engine.dispose()


def target_alarm(stage: Stage) -> list[str]:
    return [alarm.text for key, alarm in stage.alarms().items() if key.startswith("target")]


@needs_fuse
def test_reads_that_fail_or_give_less_than_asked(local: Stage, tmp_path: Path) -> None:
    faults = tmp_path / "faults"
    faults.write_text("read bad_00001.tif EIO 2000\nread short_00001.tif short 0\nopen closed_00001.tif EACCES 0\n")
    content = {name: movie_bytes(seed=seed) for seed, name in enumerate(("bad", "short", "closed"))}
    with failing_mount(local.share, faults, tmp_path / "mnt"):
        seen = replace(local, share=tmp_path / "mnt")
        seen.make_current("grid")
        with running(seen.transfer()):
            seen.wait_for_scans()
            for name, movie in content.items():
                local.write(f"{name}_00001.tif", movie)
            until(lambda: seen.states().get("short_00001.tif@1") == "verified", "the short reads")
            for name in ("bad", "closed"):
                until(lambda name=name: seen.problem(f"{name}_00001.tif"), f"nothing is said about {name}.tif")
            assert [path.name for path in seen.raw("grid").glob("*0001*")] == ["short_00001.tif"]
            faults.write_text("")
            until(lambda: set(seen.states().values()) == {"verified"}, "not all")
    for name, movie in content.items():
        assert (seen.raw("grid") / f"{name}_00001.tif").read_bytes() == movie


@needs_fuse
def test_a_target_that_is_full_or_fails_to_sync_keeps_nothing_half(local: Stage, tmp_path: Path) -> None:
    faults = tmp_path / "faults"
    faults.write_text("")
    content = movie_bytes()
    with failing_mount(local.storage, faults, tmp_path / "target"):
        seen = replace(local, storage=tmp_path / "target")
        seen.make_current("grid")
        faults.write_text("write .full_00001.tif.*.part ENOSPC 2000\nfsync .unsynced_00001.tif.*.part EIO 0\n")
        with running(seen.transfer()):
            seen.wait_for_scans()
            for name in ("full", "unsynced"):
                local.write(f"{name}_00001.tif", content)
            until(lambda: seen.problem("unsynced_00001.tif"), "nothing is said")
            until(lambda: target_alarm(seen), "no alarm about the target")
            assert not list(seen.raw("grid").glob("*0001*"))
            faults.write_text("")
            until(lambda: set(seen.states().values()) == {"verified"}, f"{seen.states()}")
            until(lambda: not target_alarm(seen), "the alarm stays")
    assert [(local.raw("grid") / f"{name}_00001.tif").read_bytes() for name in ("full", "unsynced")] == [
        content,
        content,
    ]


@needs_fuse
def test_a_really_full_file_system_stops_copying_until_there_is_room(local: Stage) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(local.storage)], check=True)
    try:
        local.make_current("grid")
        ballast = local.storage / "ballast"
        ballast.write_bytes(bytes(2 << 20))
        content = large_movie(5)[: 3 << 20]
        with running(local.transfer()):
            local.wait_for_scans()
            local.write("big.raw", content)
            until(lambda: target_alarm(local), "no alarm about the target")
            assert not list(local.raw("grid").glob("*big*"))
            ballast.unlink()
            until(lambda: local.states() == {"big.raw@1": "verified"}, f"{local.states()}")
            until(lambda: not target_alarm(local), "the alarm stays")
        assert (local.raw("grid") / "big.raw").read_bytes() == content
    finally:
        subprocess.run(["umount", "--lazy", str(local.storage)], check=True)
